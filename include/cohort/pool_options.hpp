// What a pool of worker processes can be told, and tells.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "cohort/detail/target.hpp"
#include "cohort/process.hpp"
#include "cohort/worker_limits.hpp"

namespace cohort {

// Any callable without arguments that can cross to a worker; cohort::bind(f, args...) gives it
// some.
class PoolInitializer {
 public:
  PoolInitializer() = default;
  template <class F>
  requires(!std::same_as<std::decay_t<F>, PoolInitializer>) PoolInitializer(F&& f)
      : target_(detail::make_target(std::forward<F>(f))) {}

  const std::shared_ptr<detail::Target>& target() const noexcept { return target_; }

 private:
  std::shared_ptr<detail::Target> target_;
};

struct PoolOptions {
  // How many workers; none: cpu_count(). Zero or fewer: std::invalid_argument.
  std::optional<long long> processes = std::nullopt;
  // Runs first in each worker, also in those that replace others. One that throws breaks the pool.
  PoolInitializer initializer = {};
  // A worker leaves after so many tasks and another takes its place. Zero or fewer:
  // std::invalid_argument. Each item of a map is a task; a batch that was begun is finished.
  std::optional<long long> max_tasks_per_child = std::nullopt;
  // The longest time for a task, from its start in a worker; then the worker is killed, the task
  // fails with TimeoutError and the pool goes on. Zero: none.
  std::chrono::nanoseconds task_timeout{};
  // What cohort::deadline() tells the task, before the other limit is enforced. Zero: the same.
  std::chrono::nanoseconds soft_timeout{};
  // How often a task is run again when its worker died while running it. What it did outside its
  // process before is not undone. One that took too long is not run again.
  unsigned retries = 0;
  WorkerLimits limits = {};
  std::optional<StartMethod> start_method = std::nullopt;  // none: get_start_method()
};

// What one of a pool's workers did so far, its predecessors in the same place included.
struct WorkerStats {
  pid_t pid = 0;          // 0 while there is none: not one to send a signal to
  std::size_t tasks = 0;  // items run
  std::chrono::nanoseconds busy{};
  std::chrono::nanoseconds idle{};
  std::size_t restarts = 0;     // how often it was replaced after a death
  std::size_t peak_memory = 0;  // resident, in bytes, as far as stats() has seen it
};

// In a task: when it should have ended, by its soft time limit or else the other one; none without
// a limit, and outside a pool's worker.
std::optional<std::chrono::steady_clock::time_point> deadline();

}  // namespace cohort
