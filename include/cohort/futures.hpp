// Futures of calls that run elsewhere, waiting for several of them, and executors.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <exception>
#include <initializer_list>
#include <optional>
#include <utility>
#include <vector>

#include "cohort/detail/as_completed.hpp"
#include "cohort/detail/completions.hpp"
#include "cohort/detail/executor_map.hpp"
#include "cohort/detail/future_range.hpp"
#include "cohort/future.hpp"
#include "cohort/process_executor.hpp"
#include "cohort/thread_executor.hpp"

namespace cohort::futures {

enum ReturnWhen {
  ALL_COMPLETED,    // all are done
  FIRST_COMPLETED,  // one is done
  FIRST_EXCEPTION,  // one has thrown, or all are done; a cancelled one has not thrown
};

struct WaitOptions {
  std::optional<std::chrono::nanoseconds> timeout = std::nullopt;  // none: as long as it takes
  ReturnWhen return_when = ALL_COMPLETED;
};

// Each future once, in the order given.
template <class R>
struct DoneAndNotDone {
  std::vector<Future<R>> done;
  std::vector<Future<R>> not_done;
};

// Waits until what `return_when` says, or the timeout, which is no error. A call of a thread
// executor or a Promise that was cancelled counts as done once a worker has come upon it.
template <detail::FutureRange Range>
auto wait(Range&& futures, WaitOptions options = {}) {
  using R = detail::FutureRangeResult<Range>;
  detail::CallDeadline deadline;
  if (options.timeout) deadline = detail::deadline_after(*options.timeout);
  auto calls = detail::distinct_calls(futures);
  detail::wait_for_calls(calls, options.return_when == FIRST_COMPLETED,
                         options.return_when == FIRST_EXCEPTION, deadline);
  DoneAndNotDone<R> result;
  for (auto& call : calls) {
    auto& side = call->settled() ? result.done : result.not_done;
    side.emplace_back(std::move(call));
  }
  return result;
}
template <class R>
DoneAndNotDone<R> wait(std::initializer_list<Future<R>> futures, WaitOptions options = {}) {
  return wait(std::vector<Future<R>>(futures), options);
}

// The futures in the order of their ends, those that are done first: a single-pass range, whose
// ++ waits.
template <detail::FutureRange Range>
auto as_completed(Range&& futures) {
  return AsCompleted<detail::FutureRangeResult<Range>>(detail::distinct_calls(futures),
                                                       std::nullopt);
}
// Where the limit, counted from this call, passes first, ++ throws TimeoutError.
template <detail::FutureRange Range, class Rep, class Period>
auto as_completed(Range&& futures, std::chrono::duration<Rep, Period> limit) {
  return AsCompleted<detail::FutureRangeResult<Range>>(detail::distinct_calls(futures),
                                                       detail::deadline_after(limit));
}
template <class R>
AsCompleted<R> as_completed(std::initializer_list<Future<R>> futures) {
  return as_completed(std::vector<Future<R>>(futures));
}
template <class R, class Rep, class Period>
AsCompleted<R> as_completed(std::initializer_list<Future<R>> futures,
                            std::chrono::duration<Rep, Period> limit) {
  return as_completed(std::vector<Future<R>>(futures), limit);
}

// What runs calls and gives futures of them.
template <class E>
concept Executor = requires(E& executor, int (*f)(int), std::vector<int>& items) {
  { executor.submit(f, 1) } -> std::same_as<Future<int>>;
  { *executor.map(f, items).begin() } -> std::convertible_to<int>;
  { *executor.map(MapOptions(), f, items).begin() } -> std::convertible_to<int>;
  executor.shutdown();
  executor.shutdown(ShutdownOptions());
};

}  // namespace cohort::futures
