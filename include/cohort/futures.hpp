// The result of a call that runs elsewhere.
#pragma once

#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "cohort/detail/remote_call.hpp"
#include "cohort/error.hpp"
#include "cohort/serialize.hpp"

namespace cohort::futures {

// A handle: copies mean the same result. Any thread may ask; get() of a result that cannot be
// copied gives it away once.
template <class R>
class Future {
 public:
  Future() = default;
  explicit Future(std::shared_ptr<detail::RemoteCall> call)
      : state_(std::make_shared<State>(std::move(call))) {}

  bool valid() const noexcept { return state_ != nullptr; }

  // Waits for the end and answers the result, or throws what the call threw, as its own type; the
  // process's death as WorkerDied; CancelledError.
  R get() {
    wait();
    return take();
  }
  // Throws TimeoutError when the limit passes first; the call goes on.
  template <class Rep, class Period>
  R get(std::chrono::duration<Rep, Period> limit) {
    if (!wait_for(limit)) throw TimeoutError("the result was not there in time; the call goes on");
    return take();
  }
  // Waits for the end; null when the call returned. Throws CancelledError.
  std::exception_ptr exception() {
    wait();
    if (cancelled()) throw CancelledError();
    return state().call->error();
  }

  void wait() const { state().call->wait_until(std::nullopt); }
  template <class Rep, class Period>
  bool wait_for(std::chrono::duration<Rep, Period> limit) const {
    return state().call->wait_until(std::chrono::steady_clock::now() +
                                    std::chrono::duration_cast<std::chrono::nanoseconds>(limit));
  }
  bool done() const { return state().call->wait_until(std::chrono::steady_clock::time_point()); }
  bool running() const { return !done(); }
  // Ends a call that has not ended, and its process; answers whether it was in time.
  bool cancel() { return state().call->cancel(); }
  bool cancelled() const { return state().call->cancelled(); }

 private:
  struct State {
    explicit State(std::shared_ptr<detail::RemoteCall> started) : call(std::move(started)) {}
    std::shared_ptr<detail::RemoteCall> call;
    std::optional<std::conditional_t<std::is_void_v<R>, bool, R>> result;
  };

  State& state() const {
    if (!state_) throw InvalidStateError("this Future is empty: it was moved from, or never made");
    return *state_;
  }

  R take() {
    State& now = state();
    if (now.call->cancelled()) throw CancelledError();
    if (auto error = now.call->error()) std::rethrow_exception(error);
    if constexpr (!std::is_void_v<R>) {
      auto guard = now.call->lock();
      if (!now.result) {
        now.call->read_once(
            [&](detail::Reader& reader) { now.result.emplace(detail::decode<R>(reader)); });
      }
      if constexpr (std::is_copy_constructible_v<R>) {
        return *now.result;
      } else {
        return std::move(*now.result);
      }
    }
  }

  std::shared_ptr<State> state_;
};

}  // namespace cohort::futures
