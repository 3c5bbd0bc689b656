// The result of a call in a process of its own, for its futures.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <utility>

#include "cohort/detail/call_state.hpp"
#include "cohort/detail/remote_call.hpp"
#include "cohort/serialize.hpp"

namespace cohort::detail {

// Runs `watch` in a thread that the end of this process waits for.
void watch_in_thread(std::function<void()> watch);

// Whoever waits collects the result; where nobody may, because a callback wants it, a thread does.
template <class R>
class RemoteResult final : public ResultState<R>,
                           public std::enable_shared_from_this<RemoteResult<R>> {
 public:
  explicit RemoteResult(std::shared_ptr<RemoteCall> call) : call_(std::move(call)) {
    this->begin_running();
  }

  // Ends the process.
  bool cancel() override {
    call_->cancel();
    note_end();
    return this->cancelled();
  }

 private:
  bool await_end(CallDeadline deadline) override {
    if (!call_->wait_until(deadline)) return false;
    note_end();
    return true;
  }
  void poll() override { await_end(std::chrono::steady_clock::time_point()); }
  void callback_wanted() override {
    if (this->done() || watched_.exchange(true)) return;
    watch_in_thread([self = this->shared_from_this()] { self->await_end(std::nullopt); });
  }
  void deliver() override {
    if (auto error = call_->error()) std::rethrow_exception(error);
    if constexpr (std::is_void_v<R>) {
      this->put_value(true);
    } else {
      call_->read_once([&](Reader& reader) { this->put_value(decode<R>(reader)); });
    }
  }

  void note_end() {
    if (call_->cancelled()) {
      this->cancel_running();
    } else {
      this->finish();
    }
  }

  std::shared_ptr<RemoteCall> call_;
  std::atomic<bool> watched_{false};
};

}  // namespace cohort::detail
