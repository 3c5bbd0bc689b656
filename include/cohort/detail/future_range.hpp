// Ranges of futures.
#pragma once

#include <cstddef>
#include <memory>
#include <ranges>
#include <type_traits>
#include <unordered_set>
#include <vector>

#include "cohort/detail/completions.hpp"
#include "cohort/future.hpp"

namespace cohort::detail {

template <class T>
struct FutureTraits;
template <class R>
struct FutureTraits<futures::Future<R>> {
  using Result = R;
};

template <class Range>
concept FutureRange = std::ranges::input_range<Range> && requires {
  typename FutureTraits<std::remove_cvref_t<std::ranges::range_value_t<Range>>>::Result;
};
template <FutureRange Range>
using FutureRangeResult =
    typename FutureTraits<std::remove_cvref_t<std::ranges::range_value_t<Range>>>::Result;

// Each call once, in the order of its first future.
template <FutureRange Range>
auto distinct_calls(Range&& range) {
  using R = FutureRangeResult<Range>;
  std::vector<std::shared_ptr<ResultState<R>>> calls;
  std::unordered_set<const void*> seen;
  for (const futures::Future<R>& future : range) {
    const auto& state = FutureAccess::state(future);
    if (seen.insert(state.get()).second) calls.push_back(state);
  }
  return calls;
}

// Waits until one is done, or one has thrown, or all are done, or the deadline.
template <class R>
void wait_for_calls(const std::vector<std::shared_ptr<ResultState<R>>>& calls, bool first_done,
                    bool first_exception, CallDeadline deadline) {
  std::size_t left = calls.size();
  bool enough = false;
  auto count = [&](ResultState<R>& call) {
    --left;
    enough = enough || left == 0 || first_done ||
             (first_exception && !call.cancelled() && call.error() != nullptr);
  };
  if (!first_done && !first_exception) {
    // One after the other: each wait may do that call's work itself.
    for (const auto& call : calls) {
      if (!call->wait_until(deadline)) return;
    }
  }
  std::vector<std::size_t> open;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    if (calls[i]->settled()) {
      count(*calls[i]);
    } else {
      open.push_back(i);
    }
  }
  if (enough || open.empty()) return;

  Completions completions;
  struct Forget {
    ~Forget() {
      for (std::size_t i = 0; i < watched; ++i) completions.forget(*calls[open[i]]);
    }
    const std::vector<std::shared_ptr<ResultState<R>>>& calls;
    const std::vector<std::size_t>& open;
    Completions& completions;
    std::size_t watched = 0;
  } forget{calls, open, completions};
  for (std::size_t i : open) {
    ++forget.watched;
    completions.watch(*calls[i], i);
  }
  while (!enough) {
    auto number = completions.next(deadline);
    if (!number) return;
    count(*calls[*number]);
  }
}

}  // namespace cohort::detail
