// A worker's view of one task: a run of items, their arguments, and where the outcomes go.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <span>

#include "cohort/detail/memory_io.hpp"

namespace cohort::detail {

// For data whose blocks the sender holds until it was read.
class TaskReader final : public Reader {
 public:
  using Reader::Reader;
  void adopt(std::uint64_t) override {}
};

// Calls function(argument); notes the stack of an exception that leaves it (src/launch).
void run_traced(void (*function)(void*), void* argument);

// Items run one after the other. What is finished outlives a kill; the item that was running when
// the worker died is known by `progress`.
class TaskRun {
 public:
  TaskRun(const TaskRun&) = delete;
  TaskRun& operator=(const TaskRun&) = delete;

  std::size_t count() const noexcept { return count_; }
  // The encoded callable, where it is not part of each item.
  std::span<const std::byte> callable() const noexcept { return callable_; }
  // Trivially copyable items and results: arrays in shared memory. Null when they are encoded.
  const std::byte* items() const noexcept { return items_; }
  std::byte* results() const noexcept { return results_; }
  // The next encoded item; to be called once for each, in order.
  std::span<const std::byte> take_item() {
    std::uint64_t size = 0;
    arguments_.read(&size, sizeof size);
    return arguments_.view(static_cast<std::size_t>(size));
  }

  // Calls body(i) for each item; its exception is that item's outcome.
  template <class Body>
  void for_each_item(Body&& body) {
    std::size_t i = 0;
    begun_ = true;
    auto rest = [&] {
      for (; i < count_; ++i) {
        if (started_) note_start();
        progress_.store(2 * i + 1, std::memory_order_relaxed);
        // Processes die between instructions: it is enough that the compiler keeps the order.
        std::atomic_signal_fence(std::memory_order_seq_cst);
        body(i);
        progress_.store(2 * i + 2, std::memory_order_release);
      }
    };
    while (i < count_) {
      try {
        run_traced([](void* p) { (*static_cast<decltype(rest)*>(p))(); }, &rest);
      } catch (...) {
        fail(i, std::current_exception());
        progress_.store(2 * i + 2, std::memory_order_release);
        ++i;
      }
    }
  }

  bool begun() const noexcept { return begun_; }

  // Where to encode the result of item `i`; then close_result().
  virtual Writer& open_result(std::size_t i) = 0;
  virtual void close_result() = 0;
  // Also for an item whose result is open: that is dropped.
  virtual void fail(std::size_t i, const std::exception_ptr& error) = 0;

 protected:
  TaskRun(std::size_t count, std::atomic<std::uint64_t>& progress,
          std::span<const std::byte> callable, std::span<const std::byte> arguments,
          const std::byte* items, std::byte* results)
      : progress_(progress),
        count_(count),
        callable_(callable),
        arguments_(arguments),
        items_(items),
        results_(results) {}
  ~TaskRun() = default;

  // Items have a time limit: the start of each is noted here, in ns of the steady clock.
  void time_items(std::atomic<std::int64_t>& started) { started_ = &started; }

 private:
  void note_start() {
    auto now = std::chrono::steady_clock::now().time_since_epoch();
    started_->store(std::chrono::nanoseconds(now).count(), std::memory_order_release);
  }

  std::atomic<std::uint64_t>& progress_;  // 2 i + 1: item i runs; 2 i: all before i are finished
  std::size_t count_;
  std::span<const std::byte> callable_;
  TaskReader arguments_;
  const std::byte* items_;
  std::byte* results_;
  std::atomic<std::int64_t>* started_ = nullptr;
  bool begun_ = false;
};

using TaskThunk = void (*)(TaskRun&);

}  // namespace cohort::detail
