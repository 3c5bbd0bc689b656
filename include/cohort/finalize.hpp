// Clean-up that runs with its owner or at the end of the process, and exactly once.
#pragma once

#include <functional>
#include <memory>
#include <optional>

namespace cohort {

struct FinalizerOptions {
  // Run at the process's end too: higher first, and newest first among equals. None: only when
  // called, or when its owner goes.
  std::optional<int> exit_priority = std::nullopt;
};

// Runs a function once: when called, when destroyed, or at the end of the process that made it,
// whichever is first. Copies made by a fork never run it.
class Finalizer {
 public:
  explicit Finalizer(std::function<void()> function, FinalizerOptions options = {});
  Finalizer(Finalizer&&) noexcept = default;
  Finalizer& operator=(Finalizer&& other) noexcept;
  ~Finalizer();

  // Answers whether this call ran it.
  bool operator()();
  // Forgets the function without running it; answers whether it was still to run.
  bool cancel();
  bool still_active() const noexcept;

 private:
  struct Entry;
  std::shared_ptr<Entry> entry_;
  friend struct Finalizers;
};

// Runs `function` at the normal end of this process, a started child as well as the program.
void at_exit(std::function<void()> function, int priority = 0);

}  // namespace cohort
