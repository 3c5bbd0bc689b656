// Threads that a program's end waits for, or does not.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace cohort::threading {

struct ThreadOptions {
  std::string name = {};                      // empty: Thread-N
  std::optional<bool> daemon = std::nullopt;  // none: as the creating thread
};

// A thread of this process: not started until start(). The process, a program as well as a started
// child, ends only after its other threads have; daemon threads are cut off.
//
// Destruction lets go of the object, not of the thread, which goes on. An exception that leaves the
// function is reported on stderr and ends the thread, not the program.
class Thread {
 public:
  template <class F, class... Args>
  requires(!std::is_same_v<std::decay_t<F>, ThreadOptions> &&
           !std::is_base_of_v<Thread, std::decay_t<F>>) explicit Thread(F&& f, Args&&... args)
      : Thread(ThreadOptions(), std::forward<F>(f), std::forward<Args>(args)...) {}
  template <class F, class... Args>
  requires(std::is_invocable_v<std::decay_t<F>&, std::decay_t<Args>&...>)
      Thread(ThreadOptions options, F&& f, Args&&... args)
      : Thread(std::move(options),
               Body([f = std::decay_t<F>(std::forward<F>(f)),
                     ... args = std::decay_t<Args>(std::forward<Args>(args))]() mutable {
                 std::invoke(f, args...);
               })) {}

  // Throws cohort::InvalidStateError when started before, std::system_error when the system
  // refuses.
  void start();
  // Throws InvalidStateError when not started, or by the thread itself.
  void join();
  // Answers whether it ended within `limit`.
  template <class Rep, class Period>
  bool join_for(std::chrono::duration<Rep, Period> limit) {
    return join_until(std::chrono::steady_clock::now() +
                      std::chrono::duration_cast<std::chrono::nanoseconds>(limit));
  }
  bool join_until(std::chrono::steady_clock::time_point deadline);

  bool is_alive() const;
  const std::string& name() const noexcept;
  bool daemon() const noexcept;
  // The kernel's id of the thread; 0 before start.
  pid_t native_id() const;

 private:
  using Body = std::function<void()>;
  struct State;
  Thread(ThreadOptions options, Body body);

  std::shared_ptr<State> state_;
  friend struct Threads;
};

// The kernel's id of the calling thread.
pid_t get_native_id() noexcept;

}  // namespace cohort::threading
