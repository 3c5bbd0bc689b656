// ProcessPoolExecutor: worker processes behind futures.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <optional>
#include <ranges>
#include <type_traits>
#include <utility>
#include <vector>

#include "cohort/detail/executor_map.hpp"
#include "cohort/detail/pool_call.hpp"
#include "cohort/detail/worker_pool.hpp"
#include "cohort/future.hpp"
#include "cohort/pool_options.hpp"
#include "cohort/thread_executor.hpp"

namespace cohort::futures {

struct ProcessPoolOptions {
  // Started as they are needed; none: cpu_count(). Zero or fewer: std::invalid_argument.
  std::optional<long long> max_workers = std::nullopt;
  PoolInitializer initializer = {};
  // See PoolOptions.
  std::optional<long long> max_tasks_per_child = std::nullopt;
  std::chrono::nanoseconds task_timeout{};
  std::chrono::nanoseconds soft_timeout{};
  unsigned retries = 0;
  WorkerLimits limits = {};
  std::optional<StartMethod> start_method = std::nullopt;
};

// All members may be called from any thread. A worker that dies fails only the call that it was
// running, with WorkerDied, and is replaced. cancel() of a future ends a call that no worker has
// begun; shutdown() and terminate_workers() end others.
//
// Throws from submit and map: InvalidStateError after shutdown; BrokenPool when the initializer
// threw or no worker can be started. What encoding the arguments throws is the future's outcome.
//
// Destruction: shutdown(), which waits for the work. In a child made by fork the copy is inert.
class ProcessPoolExecutor {
 public:
  ProcessPoolExecutor() : ProcessPoolExecutor(ProcessPoolOptions()) {}
  template <std::integral Count>
  explicit ProcessPoolExecutor(Count max_workers)
      : ProcessPoolExecutor(
            ProcessPoolOptions{.max_workers = static_cast<long long>(max_workers)}) {}
  explicit ProcessPoolExecutor(ProcessPoolOptions options);
  ProcessPoolExecutor(ProcessPoolExecutor&&) noexcept;
  ProcessPoolExecutor& operator=(ProcessPoolExecutor&&) noexcept;
  ~ProcessPoolExecutor();

  // f(args...) in a worker.
  template <class F, class... Args>
  auto submit(F&& f, Args&&... args) {
    using Function = std::decay_t<F>;
    const void* code = detail::code_address<Function>(f);
    auto call = detail::make_call(std::forward<F>(f), std::forward<Args>(args)...);
    using Body = detail::ApplyBody<decltype(call)>;
    return Future<typename Body::Result>(detail::PoolCall<Body>::begin(
        open(), {}, {}, false, std::move(call), code, detail::type_name<Function>()));
  }

  // f(a, b, ...) for the items of the ranges, walked together until the shortest ends: a lazy range
  // of the results, in order. See docs/futures.md.
  template <class F, std::ranges::input_range... Ranges>
  requires(!std::same_as<std::decay_t<F>, MapOptions>) auto map(F&& f, Ranges&&... ranges) {
    return map(MapOptions(), std::forward<F>(f), std::forward<Ranges>(ranges)...);
  }
  template <class F, std::ranges::input_range... Ranges>
  auto map(MapOptions options, F&& f, Ranges&&... ranges) {
    return detail::executor_map(*this, options, std::forward<F>(f),
                                std::forward<Ranges>(ranges)...);
  }
  template <class F, class T>
  auto map(F&& f, std::initializer_list<T> items) {
    return map(MapOptions(), std::forward<F>(f), std::vector<T>(items));
  }
  template <class F, class T>
  auto map(MapOptions options, F&& f, std::initializer_list<T> items) {
    return map(options, std::forward<F>(f), std::vector<T>(items));
  }

  // No more calls. Those not begun are cancelled if asked for; the others go on. With `wait` it
  // returns when all have ended and the workers have left.
  void shutdown(ShutdownOptions options = {});
  // Ends the workers by SIGTERM or SIGKILL; calls that have not ended fail with BrokenPool.
  void terminate_workers();
  void kill_workers();

  // One entry for each worker that may be, in the order of their places.
  std::vector<WorkerStats> stats() const;

  // For map: f applied to each tuple of arguments, one task.
  template <class F, class Item>
  auto submit_chunk(const F& f, std::vector<Item> items) {
    using Body = detail::ChunkBody<detail::InvokeSpread, F, Item>;
    using Result = typename Body::Result;
    detail::CallSettings settings;
    settings.chunksize = items.size();
    return std::shared_ptr<detail::ChunkState<Result>>(
        detail::PoolCall<Body>::begin(open(), settings, {}, false, f, std::move(items)));
  }

 private:
  detail::WorkerPool& open() const;

  std::unique_ptr<detail::WorkerPool> workers_;
};

}  // namespace cohort::futures
