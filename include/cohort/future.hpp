// The result of a call that runs elsewhere.
#pragma once

#include <atomic>
#include <chrono>
#include <concepts>
#include <coroutine>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "cohort/detail/call_state.hpp"
#include "cohort/detail/deadline.hpp"
#include "cohort/error.hpp"

namespace cohort::futures {
template <class R>
class Future;
template <class R>
class Promise;
}  // namespace cohort::futures

namespace cohort::detail {

// What `f` answers when it gets a Future<R>, or nothing.
template <class F, class R>
struct ContinuationResult : std::invoke_result<F&> {};
template <class F, class R>
requires std::invocable<F&, futures::Future<R>>
struct ContinuationResult<F, R> : std::invoke_result<F&, futures::Future<R>> {
};

template <class F, class R>
concept Continuation = std::invocable<F&, futures::Future<R>> || std::invocable<F&>;

template <class F, class R>
decltype(auto) call_with(F& f, futures::Future<R> future) {
  if constexpr (std::invocable<F&, futures::Future<R>>) {
    return std::invoke(f, std::move(future));
  } else {
    return std::invoke(f);
  }
}

// Puts what `call` answers or throws in place.
template <class R, class Call>
void put_outcome(ResultState<R>& state, Call&& call) {
  try {
    if constexpr (std::is_void_v<R>) {
      call();
      state.put_value(true);
    } else {
      state.put_value(call());
    }
  } catch (...) {
    state.put_error(std::current_exception());
  }
}

// The outcome of a function that is called with a future.
template <class R, class Source, class F>
class ThenState final : public ResultState<R> {
 public:
  template <class Function>
  explicit ThenState(Function&& f) : f_(std::in_place, std::forward<Function>(f)) {}

  void run(futures::Future<Source> source) {
    if (this->begin_running())
      put_outcome(*this, [&]() -> decltype(auto) { return call_with(*f_, std::move(source)); });
    f_.reset();
    this->finish();
  }
  void fail(std::exception_ptr error) {
    if (!this->begin_running()) return;
    this->put_error(std::move(error));
    f_.reset();
    this->finish();
  }

 private:
  std::optional<F> f_;
};

// Calls `run` in the executor, or `refused` with the reason why it never will: an exception, null
// when it was cancelled there. One of them, once.
template <class Executor, class Run, class Refused>
void run_on(Executor& executor, Run run, Refused refused) {
  auto begun = std::make_shared<std::atomic<bool>>(false);
  try {
    auto submitted = executor.submit([begun, run = std::move(run)]() mutable {
      begun->store(true);
      run();
    });
    submitted.add_done_callback([begun, refused](auto ended) mutable {
      if (begun->load()) return;
      if (ended.cancelled()) {
        refused(std::exception_ptr());
      } else if (auto error = ended.exception()) {
        refused(error);
      }
    });
  } catch (...) {
    refused(std::current_exception());
  }
}

struct FutureAccess;

}  // namespace cohort::detail

namespace cohort::futures {

// A handle: copies mean the same result. Any thread may ask; get() of a result that cannot be
// copied gives it away once. Every member but valid() of an empty one throws InvalidStateError.
template <class R>
class Future {
 public:
  Future() = default;
  // For whoever makes calls of a kind of its own; Promise is easier.
  explicit Future(std::shared_ptr<detail::ResultState<R>> state) noexcept
      : state_(std::move(state)) {}

  bool valid() const noexcept { return state_ != nullptr; }

  // Waits for the end and answers the result, or throws what the call threw, as its own type; the
  // process's death as WorkerDied; CancelledError.
  R get() const {
    wait();
    return state().take();
  }
  // Throws TimeoutError when the limit passes first; the call goes on.
  template <class Rep, class Period>
  R get(std::chrono::duration<Rep, Period> limit) const {
    require_within(limit);
    return state().take();
  }
  // Waits for the end; null when the call returned. Throws CancelledError.
  std::exception_ptr exception() const {
    wait();
    return state().error();
  }
  template <class Rep, class Period>
  std::exception_ptr exception(std::chrono::duration<Rep, Period> limit) const {
    require_within(limit);
    return state().error();
  }

  void wait() const { state().wait_until(std::nullopt); }
  // Answers whether it is done; a limit of zero or less asks without waiting.
  template <class Rep, class Period>
  bool wait_for(std::chrono::duration<Rep, Period> limit) const {
    return state().wait_until(detail::deadline_after(limit));
  }
  // Returned, threw or was cancelled.
  bool done() const { return state().done(); }
  bool running() const { return state().running(); }
  // Prevents a call that has not begun, and ends one that has a process of its own (cohort::async).
  // Answers whether it is cancelled now. Callbacks run before it returns.
  bool cancel() const { return state().cancel(); }
  bool cancelled() const { return state().cancelled(); }

  // Calls `f(future)` or `f()` when the call is done, on the thread that completes it, or at once,
  // on this one. What f throws is reported on stderr.
  template <detail::Continuation<R> F>
  void add_done_callback(F f) const {
    // The state must not own itself.
    std::weak_ptr<detail::ResultState<R>> weak = shared();
    auto callback = [weak, kept = std::make_shared<F>(std::move(f))] {
      if (auto strong = weak.lock()) detail::call_with(*kept, Future(std::move(strong)));
    };
    auto held = state_;
    held->add_callback(std::move(callback));
  }

  // The future of `f(future)` or `f()`, called when this one is done, on the thread that completes
  // it, or at once. This one's failure does not skip it: f finds out by get(). Cancelling the new
  // future prevents f.
  template <detail::Continuation<R> F>
  auto then(F&& f) const {
    auto next = make_next(std::forward<F>(f));
    add_done_callback([next](const Future& source) { next->run(source); });
    return as_future(next);
  }
  // f is called in the executor, which must live until then. Where that refuses, its exception is
  // the outcome.
  template <class Executor, detail::Continuation<R> F>
  auto then(Executor& executor, F&& f) const {
    auto next = make_next(std::forward<F>(f));
    add_done_callback([next, &executor](const Future& source) {
      detail::run_on(
          executor, [next, source] { next->run(source); },
          [next](std::exception_ptr why) {
            if (why) {
              next->fail(why);
            } else {
              next->cancel_pending();
            }
          });
    });
    return as_future(next);
  }

  // `co_await future`: get(), resumed on the thread that completes the call.
  auto operator co_await() const {
    shared();
    return Awaiter{*this};
  }
  // `co_await future.on(executor)`: get(), resumed inside the executor. Where that refuses, its
  // exception is thrown, or CancelledError, on the thread that noticed.
  template <class Executor>
  auto on(Executor& executor) const {
    shared();
    return AwaiterOn<Executor>{*this, executor, nullptr};
  }

 private:
  friend struct detail::FutureAccess;

  struct Awaiter {
    Future future;
    bool await_ready() const { return future.done(); }
    void await_suspend(std::coroutine_handle<> suspended) const {
      // Once resumed, this awaiter may be gone.
      auto held = future.state_;
      held->add_callback([suspended] { suspended.resume(); });
    }
    R await_resume() const { return future.get(); }
  };
  template <class Executor>
  struct AwaiterOn {
    Future future;
    Executor& executor;
    std::exception_ptr refused;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> suspended) {
      auto held = future.state_;
      held->add_callback([this, suspended] {
        detail::run_on(
            executor, [suspended] { suspended.resume(); },
            [this, suspended](std::exception_ptr why) {
              refused = why ? why : std::make_exception_ptr(CancelledError());
              suspended.resume();
            });
      });
    }
    R await_resume() const {
      if (refused) std::rethrow_exception(refused);
      return future.get();
    }
  };

  const std::shared_ptr<detail::ResultState<R>>& shared() const {
    if (!state_) throw InvalidStateError("this Future is empty: it was moved from, or never made");
    return state_;
  }
  detail::ResultState<R>& state() const { return *shared(); }

  template <class Limit>
  void require_within(Limit limit) const {
    if (!wait_for(limit)) throw TimeoutError("the result was not there in time; the call goes on");
  }

  template <class F>
  static auto make_next(F&& f) {
    using Function = std::decay_t<F>;
    using Next = std::decay_t<typename detail::ContinuationResult<Function, R>::type>;
    return std::make_shared<detail::ThenState<Next, R, Function>>(std::forward<F>(f));
  }
  template <class Next, class F>
  static Future<Next> as_future(std::shared_ptr<detail::ThenState<Next, R, F>> next) {
    return Future<Next>(std::move(next));
  }

  std::shared_ptr<detail::ResultState<R>> state_;
};

// The other side of a future, for executors of your own and for tests. A handle: copies mean the
// same call. When the last one goes and the call is not done, its future fails with cohort::Error.
template <class R>
class Promise {
 public:
  Promise() : keeper_(std::make_shared<Keeper>()) {}

  Future<R> future() const { return Future<R>(keeper_->state); }

  // To be called before the work is done. Answers false when the future was cancelled: then leave
  // the work. Throws InvalidStateError when the outcome was set before.
  bool set_running() const {
    State& state = *keeper_->state;
    if (state.begin_running()) return true;
    if (!state.cancelled()) throw InvalidStateError(kSetBefore);
    return false;
  }
  // Set the outcome; callbacks run before they return. Throw InvalidStateError when it was set
  // before, or the future is cancelled; then nothing changes.
  template <class... Value>
  requires std::constructible_from<detail::StoredResult<R>, Value...> &&
      (!std::is_void_v<R> || sizeof...(Value) == 0) void set_value(Value&&... value) const {
    if constexpr (std::is_void_v<R>) {
      set([](State& state) { state.put_value(true); });
    } else {
      set([&](State& state) { state.put_value(std::forward<Value>(value)...); });
    }
  }
  void set_exception(std::exception_ptr error) const {
    set([&](State& state) { state.put_error(std::move(error)); });
  }
  template <class E>
  requires std::derived_from<std::decay_t<E>, std::exception>
  void set_exception(E&& error) const {
    set_exception(std::make_exception_ptr(std::forward<E>(error)));
  }

 private:
  static constexpr const char* kSetBefore = "the outcome of this call was set before";

  class State final : public detail::ResultState<R> {
   public:
    std::atomic<bool> claimed{false};

   private:
    bool tells_cancelled() const noexcept override { return true; }
  };
  struct Keeper {
    std::shared_ptr<State> state = std::make_shared<State>();
    ~Keeper() {
      if (!state->begin_running() || state->claimed.exchange(true)) return;
      state->put_error(std::make_exception_ptr(
          Error("the promise of this call was dropped before its outcome was set")));
      state->finish();
    }
  };

  template <class Put>
  void set(Put&& put) const {
    // Kept: whoever hears of the outcome may drop the promise before this returns.
    auto kept = keeper_->state;
    State& state = *kept;
    if (!set_running()) throw InvalidStateError("the call was cancelled: it has no outcome to set");
    if (state.claimed.exchange(true)) throw InvalidStateError(kSetBefore);
    try {
      put(state);
    } catch (...) {
      state.claimed.store(false);
      throw;
    }
    state.finish();
  }

  std::shared_ptr<Keeper> keeper_;
};

}  // namespace cohort::futures

namespace cohort::detail {

// For the waiting functions.
struct FutureAccess {
  template <class R>
  static const std::shared_ptr<ResultState<R>>& state(const futures::Future<R>& future) {
    return future.shared();
  }
};

}  // namespace cohort::detail
