// map of any executor: walks the inputs, and submits them in chunks.
#pragma once

#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "cohort/detail/deadline.hpp"
#include "cohort/detail/lazy_map.hpp"

namespace cohort::futures {

struct MapOptions {
  // For all results together, from the call on. None: as long as it takes.
  std::optional<std::chrono::nanoseconds> timeout = std::nullopt;
  // Items that are submitted as one call. Less than one: std::invalid_argument.
  long long chunksize = 1;
  // How many chunks to be ahead of the results that were taken. None: all, the input is read by
  // the call. Less than one: std::invalid_argument.
  std::optional<long long> buffersize = std::nullopt;
};

struct ShutdownOptions {
  bool wait = true;             // for what was submitted, and for the workers' end
  bool cancel_futures = false;  // cancel what has not begun
};

}  // namespace cohort::futures

namespace cohort::detail {

// ---- calling a callable with arguments that are this call's own

template <class F, class... Args>
concept InvocableOwning = std::invocable<F&, Args...> || std::invocable<F&, Args&...>;

// As rvalues, or where that does not fit, as lvalues.
template <class F, class... Args>
requires InvocableOwning<F, Args...>
decltype(auto) invoke_owning(F& f, Args&... args) {
  if constexpr (std::invocable<F&, Args...>) {
    return std::invoke(f, std::move(args)...);
  } else {
    return std::invoke(f, args...);
  }
}

template <class F, class... Args>
struct OwningResult {
  using type = decltype(invoke_owning<F, Args...>(std::declval<F&>(), std::declval<Args&>()...));
};
// Of no arguments that fit: what an empty map is a range of.
template <class F, class... Args>
using MapResult =
    std::decay_t<typename std::conditional_t<InvocableOwning<F, Args...>, OwningResult<F, Args...>,
                                             std::type_identity<void>>::type>;

// ---- walking several inputs together

// An input, and whether its elements may be moved from.
template <class View, bool kOwned>
struct WalkedInput {
  View view;
  std::optional<std::ranges::iterator_t<View>> at{};

  using Item = std::ranges::range_value_t<View>;

  // Steps only when the element is wanted: a step may fetch it.
  bool advance() {
    if (at) {
      ++*at;
    } else {
      at.emplace(std::ranges::begin(view));
    }
    return *at != std::ranges::end(view);
  }
  decltype(auto) element() {
    if constexpr (kOwned) {
      return std::ranges::iter_move(*at);
    } else {
      return **at;
    }
  }
};

template <class Range>
inline constexpr bool is_given_away =
    !std::is_lvalue_reference_v<Range> && !std::ranges::view<std::remove_cvref_t<Range>>;

template <class... Inputs>
class Walk {
 public:
  using Item = std::tuple<typename Inputs::Item...>;

  explicit Walk(Inputs... inputs) : inputs_(std::move(inputs)...) {}

  // At most `count` items; none at the end of the shortest input. Before what an input throws come
  // the items read before it.
  std::vector<Item> take(std::size_t count) {
    std::vector<Item> items;
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
    try {
      while (items.size() < count && !ended_ && take_one(items)) {
      }
    } catch (...) {
      ended_ = true;
      if (items.empty()) throw;
      failure_ = std::current_exception();
    }
    return items;
  }

 private:
  bool take_one(std::vector<Item>& items) {
    return std::apply(
        [&](auto&... inputs) {
          ended_ = !(inputs.advance() && ...);
          if (!ended_) items.emplace_back(inputs.element()...);
          return !ended_;
        },
        inputs_);
  }

  std::tuple<Inputs...> inputs_;
  bool ended_ = sizeof...(Inputs) == 0;
  std::exception_ptr failure_;
};

template <class Range>
auto walked(Range&& range) {
  using View = std::views::all_t<Range>;
  return WalkedInput<View, is_given_away<Range>>{std::views::all(std::forward<Range>(range))};
}

// ---- map

inline void check_map_options(const futures::MapOptions& options) {
  if (options.chunksize < 1)
    throw std::invalid_argument("a chunksize is at least 1, not " +
                                std::to_string(options.chunksize));
  if (options.buffersize && *options.buffersize < 1)
    throw std::invalid_argument("a buffersize is at least 1, not " +
                                std::to_string(*options.buffersize));
}

// f(a, b, ...) for the items of all ranges together, until the shortest ends: a LazyMap of the
// results. The executor submits one chunk by
//   std::shared_ptr<ChunkState<R>> submit_chunk(const F& f, std::vector<std::tuple<Args...>> items)
// and must outlive the result if there is a buffersize; so must ranges that are lvalues. Without
// one, what an input or the executor throws is thrown here.
template <class Executor, class F, class... Ranges>
auto executor_map(Executor& executor, futures::MapOptions options, F&& f, Ranges&&... ranges) {
  using Function = std::decay_t<F>;
  using R = MapResult<Function, std::ranges::range_value_t<Ranges>...>;
  check_map_options(options);
  LazyMapOptions how;
  if (options.timeout) how.deadline = deadline_after(*options.timeout);
  how.window = static_cast<std::size_t>(options.buffersize.value_or(0));
  if constexpr (sizeof...(Ranges) == 0) {
    return LazyMap<R>();
  } else {
    auto draw = [&executor, count = static_cast<std::size_t>(options.chunksize),
                 function = Function(std::forward<F>(f)),
                 walk = Walk(walked(std::forward<Ranges>(ranges))...)]() mutable {
      auto items = walk.take(count);
      return items.empty() ? std::shared_ptr<ChunkState<R>>()
                           : executor.submit_chunk(std::as_const(function), std::move(items));
    };
    LazyMap<R> results(std::move(draw), how);
    if (!options.buffersize) results.check_input();
    return results;
  }
}

}  // namespace cohort::detail
