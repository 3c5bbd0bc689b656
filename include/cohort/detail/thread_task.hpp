// The calls that a thread executor runs.
#pragma once

#include <concepts>
#include <exception>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "cohort/detail/executor_map.hpp"
#include "cohort/detail/lazy_map.hpp"
#include "cohort/future.hpp"

namespace cohort::detail {

class ThreadTask {
 public:
  virtual ~ThreadTask() = default;
  virtual void run() noexcept = 0;
  // Instead of run.
  virtual void fail(std::exception_ptr error) noexcept = 0;
  virtual void cancel_unrun() noexcept = 0;

 protected:
  // This thread, one of an executor's, will soon look for another call.
  static void finishing() noexcept;
  // But first it runs callbacks, which may wait for calls that were submitted meanwhile. Nothing
  // in other threads.
  static void not_free_yet() noexcept;
};

// `Work` is destroyed when it has run, or when the call is cancelled: nothing of it stays in the
// future.
template <class R, class Work>
class ThreadTaskOf : public ThreadTask, public ResultState<R> {
 public:
  template <class... Parts>
  explicit ThreadTaskOf(Parts&&... parts) : work_(std::in_place, std::forward<Parts>(parts)...) {}

  void run() noexcept final {
    if (!this->begin_running()) return;
    put_outcome(*this, [&]() -> decltype(auto) { return (*work_)(); });
    work_.reset();
    // From the moment on at which somebody may know the result, this thread counts as free.
    finishing();
    this->finish();
  }
  void fail(std::exception_ptr error) noexcept final {
    if (!this->begin_running()) return;
    work_.reset();
    this->put_error(std::move(error));
    this->finish();
  }
  bool cancel() final {
    if (!this->cancel_pending()) return this->cancelled();
    work_.reset();
    return true;
  }
  void cancel_unrun() noexcept final {
    cancel();
    this->begin_running();
  }

 private:
  bool tells_cancelled() const noexcept final { return true; }
  void callbacks_due() noexcept final { not_free_yet(); }

  std::optional<Work> work_;
};

template <class F, class... Args>
class CallWork {
 public:
  template <class Function, class... Values>
  explicit CallWork(Function&& f, Values&&... args)
      : f_(std::forward<Function>(f)), args_(std::forward<Values>(args)...) {}
  decltype(auto) operator()() {
    return std::apply([&](Args&... args) -> decltype(auto) { return invoke_owning(f_, args...); },
                      args_);
  }

 private:
  F f_;
  std::tuple<Args...> args_;
};

template <class F, class... Args>
class CallTask final : public ThreadTaskOf<std::decay_t<typename OwningResult<F, Args...>::type>,
                                           CallWork<F, Args...>> {
 public:
  using Result = std::decay_t<typename OwningResult<F, Args...>::type>;
  using ThreadTaskOf<Result, CallWork<F, Args...>>::ThreadTaskOf;
};

// A callable that many chunks share.
template <class F>
class SharedFunction {
 public:
  template <class Function>
  requires(!std::same_as<std::decay_t<Function>, SharedFunction>) explicit SharedFunction(
      Function&& f)
      : f_(std::make_shared<const F>(std::forward<Function>(f))) {}
  template <class... Args>
  requires std::invocable<const F&, Args...>
  decltype(auto) operator()(Args&&... args) const {
    return std::invoke(*f_, std::forward<Args>(args)...);
  }

 private:
  std::shared_ptr<const F> f_;
};

template <class F, class Item>
struct ChunkResult;
template <class F, class... Args>
struct ChunkResult<F, std::tuple<Args...>> {
  using type = MapResult<F, Args...>;
};

template <class F, class Item>
class ChunkWork {
 public:
  using Result = typename ChunkResult<F, Item>::type;

  ChunkWork(const F& f, std::vector<Item> items) : f_(f), items_(std::move(items)) {}
  Chunk<Result> operator()() {
    Chunk<Result> chunk;
    chunk.reserve(items_.size());
    for (Item& item : items_) chunk.push_back(run(item));
    return chunk;
  }

 private:
  ItemOutcome<Result> run(Item& item) {
    ItemOutcome<Result> outcome;
    try {
      auto call = [&](auto&... args) -> decltype(auto) { return invoke_owning(f_, args...); };
      if constexpr (std::is_void_v<Result>) {
        std::apply(call, item);
        outcome.value.emplace(true);
      } else {
        outcome.value.emplace(std::apply(call, item));
      }
    } catch (...) {
      outcome.error = std::current_exception();
    }
    return outcome;
  }

  F f_;
  std::vector<Item> items_;
};

template <class F, class Item>
class ChunkTask final
    : public ThreadTaskOf<Chunk<typename ChunkResult<F, Item>::type>, ChunkWork<F, Item>> {
 public:
  using Result = typename ChunkResult<F, Item>::type;
  using ThreadTaskOf<Chunk<Result>, ChunkWork<F, Item>>::ThreadTaskOf;
};

}  // namespace cohort::detail
