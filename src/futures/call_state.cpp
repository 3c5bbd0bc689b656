#include "cohort/detail/call_state.hpp"

#include <algorithm>
#include <iterator>

#include "launch/exception_parcel.hpp"
#include "os/futex.hpp"

namespace cohort::detail {
namespace {

const std::atomic<std::uint32_t>& word_of(const std::atomic<CallState::Phase>& phase) {
  static_assert(sizeof(phase) == sizeof(std::atomic<std::uint32_t>));
  return reinterpret_cast<const std::atomic<std::uint32_t>&>(phase);
}

}  // namespace

void run_callback(const std::function<void()>& callback) noexcept {
  try {
    callback();
  } catch (...) {
    launch::report_uncaught("Callback of", "a future");
  }
}

CallState::~CallState() = default;

bool CallState::begin_running() noexcept {
  Phase seen = Phase::pending;
  if (phase_.compare_exchange_strong(seen, Phase::running, std::memory_order_acq_rel)) return true;
  if (seen == Phase::cancelled) cancellation_seen();
  return seen == Phase::running;
}

bool CallState::finish() { return end(Phase::finished, true); }
bool CallState::cancel_pending() { return end(Phase::cancelled, false); }
bool CallState::cancel_running() { return end(Phase::cancelled, true); }

bool CallState::end(Phase how, bool from_running) {
  Phase seen = Phase::pending;
  while (!phase_.compare_exchange_weak(seen, how, std::memory_order_seq_cst)) {
    if (seen >= Phase::cancelled || (seen == Phase::running && !from_running)) return false;
  }
  if (has_sleepers_.load(std::memory_order_seq_cst)) os::futex_wake_all(word_of(phase_));
  std::vector<Callback> due;
  {
    std::lock_guard guard(callbacks_mutex_);
    due.swap(callbacks_);
    if (cancellation_unseen()) {
      auto kept = std::stable_partition(due.begin(), due.end(),
                                        [](const Callback& one) { return one.watcher == nullptr; });
      std::move(kept, due.end(), std::back_inserter(callbacks_));
      due.erase(kept, due.end());
    }
  }
  run_all(due);
  return true;
}

void CallState::cancellation_seen() noexcept {
  std::vector<Callback> watchers;
  {
    std::lock_guard guard(callbacks_mutex_);
    if (cancellation_seen_.exchange(true, std::memory_order_acq_rel)) return;
    // Whoever cancels may not have come to its callbacks yet: these stay for it.
    auto others = std::stable_partition(callbacks_.begin(), callbacks_.end(),
                                        [](const Callback& one) { return one.watcher != nullptr; });
    std::move(callbacks_.begin(), others, std::back_inserter(watchers));
    callbacks_.erase(callbacks_.begin(), others);
  }
  run_all(watchers);
}

void CallState::run_all(const std::vector<Callback>& callbacks) noexcept {
  if (!callbacks.empty()) callbacks_due();
  for (const Callback& callback : callbacks)
    callback.watcher ? run_callback(callback.run) : post_callback(callback.run);
}

void CallState::add_callback(std::function<void()> callback) {
  add({std::move(callback), nullptr}, &CallState::ended_now);
}

void CallState::add_watcher(const void* watcher, std::function<void()> callback) {
  add({std::move(callback), watcher}, &CallState::settled_now);
}

void CallState::remove_watcher(const void* watcher) {
  std::vector<Callback> removed;  // outlives the guard
  std::lock_guard guard(callbacks_mutex_);
  auto others = std::stable_partition(callbacks_.begin(), callbacks_.end(),
                                      [&](const Callback& one) { return one.watcher == watcher; });
  std::move(callbacks_.begin(), others, std::back_inserter(removed));
  callbacks_.erase(callbacks_.begin(), others);
}

void CallState::add(Callback callback, bool (CallState::*due)() const) {
  {
    std::lock_guard guard(callbacks_mutex_);
    // Whoever ends the call takes the callbacks after it has changed the phase.
    if (!(this->*due)()) {
      callbacks_.push_back(std::move(callback));
      callback.run = nullptr;
    }
  }
  if (callback.run) {
    run_callback(callback.run);
  } else {
    callback_wanted();
  }
}

bool CallState::await_end(CallDeadline deadline) { return sleep_until_ended(deadline); }

bool CallState::sleep_until_ended(CallDeadline deadline) {
  for (;;) {
    has_sleepers_.store(true, std::memory_order_seq_cst);
    Phase seen = phase_.load(std::memory_order_seq_cst);
    if (seen >= Phase::cancelled) return true;
    if (deadline && os::Clock::now() >= *deadline) return false;
    os::futex_wait(word_of(phase_), static_cast<std::uint32_t>(seen), deadline);
  }
}

}  // namespace cohort::detail
