// The typed ends of a pool's calls: thunks that run in the worker, bodies that stay with the
// caller.
#pragma once

#include <cstddef>
#include <cstring>
#include <exception>
#include <functional>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <ranges>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "cohort/detail/target.hpp"
#include "cohort/detail/task_body.hpp"
#include "cohort/detail/task_run.hpp"
#include "cohort/serialize.hpp"

namespace cohort::detail {

// Lies in arrays in shared memory, uncoded.
template <class T>
concept Flat = Raw<T> && std::is_trivially_copyable_v<T> && alignof(T) <= 64;

template <class R>
inline constexpr std::size_t flat_bytes = sizeof(R);
template <class R>
requires(!Flat<R>) inline constexpr std::size_t flat_bytes<R> = 0;
template <>
inline constexpr std::size_t flat_bytes<void> = 0;

template <class R>
consteval void check_result() {
  static_assert(
      std::is_void_v<R> || Serializable<R>,
      "this result cannot cross back from the worker: its type is not serializable. Give "
      "it `template <class Archive> void serialize(Archive& ar) { ar(a, b); }`, or return "
      "a plain aggregate of serializable fields");
}

// Runs one item and stores its result.
template <class R, class Call>
void run_item(TaskRun& run, std::size_t i, Call&& call) {
  if constexpr (std::is_void_v<R>) {
    call();
  } else {
    R result = call();
    if constexpr (Flat<R>) {
      if (run.results()) {
        std::memcpy(run.results() + i * sizeof(R), std::addressof(result), sizeof(R));
        return;
      }
    }
    encode(run.open_result(i), result);
    run.close_result();
  }
}

template <class Thunk>
CodeReference refer_once() {
  static const CodeReference reference =
      refer_to_code(reinterpret_cast<const void*>(static_cast<TaskThunk>(&Thunk::run)));
  return reference;
}

// ---- apply: one item, the callable and its arguments together

template <class Call>
struct ApplyThunk {
  using Result = std::decay_t<std::invoke_result_t<Call&>>;
  static void run(TaskRun& run) {
    run.for_each_item([&](std::size_t i) {
      TaskReader reader(run.take_item());
      auto call = Call::decode_from(reader);
      run_item<Result>(run, i, call);
    });
  }
};

template <class Call>
class ApplyBody final : public TaskBody {
 public:
  using Result = typename ApplyThunk<Call>::Result;
  // `code`: the function's address, where it is one; `type`: the callable's type.
  ApplyBody(Call call, const void* code, std::string_view type)
      : call_(std::move(call)), code_(code), type_(type) {
    check_result<Result>();
  }

  static TaskShape shape() {
    return {.thunk = refer_once<ApplyThunk<Call>>(), .has_results = !std::is_void_v<Result>};
  }
  void encode_next(Writer& writer) override { call_.encode_to(writer); }
  void take_result(Reader& reader) override {
    if constexpr (!std::is_void_v<Result>) result_.emplace(decode<Result>(reader));
  }
  std::string name() const override { return describe_callable(code_, type_); }
  Result outcome() {
    if constexpr (!std::is_void_v<Result>) return std::move(*result_);
  }

 private:
  struct None {};
  Call call_;
  const void* code_;
  std::string_view type_;
  std::optional<std::conditional_t<std::is_void_v<Result>, None, Result>> result_;
};

// ---- map: the callable once, many items

struct InvokeWhole {
  template <class F, class T>
  static decltype(auto) call(F& f, T& item) {
    return std::invoke(f, item);
  }
};
// starmap: a tuple is spread over the parameters.
struct InvokeSpread {
  template <class F, class T>
  static decltype(auto) call(F& f, T& item) {
    return std::apply([&](auto&... parts) -> decltype(auto) { return std::invoke(f, parts...); },
                      item);
  }
};

// `may_be_flat`: items that can lie in an array do.
template <class Invoke, class F, class T, bool may_be_flat = true>
struct MapThunk {
  using Result = std::decay_t<decltype(Invoke::call(std::declval<F&>(), std::declval<T&>()))>;
  static void run(TaskRun& run) {
    TaskReader reader(run.callable());
    auto callable = Callable<F>::decode_from(reader);
    if constexpr (may_be_flat && Flat<T>) {
      const std::byte* items = run.items();
      run.for_each_item([&](std::size_t i) {
        // A copy: the function may change its argument, and a retry needs it as it was.
        alignas(T) std::byte copy[sizeof(T)];
        std::memcpy(copy, items + i * sizeof(T), sizeof(T));
        T& item = *std::launder(reinterpret_cast<T*>(copy));
        run_item<Result>(run, i,
                         [&]() -> decltype(auto) { return Invoke::call(callable.get(), item); });
      });
    } else {
      run.for_each_item([&](std::size_t i) {
        TaskReader argument(run.take_item());
        T item = decode<T>(argument);
        run_item<Result>(run, i,
                         [&]() -> decltype(auto) { return Invoke::call(callable.get(), item); });
      });
    }
  }
};

template <class Invoke, class F, class Range>
class MapBody : public TaskBody {
 public:
  using Item = Stored<std::ranges::range_value_t<Range>>;
  using Result = typename MapThunk<Invoke, F, Item>::Result;

  MapBody(F f, Range& range) : callable_(std::move(f)), next_(std::ranges::begin(range)) {
    check_result<Result>();
    if constexpr (std::ranges::sized_range<Range>) {
      count_ = static_cast<std::size_t>(std::ranges::size(range));
    } else {
      count_ = static_cast<std::size_t>(std::ranges::distance(range));
    }
    if constexpr (!std::is_void_v<Result>) {
      if (!flat_bytes<Result>) results_.reserve(count_);
    }
  }

  TaskShape shape() const {
    return {.thunk = refer_once<MapThunk<Invoke, F, Item>>(),
            .count = count_,
            .item_bytes = flat_bytes<Item>,
            .result_bytes = flat_bytes<Result>,
            .has_results = !std::is_void_v<Result>};
  }
  void encode_callable(Writer& writer) override { callable_.encode_to(writer); }
  void encode_next(Writer& writer) override {
    using Reference = std::remove_cvref_t<decltype(*next_)>;
    if constexpr (std::is_same_v<Reference, Item>) {
      encode(writer, *next_);
    } else {
      encode(writer, Item(*next_));
    }
    ++next_;
  }
  void copy_next(std::byte* to, std::size_t count) override {
    if constexpr (Flat<Item>) {
      if constexpr (std::contiguous_iterator<decltype(next_)> &&
                    std::is_same_v<std::iter_value_t<decltype(next_)>, Item>) {
        std::memcpy(to, std::to_address(next_), count * sizeof(Item));
        next_ += static_cast<std::iter_difference_t<decltype(next_)>>(count);
      } else {
        for (std::size_t i = 0; i < count; ++i, ++next_) {
          Item item(*next_);
          std::memcpy(to + i * sizeof(Item), std::addressof(item), sizeof(Item));
        }
      }
    }
  }
  void take_result(Reader& reader) override {
    if constexpr (!std::is_void_v<Result>) results_.push_back(decode<Result>(reader));
  }
  void take_results(const std::byte* flat) override {
    if constexpr (!std::is_void_v<Result>) {
      if constexpr (Flat<Result>) {
        auto* first = std::launder(reinterpret_cast<const Result*>(flat));
        results_.assign(first, first + count_);
      }
    }
  }
  std::string name() const override {
    return describe_callable(code_address(callable_.get()), type_name<F>());
  }
  auto outcome() {
    if constexpr (!std::is_void_v<Result>) return std::move(results_);
  }

 private:
  struct None {};
  mutable Callable<F> callable_;
  std::ranges::iterator_t<Range> next_;
  std::size_t count_ = 0;
  std::conditional_t<std::is_void_v<Result>, None,
                     std::vector<std::conditional_t<std::is_void_v<Result>, int, Result>>>
      results_;
};

// ---- the types of calls

// Of f(args...) in another process; no type where that cannot be called.
template <class F, class... Args>
using CallResult =
    std::decay_t<std::invoke_result_t<std::decay_t<F>&, Stored<std::decay_t<Args>>&...>>;

template <class Invoke, class F, class T>
struct MapOutcomeOf {
  using Item = typename MapThunk<Invoke, std::decay_t<F>, Stored<T>>::Result;
  using type = std::conditional_t<std::is_void_v<Item>, void,
                                  std::vector<std::conditional_t<std::is_void_v<Item>, int, Item>>>;
};
template <class Invoke, class F, class T>
using MapOutcome = typename MapOutcomeOf<Invoke, F, T>::type;

template <class Item, class Range>
std::vector<Item> to_vector(Range&& range) {
  if constexpr (std::is_same_v<std::remove_reference_t<Range>, std::vector<Item>> &&
                !std::is_lvalue_reference_v<Range>) {
    return std::move(range);
  } else {
    std::vector<Item> items;
    if constexpr (std::ranges::sized_range<Range>)
      items.reserve(static_cast<std::size_t>(std::ranges::size(range)));
    for (auto&& item : range) items.emplace_back(std::forward<decltype(item)>(item));
    return items;
  }
}

// A view that is read a few items at a time, and no further. Moved only before the first of them.
template <class View>
class Drawn {
 public:
  explicit Drawn(View view) : view_(std::move(view)) {}

  // At most so many; none at the end. What the view throws comes after the items before it.
  template <class Item>
  std::vector<Item> take(std::size_t most) {
    std::vector<Item> items;
    try {
      while (!failure_ && items.size() < most && advance()) items.emplace_back(**at_);
    } catch (...) {
      failure_ = std::current_exception();
    }
    if (items.empty() && failure_) std::rethrow_exception(failure_);
    return items;
  }

 private:
  bool advance() {
    if (ended_) return false;
    if (!at_) {
      at_.emplace(std::ranges::begin(view_));
    } else {
      ++*at_;
    }
    ended_ = *at_ == std::ranges::end(view_);
    return !ended_;
  }

  View view_;
  std::optional<std::ranges::iterator_t<View>> at_;
  bool ended_ = false;
  std::exception_ptr failure_;
};

}  // namespace cohort::detail
