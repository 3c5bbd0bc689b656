// What the handles of one call (Future, AsyncResult) share with whoever runs it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "cohort/error.hpp"

namespace cohort::detail {

// Runs a callback of the user's; what it throws is reported on stderr.
void run_callback(const std::function<void()>& callback) noexcept;

using CallDeadline = std::optional<std::chrono::steady_clock::time_point>;

// pending -> running -> finished, pending -> cancelled, and with a source that can end a running
// call running -> cancelled. Any thread may call any public member.
class CallState {
 public:
  enum class Phase : std::uint32_t { pending, running, cancelled, finished };

  CallState() = default;
  virtual ~CallState();
  CallState(const CallState&) = delete;
  CallState& operator=(const CallState&) = delete;

  // As far as is known: a source that collects may be asked first (see poll).
  Phase phase() const noexcept { return phase_.load(std::memory_order_acquire); }
  bool done() {
    if (!ended()) poll();
    return ended();
  }
  bool running() {
    if (!ended()) poll();
    return phase() == Phase::running;
  }
  bool cancelled() const noexcept { return phase() == Phase::cancelled; }

  // Waits for the end; answers false when the deadline passed before.
  bool wait_until(CallDeadline deadline) { return ended() || await_end(deadline); }
  // Answers whether the call is cancelled now (also when it was before). Callbacks run.
  virtual bool cancel() { return cancel_pending() || cancelled(); }
  // Runs when the call is done, on the thread that completes it, or at once. What it throws is
  // reported on stderr.
  void add_callback(std::function<void()> callback);

  // Done, and where it was cancelled and tells_cancelled(), seen to be so by whoever runs calls.
  bool settled() { return done() && !cancellation_unseen(); }
  // As add_callback, when it is settled, and until `watcher` is removed again: one that runs at
  // that moment may still do so.
  void add_watcher(const void* watcher, std::function<void()> callback);
  void remove_watcher(const void* watcher);

  // ---- for whoever runs the call
  // Answers false when it was cancelled before: then it must not run, and is settled from now on.
  bool begin_running() noexcept;
  // Each answers false when the call is done already.
  bool finish();          // the outcome is in place, or deliver() will put it there
  bool cancel_pending();  // from pending only
  bool cancel_running();  // from pending or running
  // Sleeps until somebody ends the call. Answers false when the deadline passed before.
  bool wait_for_phase(CallDeadline deadline) { return sleep_until_ended(deadline); }

 protected:
  bool ended() const noexcept { return phase() >= Phase::cancelled; }
  // A source whose waiters do its work overrides these three.
  virtual bool await_end(CallDeadline deadline);
  virtual void poll() {}
  virtual void callback_wanted() {}  // somebody has to complete the call though nobody waits for it

  // Whether begin_running() is called for every call, a cancelled one too.
  virtual bool tells_cancelled() const noexcept { return false; }
  // Where the callbacks of the user's run; watchers run on the completing thread anyhow.
  virtual void post_callback(std::function<void()> callback) { run_callback(callback); }
  // Callbacks are about to run on this thread, and may take their time.
  virtual void callbacks_due() noexcept {}

  // Sleeps until the phase is an end.
  bool sleep_until_ended(CallDeadline deadline);

 private:
  struct Callback {
    std::function<void()> run;
    const void* watcher = nullptr;
  };
  bool end(Phase how, bool from_running);
  void cancellation_seen() noexcept;
  bool cancellation_unseen() const noexcept {
    return cancelled() && tells_cancelled() && !cancellation_seen_.load(std::memory_order_acquire);
  }
  void run_all(const std::vector<Callback>& callbacks) noexcept;
  void add(Callback callback, bool (CallState::*due)() const);
  bool ended_now() const { return ended(); }
  bool settled_now() const { return ended() && !cancellation_unseen(); }

  std::atomic<Phase> phase_{Phase::pending};
  std::atomic<bool> has_sleepers_{false};
  std::atomic<bool> cancellation_seen_{false};
  std::mutex callbacks_mutex_;
  std::vector<Callback> callbacks_;
};

template <class R>
using StoredResult = std::conditional_t<std::is_void_v<R>, bool, R>;

// With the outcome.
template <class R>
class ResultState : public CallState {
 public:
  // For whoever runs the call, once, before finish().
  template <class... Value>
  void put_value(Value&&... value) {
    value_.emplace(std::forward<Value>(value)...);
    delivered_ = true;
  }
  void put_error(std::exception_ptr error) {
    error_ = std::move(error);
    delivered_ = true;
  }

  // Of a call that is done; null when it returned. Throws CancelledError.
  std::exception_ptr error() {
    if (cancelled()) throw CancelledError();
    std::lock_guard guard(mutex_);
    settle();
    return error_;
  }
  // For whoever runs the call, before finish(): visit(value) when there is a value; answers the
  // error, else null.
  template <class Visit>
  std::exception_ptr look(Visit&& visit) {
    std::lock_guard guard(mutex_);
    settle();
    if (!error_) visit(*value_);
    return error_;
  }
  // Of a call that is done: what it returned; or throws what it threw, or CancelledError. What
  // cannot be copied is given away once.
  R take() {
    if (cancelled()) throw CancelledError();
    std::lock_guard guard(mutex_);
    settle();
    if (error_) std::rethrow_exception(error_);
    if constexpr (!std::is_void_v<R>) {
      if constexpr (std::is_copy_constructible_v<R>) {
        return *value_;
      } else {
        if (!value_)
          throw InvalidStateError("this result cannot be copied, and it was taken before");
        R taken = std::move(*value_);
        value_.reset();
        return taken;
      }
    }
  }

 protected:
  // Puts the outcome in place where finish() came before; called once, what it throws is the
  // outcome.
  virtual void deliver() {}

 private:
  void settle() {
    if (delivered_) return;
    try {
      deliver();
    } catch (...) {
      error_ = std::current_exception();
    }
    delivered_ = true;
  }

  std::mutex mutex_;
  std::optional<StoredResult<R>> value_;
  std::exception_ptr error_;
  bool delivered_ = false;
};

}  // namespace cohort::detail
