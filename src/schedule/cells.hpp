// What the owner of a scheduler and its workers share: plain cells in one block of the arena.
//
// The life of a task cell is in its state word, {generation, status, worker}:
//   free -> filling      owner, privately
//   filling -> pending   owner; the task is named in the queue, with its generation
//   pending -> claimed   one worker, by one compare-and-swap: that is the whole claim
//   claimed -> done      that worker, by one compare-and-swap
//   claimed -> condemned owner, who then kills that worker: it never gets past this task
//   claimed, condemned -> pending
//                        owner, after that worker's death: what is left of it, as a new generation
//   done -> free         owner, when it has taken the results; a new generation
// So a kill between any two instructions leaves a state that the owner can settle from the word.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "arena/owner.hpp"
#include "cohort/detail/target.hpp"
#include "schedule/crash_report.hpp"
#include "sync/doorbell.hpp"

namespace cohort::schedule {

using arena::Offset;

enum class Status : std::uint64_t { free, filling, pending, claimed, condemned, done };

struct TaskState {
  std::uint64_t raw = 0;

  static constexpr std::uint32_t kNobody = 0xffff;
  static constexpr TaskState of(std::uint32_t generation, Status status,
                                std::uint32_t worker = kNobody) {
    return {(std::uint64_t{generation} << 32) | (static_cast<std::uint64_t>(status) << 16) |
            worker};
  }
  constexpr std::uint32_t generation() const { return static_cast<std::uint32_t>(raw >> 32); }
  constexpr Status status() const { return static_cast<Status>((raw >> 16) & 0xffff); }
  constexpr std::uint32_t worker() const { return static_cast<std::uint32_t>(raw & 0xffff); }
  constexpr bool of_worker(std::uint32_t index) const {
    return status() >= Status::claimed && worker() == index;
  }
};

// An entry of the queue: which task, in which generation.
struct Ticket {
  std::uint64_t raw = 0;

  static constexpr Ticket of(std::uint32_t task, std::uint32_t generation) {
    return {(std::uint64_t{generation} << 32) | task};
  }
  constexpr std::uint32_t task() const { return static_cast<std::uint32_t>(raw); }
  constexpr std::uint32_t generation() const { return static_cast<std::uint32_t>(raw >> 32); }
};

inline constexpr std::size_t kInlineBytes = 128;

struct alignas(64) TaskCell {
  std::atomic<std::uint64_t> state;
  detail::CodeReference thunk;
  Offset callable;   // encoded; 0: none
  Offset arguments;  // encoded items; 0: in inline_arguments
  Offset items;      // or an array of trivially copyable ones, from the first of this task on
  std::uint32_t callable_bytes;
  std::uint32_t count;  // of items to run

  alignas(64) Offset results;  // an array for trivially copyable results; 0: they are encoded
  std::uint64_t argument_bytes;
  std::uint64_t skip;  // encoded items before the first one to run

  // Written by the worker.
  std::atomic<std::uint64_t> progress;           // see detail::TaskRun
  std::atomic<std::uint64_t> result_block;       // records; 0: in inline_results
  std::atomic<std::uint64_t> result_bytes;       // of whole records
  std::atomic<std::uint64_t> result_references;  // in all records

  // Set by the owner: the longest time for an item; 0: none. The soft one is the task's to see.
  std::uint64_t time_limit;  // ns
  std::uint64_t soft_limit;  // ns

  std::atomic<std::int64_t>
      started;  // of the running item where there is a limit, else of the task
  std::atomic<std::uint64_t> nanoseconds;
  std::atomic<std::uint64_t> failed;   // items that threw
  std::atomic<std::uint32_t> no_room;  // 1: not even an error could be stored for the running item

  alignas(64) std::array<std::byte, kInlineBytes> inline_arguments;
  alignas(64) std::array<std::byte, kInlineBytes> inline_results;
};

// Before each encoded result; its bytes follow, then the blocks that handles in it refer to.
struct ResultRecord {
  enum class Kind : std::uint32_t { value, error };
  std::uint64_t item;  // counted from the task's first
  std::uint64_t bytes;
  Kind kind;
  std::uint32_t references;

  std::uint64_t whole() const { return padded(bytes) + references * sizeof(Offset); }
  static std::uint64_t padded(std::uint64_t n) { return (n + 7) / 8 * 8; }
};

enum class Stage : std::uint32_t {
  starting,
  working,
  initializer_threw,
  retired,  // has run as many items as it may, and left
};

struct alignas(64) WorkerSlot {
  std::atomic<std::uint32_t> bell;  // futex: rung to wake this worker
  std::atomic<Stage> stage;
  std::atomic<std::uint32_t> member;  // who works here; said by the worker before it takes a task
  std::atomic<std::int32_t> pid;
  // The initializer's exception, encoded, in a block of the worker's.
  std::atomic<std::uint64_t> error;
  std::atomic<std::uint64_t> error_bytes;
  alignas(64) std::atomic<std::uint64_t> items;
  std::atomic<std::uint64_t> busy_nanoseconds;
  // Of this worker's done ring: positions before it are written. The owner knows how many it took.
  alignas(64) std::atomic<std::uint64_t> ended;
  CrashReport crash;
};

inline constexpr std::uint32_t kMostWorkers = 512;
using WorkerSet = std::array<std::atomic<std::uint64_t>, kMostWorkers / 64>;

struct SchedulerCell {
  std::uint32_t workers;
  std::uint32_t tasks;                 // a power of two
  std::uint32_t queue_capacity;        // a power of two
  std::atomic<std::uint32_t> closing;  // 1: workers leave when the queue is empty
  std::uint64_t most_items;            // that a worker runs before it leaves; 0: any number
  detail::CodeReference initializer;   // thunk of a Target
  Offset initializer_data;             // 0: no initializer
  std::uint64_t initializer_bytes;

  alignas(64) std::atomic<std::uint64_t> tail;  // owner only
  alignas(64) std::atomic<std::uint64_t> head;  // helped forward by everybody
  // Workers that look for work now, and those that sleep. Sets, not counts: a dead worker's bit can
  // be cleared.
  alignas(64) WorkerSet searching;
  alignas(64) WorkerSet sleeping;
  alignas(64) sync::Doorbell owner_bell;
};

// Finds the cells in a scheduler's block.
class Layout {
 public:
  Layout() = default;
  explicit Layout(std::byte* start) : start_(start) {}

  static std::size_t bytes(std::uint32_t workers, std::uint32_t tasks, std::uint32_t queue) {
    return sizeof(SchedulerCell) + workers * sizeof(WorkerSlot) + tasks * sizeof(TaskCell) +
           (queue + std::size_t{workers} * tasks) * sizeof(std::uint64_t) + 4 * 64;
  }

  SchedulerCell& head() const { return *reinterpret_cast<SchedulerCell*>(start_); }
  TaskCell& task(std::uint32_t index) const {
    return reinterpret_cast<TaskCell*>(start_ + aligned(sizeof(SchedulerCell)))[index];
  }
  WorkerSlot& worker(std::uint32_t index) const {
    return reinterpret_cast<WorkerSlot*>(&task(head().tasks))[index];
  }
  std::atomic<std::uint64_t>& queue(std::uint64_t position) const {
    return queues()[position & (head().queue_capacity - 1)];
  }
  // A worker's done ring: tasks that it ended, told after their state. A task that the owner learnt
  // of otherwise may be named once more, which is harmless. It has room for every task, so it is
  // never full.
  std::atomic<std::uint64_t>& done(std::uint32_t index, std::uint64_t position) const {
    return queues()[head().queue_capacity + std::size_t{index} * head().tasks +
                    (position & (head().tasks - 1))];
  }

 private:
  static constexpr std::size_t aligned(std::size_t bytes) { return (bytes + 63) / 64 * 64; }
  std::atomic<std::uint64_t>* queues() const {
    return reinterpret_cast<std::atomic<std::uint64_t>*>(&worker(head().workers));
  }
  std::byte* start_ = nullptr;
};

inline void put_in(WorkerSet& set, std::uint32_t worker) {
  set[worker / 64].fetch_or(std::uint64_t{1} << (worker % 64), std::memory_order_seq_cst);
}
// Answers whether it was in.
inline bool take_from(WorkerSet& set, std::uint32_t worker) {
  std::uint64_t bit = std::uint64_t{1} << (worker % 64);
  return (set[worker / 64].fetch_and(~bit, std::memory_order_seq_cst) & bit) != 0;
}

}  // namespace cohort::schedule
