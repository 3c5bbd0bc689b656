// Pool: worker processes that run your functions, and survive what these do.
#pragma once

#include <sys/types.h>

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

#include "cohort/detail/pool_calls.hpp"
#include "cohort/process.hpp"

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
  // Runs first in each worker, also in those that replace dead ones. One that throws breaks the
  // pool.
  PoolInitializer initializer = {};
  // How often an item is run again when its worker died while running it. What it did outside its
  // process before is not undone.
  unsigned retries = 0;
  std::optional<StartMethod> start_method = std::nullopt;  // none: get_start_method()
};

struct MapOptions {
  // Items per batch; 0: chosen by measuring, so that a batch takes some milliseconds.
  std::size_t chunksize = 0;
  // A line about the progress on stderr, when that is a terminal.
  bool progress = false;
};

// What one of a pool's workers did so far, its predecessors in the same place included.
struct WorkerStats {
  pid_t pid = 0;          // 0 while a dead worker is being replaced: not one to send a signal to
  std::size_t tasks = 0;  // items run
  std::chrono::nanoseconds busy{};
  std::chrono::nanoseconds idle{};
  std::size_t restarts = 0;  // how often it was replaced after a death
};

// Worker processes, started by the constructor. All members may be called from any thread at any
// time.
//
// A worker that dies fails only the item that it was running, with WorkerDied, or that item is run
// again (see retries); what was finished is kept, what was not begun goes to another worker, and a
// new worker takes its place. Workers are daemons and ignore SIGINT.
//
// Throws from calls: what the function threw, as its own type; WorkerDied; InvalidStateError after
// close or terminate; BrokenPool when workers cannot be started any more, nested around the cause;
// SerializationError; CancelledError when the pool is terminated meanwhile.
//
// Destruction: after close() it joins, else it terminates. In a child made by fork the copy of a
// pool is inert.
class Pool {
 public:
  Pool() : Pool(PoolOptions()) {}
  template <std::integral Count>
  explicit Pool(Count processes)
      : Pool(PoolOptions{.processes = static_cast<long long>(processes)}) {}
  explicit Pool(PoolOptions options);
  Pool(Pool&&) noexcept;
  Pool& operator=(Pool&&) noexcept;
  ~Pool();

  // f(args...) in a worker.
  template <class F, class... Args>
  auto apply(F&& f, Args&&... args) {
    using Function = std::decay_t<F>;
    const void* code = detail::code_address<Function>(f);
    auto call = detail::make_call(std::forward<F>(f), std::forward<Args>(args)...);
    detail::ApplyBody<decltype(call)> body(std::move(call), code, detail::type_name<Function>());
    run(body, body.shape(), {});
    return body.result();
  }

  // f(item) for each item, in the order of the items; nothing where f returns void. All items are
  // run even when some throw; then the exception of the first one is thrown. The range is read by
  // this thread, while the first items run.
  template <class F, std::ranges::input_range Range>
  auto map(F&& f, Range&& range) {
    return map_as<detail::InvokeWhole>(MapOptions(), std::forward<F>(f), range);
  }
  template <class F, class T>
  auto map(F&& f, std::initializer_list<T> items) {
    return map_as<detail::InvokeWhole>(MapOptions(), std::forward<F>(f), items);
  }
  template <class F, std::ranges::input_range Range>
  auto map(MapOptions options, F&& f, Range&& range) {
    return map_as<detail::InvokeWhole>(options, std::forward<F>(f), range);
  }
  template <class F, class T>
  auto map(MapOptions options, F&& f, std::initializer_list<T> items) {
    return map_as<detail::InvokeWhole>(options, std::forward<F>(f), items);
  }

  // f(a, b, ...) for each tuple {a, b, ...}, as map.
  template <class F, std::ranges::input_range Range>
  auto starmap(F&& f, Range&& tuples) {
    return map_as<detail::InvokeSpread>(MapOptions(), std::forward<F>(f), tuples);
  }
  template <class F, class T>
  auto starmap(F&& f, std::initializer_list<T> tuples) {
    return map_as<detail::InvokeSpread>(MapOptions(), std::forward<F>(f), tuples);
  }
  template <class F, std::ranges::input_range Range>
  auto starmap(MapOptions options, F&& f, Range&& tuples) {
    return map_as<detail::InvokeSpread>(options, std::forward<F>(f), tuples);
  }

  // No more calls; those that run go on to their end, then the workers leave.
  void close();
  // Kills the workers at once; running calls throw CancelledError.
  void terminate();
  // Waits for the workers' end. Throws InvalidStateError before close() or terminate().
  void join();

  // One entry for each worker, in the order of their places.
  std::vector<WorkerStats> stats() const;

 private:
  class Impl;

  template <class Invoke, class F, class Range>
  auto map_as(MapOptions options, F&& f, Range&& range) {
    using Function = std::decay_t<F>;
    using Item = detail::Stored<std::ranges::range_value_t<Range>>;
    detail::check_callable<Function>();
    detail::check_argument<Item>();
    if constexpr (!std::ranges::forward_range<Range>) {
      std::vector<std::ranges::range_value_t<Range>> items;
      for (auto&& item : range) items.push_back(std::forward<decltype(item)>(item));
      return map_as<Invoke>(options, std::forward<F>(f), items);
    } else {
      detail::MapBody<Invoke, Function, std::remove_reference_t<Range>> body(std::forward<F>(f),
                                                                             range);
      run(body, body.shape(), options);
      return body.results();
    }
  }
  void run(detail::TaskBody& body, const detail::TaskShape& shape, const MapOptions& options);
  Impl& open() const;

  std::unique_ptr<Impl> impl_;
};

}  // namespace cohort
