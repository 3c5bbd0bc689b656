// Pool: worker processes that run your functions, and survive what these do.
#pragma once

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <ranges>
#include <type_traits>
#include <utility>
#include <vector>

#include "cohort/detail/deadline.hpp"
#include "cohort/detail/lazy_map.hpp"
#include "cohort/detail/pool_call.hpp"
#include "cohort/detail/pool_calls.hpp"
#include "cohort/detail/worker_pool.hpp"
#include "cohort/pool_options.hpp"
#include "cohort/process.hpp"

namespace cohort {

struct MapOptions {
  // Items per batch; 0: chosen by measuring, so that a batch takes some milliseconds (for imap: 1).
  std::size_t chunksize = 0;
  // How far it is, on stderr: a bar on a terminal, else lines now and then. Not for imap.
  bool progress = false;
  // For each item; none: the pool's. Zero: no limit.
  std::optional<std::chrono::nanoseconds> timeout = std::nullopt;
  std::optional<std::chrono::nanoseconds> soft_timeout = std::nullopt;
  std::optional<unsigned> retries = std::nullopt;
  // imap, imap_unordered: how many items are drawn from the input before their results are taken.
  // 0: a few for each worker.
  std::size_t lookahead = 0;
};

// Callbacks run in this process, on a thread of the pool's, one at a time, before the call counts
// as done. What they throw is reported on stderr.
template <class R>
struct CallOptions {
  typename detail::ResultCallback<R>::type callback = {};
  std::function<void(std::exception_ptr)> error_callback = {};
  // None: the pool's. Zero: no limit.
  std::optional<std::chrono::nanoseconds> timeout = std::nullopt;
  std::optional<std::chrono::nanoseconds> soft_timeout = std::nullopt;
  std::optional<unsigned> retries = std::nullopt;
  std::size_t chunksize = 0;  // of a map
};

// The result of a call that a pool runs. A handle: copies mean the same call.
template <class R>
class AsyncResult {
 public:
  AsyncResult() = default;
  explicit AsyncResult(std::shared_ptr<detail::ResultState<R>> state) : state_(std::move(state)) {}

  // Waits for the end; answers what the call returned, or throws what it threw. A result that
  // cannot be copied is given away once.
  R get() const {
    state().wait_until(std::nullopt);
    return state().take();
  }
  // Throws TimeoutError when the limit passes first; the call goes on.
  template <class Rep, class Period>
  R get(std::chrono::duration<Rep, Period> limit) const {
    if (!wait_for(limit)) throw TimeoutError("the result was not there in time; the call goes on");
    return state().take();
  }
  void wait() const { state().wait_until(std::nullopt); }
  template <class Rep, class Period>
  bool wait_for(std::chrono::duration<Rep, Period> limit) const {
    return state().wait_until(detail::deadline_after(limit));
  }
  bool ready() const { return state().done(); }
  // Whether the call returned. Throws InvalidStateError before its end.
  bool successful() const {
    if (!ready()) throw InvalidStateError("the call has not ended: ask ready() first, or wait()");
    return !state().cancelled() && !state().error();
  }
  // Ends a call that has not ended; a running one with its worker, which is replaced. Answers
  // whether it was in time; get() throws CancelledError then.
  bool cancel() const { return state().cancel(); }
  bool cancelled() const { return state().cancelled(); }

 private:
  detail::ResultState<R>& state() const {
    if (!state_) throw InvalidStateError("this AsyncResult is empty: it came from no call");
    return *state_;
  }
  std::shared_ptr<detail::ResultState<R>> state_;
};

// Worker processes, started by the constructor. All members may be called from any thread at any
// time.
//
// A worker that dies fails only the item that it was running, with WorkerDied, or that item is run
// again (see retries); what was finished is kept, what was not begun goes to another worker, and a
// new worker takes its place. Workers are daemons and ignore SIGINT.
//
// Throws from calls: what the function threw, as its own type; WorkerDied; TimeoutError of a task
// past its limit; InvalidStateError after close or terminate; BrokenPool when workers cannot be
// started any more, nested around the cause; SerializationError; CancelledError when the pool is
// terminated meanwhile. Calls wait while 16,384 tasks are on their way.
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
    open().run(body, body.shape(), {});
    return body.outcome();
  }

  // The same without waiting.
  template <class F, class... Args>
  auto apply_async(F&& f, Args&&... args) {
    return begin_apply<detail::CallResult<F, Args...>>({}, std::forward<F>(f),
                                                       std::forward<Args>(args)...);
  }
  template <class F, class... Args>
  auto apply_async(CallOptions<detail::CallResult<F, Args...>> options, F&& f, Args&&... args) {
    return begin_apply<detail::CallResult<F, Args...>>(std::move(options), std::forward<F>(f),
                                                       std::forward<Args>(args)...);
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

  // As map and starmap, without waiting; the items are kept until they are sent.
  template <class F, std::ranges::input_range Range>
  auto map_async(F&& f, Range&& range) {
    return begin_map<detail::InvokeWhole>({}, std::forward<F>(f), std::forward<Range>(range));
  }
  template <class F, class T>
  auto map_async(F&& f, std::initializer_list<T> items) {
    return begin_map<detail::InvokeWhole>({}, std::forward<F>(f), std::vector<T>(items));
  }
  template <class F, std::ranges::input_range Range>
  auto map_async(
      CallOptions<detail::MapOutcome<detail::InvokeWhole, F, std::ranges::range_value_t<Range>>>
          options,
      F&& f, Range&& range) {
    return begin_map<detail::InvokeWhole>(std::move(options), std::forward<F>(f),
                                          std::forward<Range>(range));
  }
  template <class F, class T>
  auto map_async(CallOptions<detail::MapOutcome<detail::InvokeWhole, F, T>> options, F&& f,
                 std::initializer_list<T> items) {
    return begin_map<detail::InvokeWhole>(std::move(options), std::forward<F>(f),
                                          std::vector<T>(items));
  }
  template <class F, std::ranges::input_range Range>
  auto starmap_async(F&& f, Range&& tuples) {
    return begin_map<detail::InvokeSpread>({}, std::forward<F>(f), std::forward<Range>(tuples));
  }
  template <class F, class T>
  auto starmap_async(F&& f, std::initializer_list<T> tuples) {
    return begin_map<detail::InvokeSpread>({}, std::forward<F>(f), std::vector<T>(tuples));
  }
  template <class F, std::ranges::input_range Range>
  auto starmap_async(
      CallOptions<detail::MapOutcome<detail::InvokeSpread, F, std::ranges::range_value_t<Range>>>
          options,
      F&& f, Range&& tuples) {
    return begin_map<detail::InvokeSpread>(std::move(options), std::forward<F>(f),
                                           std::forward<Range>(tuples));
  }

  // A single-pass range of the results, in the order of the items, that draws items from the input
  // as results are taken: the input may be endless. An item that failed throws when its turn comes,
  // and the range can be read on after it; what the input throws comes last. An lvalue range must
  // outlive the results.
  template <class F, std::ranges::input_range Range>
  auto imap(F&& f, Range&& range) {
    return lazily(MapOptions(), true, std::forward<F>(f), std::forward<Range>(range));
  }
  template <class F, std::ranges::input_range Range>
  auto imap(MapOptions options, F&& f, Range&& range) {
    return lazily(options, true, std::forward<F>(f), std::forward<Range>(range));
  }
  template <class F, class T>
  auto imap(F&& f, std::initializer_list<T> items) {
    return lazily(MapOptions(), true, std::forward<F>(f), std::vector<T>(items));
  }
  // The same in the order in which they are ready.
  template <class F, std::ranges::input_range Range>
  auto imap_unordered(F&& f, Range&& range) {
    return lazily(MapOptions(), false, std::forward<F>(f), std::forward<Range>(range));
  }
  template <class F, std::ranges::input_range Range>
  auto imap_unordered(MapOptions options, F&& f, Range&& range) {
    return lazily(options, false, std::forward<F>(f), std::forward<Range>(range));
  }
  template <class F, class T>
  auto imap_unordered(F&& f, std::initializer_list<T> items) {
    return lazily(MapOptions(), false, std::forward<F>(f), std::vector<T>(items));
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
      open().run(body, body.shape(), settings_of(options));
      return body.outcome();
    }
  }

  template <class R, class F, class... Args>
  AsyncResult<R> begin_apply(CallOptions<R> options, F&& f, Args&&... args) {
    using Function = std::decay_t<F>;
    const void* code = detail::code_address<Function>(f);
    auto call = detail::make_call(std::forward<F>(f), std::forward<Args>(args)...);
    using Body = detail::ApplyBody<decltype(call)>;
    return AsyncResult<R>(
        detail::PoolCall<Body>::begin(open(), settings_of(options), callbacks_of(options), true,
                                      std::move(call), code, detail::type_name<Function>()));
  }

  template <class Invoke, class F, class Range>
  auto begin_map(
      CallOptions<detail::MapOutcome<Invoke, F, std::ranges::range_value_t<Range>>> options, F&& f,
      Range&& range) {
    using Function = std::decay_t<F>;
    using Item = detail::Stored<std::ranges::range_value_t<Range>>;
    using Result = detail::MapOutcome<Invoke, F, Item>;
    detail::check_callable<Function>();
    detail::check_argument<Item>();
    using Body = detail::OwningMapBody<Invoke, Function, Item>;
    return AsyncResult<Result>(detail::PoolCall<Body>::begin(
        open(), settings_of(options), callbacks_of(options), true, std::forward<F>(f),
        detail::to_vector<Item>(std::forward<Range>(range))));
  }

  template <class F, class Range>
  auto lazily(const MapOptions& options, bool ordered, F&& f, Range&& range) {
    using Function = std::decay_t<F>;
    using Item = detail::Stored<std::ranges::range_value_t<Range>>;
    using Body = detail::ChunkBody<detail::InvokeWhole, Function, Item>;
    detail::check_callable<Function>();
    detail::check_argument<Item>();
    detail::CallSettings settings = settings_of(options);
    std::size_t chunksize = settings.chunksize ? settings.chunksize : 1;
    settings.chunksize = chunksize;
    std::size_t ahead = options.lookahead ? options.lookahead : kLookahead * open().size();
    detail::LazyMapOptions how;
    how.window = std::max<std::size_t>(1, (ahead + chunksize - 1) / chunksize);
    how.ordered = ordered;
    auto draw = [pool = &open(), settings, function = Function(std::forward<F>(f)),
                 input = detail::Drawn(std::views::all(std::forward<Range>(range)))]() mutable
        -> std::shared_ptr<detail::ChunkState<typename Body::Result>> {
      auto items = input.template take<Item>(settings.chunksize);
      if (items.empty()) return nullptr;
      return detail::PoolCall<Body>::begin(*pool, settings, {}, true, function, std::move(items));
    };
    return detail::LazyMap<typename Body::Result>(std::move(draw), how);
  }

  static detail::CallSettings settings_of(const MapOptions& options) {
    return {.chunksize = options.chunksize,
            .progress = options.progress,
            .timeout = options.timeout,
            .soft_timeout = options.soft_timeout,
            .retries = options.retries};
  }
  template <class R>
  static detail::CallSettings settings_of(const CallOptions<R>& options) {
    return {.chunksize = options.chunksize,
            .timeout = options.timeout,
            .soft_timeout = options.soft_timeout,
            .retries = options.retries};
  }
  template <class R>
  static detail::Callbacks<R> callbacks_of(CallOptions<R>& options) {
    return {std::move(options.callback), std::move(options.error_callback)};
  }

  static constexpr std::size_t kLookahead = 4;  // items for each worker

  detail::WorkerPool& open() const;

  std::unique_ptr<detail::WorkerPool> workers_;
};

// A pool of cpu_count() workers that is made by the first call and ends with the program. Of the
// calling process: a forked child gets one of its own.
Pool& default_pool();

}  // namespace cohort
