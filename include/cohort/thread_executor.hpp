// An executor whose workers are threads of this process.
#pragma once

#include <concepts>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <ranges>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "cohort/detail/executor_map.hpp"
#include "cohort/detail/thread_task.hpp"
#include "cohort/error.hpp"
#include "cohort/future.hpp"

namespace cohort::detail {
class ThreadCrew;
}

namespace cohort::futures {

// An initializer threw: this executor runs nothing more. Nested in it is what was thrown.
class BrokenThreadPool : public BrokenPool {
 public:
  using BrokenPool::BrokenPool;
};

struct ThreadPoolOptions {
  // Threads at most; none: cpu_count() + 4, but no more than 32. Less than one:
  // std::invalid_argument.
  std::optional<long long> max_workers = std::nullopt;
  // Threads are called PREFIX_0, PREFIX_1, ..., for which the system has 15 characters. Empty: a
  // prefix of the executor's own.
  std::string thread_name_prefix = {};
  // Runs first in each thread. One that throws breaks the executor.
  std::function<void()> initializer = {};
};

// Threads are made as calls need them, and kept for later calls. Calls begin in the order of their
// submission. All members may be called from any thread, also from calls; a call that waits for
// another one of the same executor may wait for ever, when all threads do so.
//
// Destruction waits for all calls, and for the threads. So does the end of the program, from where
// on nothing can be submitted. In a child made by fork the copy of an executor is inert, and its
// futures never end.
class ThreadPoolExecutor {
 public:
  ThreadPoolExecutor() : ThreadPoolExecutor(ThreadPoolOptions()) {}
  template <std::integral Count>
  explicit ThreadPoolExecutor(Count max_workers)
      : ThreadPoolExecutor(ThreadPoolOptions{.max_workers = static_cast<long long>(max_workers)}) {}
  explicit ThreadPoolExecutor(ThreadPoolOptions options);
  ThreadPoolExecutor(ThreadPoolExecutor&&) noexcept;
  ThreadPoolExecutor& operator=(ThreadPoolExecutor&&) noexcept;
  ~ThreadPoolExecutor();

  // f(args...) in a thread, both as copies of their own: moved into the call, or where f takes
  // lvalue references, to the copies. An exception arrives as the very object that was thrown.
  // Throws InvalidStateError after shutdown, BrokenThreadPool, std::system_error when not even one
  // thread can be made.
  template <class F, class... Args>
  requires detail::InvocableOwning<std::decay_t<F>, std::decay_t<Args>...>
  auto submit(F&& f, Args&&... args) {
    using Task = detail::CallTask<std::decay_t<F>, std::decay_t<Args>...>;
    auto task = std::make_shared<Task>(std::forward<F>(f), std::forward<Args>(args)...);
    enqueue(task);
    return Future<typename Task::Result>(std::move(task));
  }

  // f(item), or f(a, b, ...) with several ranges, until the shortest ends: a single-pass range of
  // the results in the order of the items; see detail::LazyMap for failures, next() and close().
  // One f serves all calls, unless it cannot be called when const.
  template <class F, std::ranges::input_range... Ranges>
  requires(!std::same_as<std::decay_t<F>, MapOptions>) auto map(F&& f, Ranges&&... ranges) {
    return map(MapOptions(), std::forward<F>(f), std::forward<Ranges>(ranges)...);
  }
  template <class F, std::ranges::input_range... Ranges>
  auto map(MapOptions options, F&& f, Ranges&&... ranges) {
    using Function = std::decay_t<F>;
    if constexpr (detail::InvocableOwning<const Function, std::ranges::range_value_t<Ranges>...>) {
      return detail::executor_map(*this, options,
                                  detail::SharedFunction<Function>(std::forward<F>(f)),
                                  std::forward<Ranges>(ranges)...);
    } else {
      return detail::executor_map(*this, options, std::forward<F>(f),
                                  std::forward<Ranges>(ranges)...);
    }
  }
  template <class F, class T>
  auto map(F&& f, std::initializer_list<T> items) {
    return map(MapOptions(), std::forward<F>(f), std::vector<T>(items));
  }
  template <class F, class T>
  auto map(MapOptions options, F&& f, std::initializer_list<T> items) {
    return map(options, std::forward<F>(f), std::vector<T>(items));
  }

  // Nothing more can be submitted; what was submitted is run, or cancelled. Called in one of the
  // executor's own threads it waits for the others only.
  void shutdown(ShutdownOptions options = {});

  std::size_t max_workers() const;

  // For map.
  template <class F, class Item>
  auto submit_chunk(const F& f, std::vector<Item> items) {
    using Task = detail::ChunkTask<F, Item>;
    auto task = std::make_shared<Task>(f, std::move(items));
    enqueue(task);
    return std::shared_ptr<detail::ChunkState<typename Task::Result>>(std::move(task));
  }

 private:
  void enqueue(std::shared_ptr<detail::ThreadTask> task);
  detail::ThreadCrew& crew() const;

  std::shared_ptr<detail::ThreadCrew> crew_;
};

}  // namespace cohort::futures
