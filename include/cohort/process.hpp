// Processes: start a function in a process of its own, wait for it, end it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "cohort/detail/target.hpp"
#include "cohort/error.hpp"

namespace cohort {

// How a process comes to be.
//   fork:       a copy of the caller, at once; unsafe habits of a threaded caller are copied too.
//   forkserver: a copy of the small single-threaded server that `init` made; always safe.
//   spawn:      this program run again from its start; a clean address space, about 2 ms.
enum class StartMethod { fork, forkserver, spawn };

struct InitOptions {
  // Address space to reserve for shared memory, in bytes; 0: 64 GiB, or what the system grants.
  // Untouched parts cost nothing.
  std::size_t arena_bytes = 0;
};

// The first line of main, before any thread: processes started by `spawn` take over here and never
// return, and the fork server is made here. Programs that use only StartMethod::fork may leave it
// out. A second call does nothing.
void init(int argc, char** argv, const InitOptions& options = {});

// The method of processes that name none. Default: forkserver after `init`, else fork.
void set_start_method(StartMethod method);
StartMethod get_start_method();
std::string_view to_string(StartMethod method) noexcept;
// In the order of preference: the first is the default after `init`.
std::vector<StartMethod> get_all_start_methods();

// The CPUs that this process may use: its affinity mask, capped by the cgroup's quota (rounded up).
std::size_t cpu_count();

// The pid of the fork server, where one runs.
std::optional<pid_t> fork_server_pid();

struct ProcessOptions {
  std::string name = {};                                   // empty: Process-N
  std::optional<bool> daemon = std::nullopt;               // none: as the creating process
  std::optional<StartMethod> start_method = std::nullopt;  // none: get_start_method()
};

// What one process knows of another, or of itself, at the moment of asking.
class ProcessInfo {
 public:
  pid_t pid() const noexcept { return pid_; }
  const std::string& name() const noexcept { return name_; }
  bool daemon() const noexcept { return daemon_; }
  pid_t parent_pid() const noexcept { return parent_pid_; }
  // How it was started; for a program's first process, what its children get by default.
  StartMethod start_method() const noexcept { return start_method_; }
  // The secret that connections to other programs prove to each other. Never empty.
  const std::string& authkey() const noexcept { return authkey_; }
  // Whether it runs now.
  bool is_alive() const;
  // Empty while it runs, and where the asking process cannot know.
  std::optional<int> exitcode() const;

 private:
  friend struct ProcessInfoMaker;
  pid_t pid_ = 0;
  pid_t parent_pid_ = 0;
  std::string name_;
  std::string authkey_;
  bool daemon_ = false;
  StartMethod start_method_ = StartMethod::fork;
  std::uint32_t member_ = 0;
};

// One process: not started until start(). Not for several threads at a time, except join,
// is_alive, exitcode and the signals.
//
// Destruction: a running daemon is terminated and reaped; any other running process is joined.
class Process {
 public:
  // Calls `f(args...)` in the new process. Both must be able to cross: functions, captureless
  // lambdas, members of serializable objects, serializable function objects; serializable
  // arguments. Anything else does not compile.
  template <class F, class... Args>
  requires(!std::derived_from<std::decay_t<F>, Process> &&
           !std::same_as<std::decay_t<F>, ProcessOptions>) explicit Process(F&& f, Args&&... args)
      : Process(ProcessOptions(), std::forward<F>(f), std::forward<Args>(args)...) {}
  template <class F, class... Args>
  Process(ProcessOptions options, F&& f, Args&&... args)
      : Process(std::move(options),
                detail::make_target(std::forward<F>(f), std::forward<Args>(args)...)) {}
  // Calls `f()`, any callable with whatever it captures, in a fork of this process.
  template <class F>
  static Process forked(ProcessOptions options, F&& f) {
    return Process(std::move(options), detail::make_inherited_target(std::forward<F>(f)));
  }
  template <class F>
  static Process forked(F&& f) {
    return forked(ProcessOptions(), std::forward<F>(f));
  }

  Process(Process&&) noexcept;
  Process& operator=(Process&&) noexcept;
  virtual ~Process();

  // The body of a derived class. Such a process is always forked: the object itself is inherited.
  virtual void run();

  // Throws InvalidStateError when started before, NotInitialized when the method needs `init`,
  // std::system_error when the system refuses (EAGAIN, EMFILE, ...).
  void start();
  // Waits for the end. Throws InvalidStateError when not started, or closed.
  void join();
  // Answers whether it ended within `limit`; zero or less: asks without waiting.
  template <class Rep, class Period>
  bool join_for(std::chrono::duration<Rep, Period> limit) {
    return join_until(std::chrono::steady_clock::now() +
                      std::chrono::duration_cast<std::chrono::nanoseconds>(limit));
  }
  bool join_until(std::chrono::steady_clock::time_point deadline);

  bool is_alive() const;
  pid_t pid() const;  // 0 before start
  const std::string& name() const;
  bool daemon() const;
  void set_daemon(bool daemon);  // before start only
  StartMethod start_method() const;
  const std::string& authkey() const;
  // A descriptor that polls readable at the end. Owned by this object. Throws when not started.
  int sentinel() const;
  // Empty before the end; minus N when signal N ended it.
  std::optional<int> exitcode() const;

  // SIGTERM, SIGKILL, SIGINT. Nothing happens when it ended already.
  void terminate();
  void kill();
  void interrupt();
  // Lets go of an ended process: every later call but close() throws. Throws while it runs.
  void close();

  friend std::ostream& operator<<(std::ostream& out, const Process& process);

 protected:
  // For derived classes, which override run().
  explicit Process(ProcessOptions options = {});

 private:
  struct State;
  Process(ProcessOptions options, std::unique_ptr<detail::Target> target);
  State& open() const;
  State& started() const;
  void end() noexcept;

  std::unique_ptr<State> state_;
};

// Children of this process that still run; those that have ended are reaped by asking.
std::vector<ProcessInfo> active_children();
ProcessInfo current_process();
// Empty in the program's first process.
std::optional<ProcessInfo> parent_process();

// Sets the secret of this process and of those that it starts from now on.
void set_authkey(std::string key);

// Runs `f(args...)` once in the fork server, so that every later child shares what it loads. Call
// it before the first start. Throws what `f` throws, NotInitialized without `init`.
template <class F, class... Args>
void preload(F&& f, Args&&... args) {
  detail::preload(*detail::make_target(std::forward<F>(f), std::forward<Args>(args)...));
}

// Start methods by object, where one program part must not depend on another's choice.
class Context {
 public:
  explicit constexpr Context(StartMethod method) noexcept : method_(method) {}
  constexpr StartMethod get_start_method() const noexcept { return method_; }
  constexpr Context get_context() const noexcept { return *this; }
  template <class F, class... Args>
  Process process(F&& f, Args&&... args) const {
    return Process({.start_method = method_}, std::forward<F>(f), std::forward<Args>(args)...);
  }
  template <class F, class... Args>
  Process process(ProcessOptions options, F&& f, Args&&... args) const {
    options.start_method = method_;
    return Process(std::move(options), std::forward<F>(f), std::forward<Args>(args)...);
  }

 private:
  StartMethod method_;
};
constexpr Context get_context(StartMethod method) noexcept { return Context(method); }

}  // namespace cohort
