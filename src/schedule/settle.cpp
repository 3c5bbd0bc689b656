// What becomes of tasks: results taken from workers, alive or dead.
#include <bit>
#include <cstring>
#include <utility>

#include "cohort/detail/remote_exception.hpp"
#include "cohort/detail/task_run.hpp"
#include "schedule/scheduler.hpp"
#include "schedule/task_queue.hpp"

namespace cohort::schedule {

void Scheduler::collect(Lock&) {
  for (std::uint32_t word = 0; word < cells_.head().tasks / 64; ++word) {
    auto& ended = cells_.ended(word);
    if (ended.load(std::memory_order_relaxed) == 0) continue;
    std::uint64_t bits = ended.exchange(0, std::memory_order_acquire);
    for (; bits != 0; bits &= bits - 1)
      settle_done(word * 64 + static_cast<std::uint32_t>(std::countr_zero(bits)));
  }
}

void Scheduler::settle_done(std::uint32_t index) {
  TaskCell& task = cells_.task(index);
  TaskState state{task.state.load(std::memory_order_acquire)};
  if (state.status() != Status::done) return;  // settled already, when its worker died
  Out& out = out_[index];
  take_results(index, out.count);
  out.job->batches.measured(out.count, task.nanoseconds.load(std::memory_order_relaxed));
  set_free(index);
}

// The outcomes of the task's first `items` items, which its worker has finished.
void Scheduler::take_results(std::uint32_t index, std::uint64_t items) {
  TaskCell& task = cells_.task(index);
  TaskState state{task.state.load(std::memory_order_acquire)};
  Out& out = out_[index];
  Job& job = *out.job;
  job.settled += items;
  Offset block = task.result_block.load(std::memory_order_acquire);
  std::uint64_t bytes = task.result_bytes.load(std::memory_order_acquire);
  arena::MemberId worker{cells_.worker(state.worker()).member.load(std::memory_order_relaxed)};
  if (block) {
    space_.heap().change_owner(block, arena::Owner::member(worker),
                               arena::Owner::member(space_.self()));
  }
  if (bytes == 0 || items == 0) {
    if (block) space_.release(block);
    return;
  }
  ResultChunk& chunk = job.chunks.emplace_back();
  chunk.first = out.first;
  chunk.items = items;
  chunk.bytes = bytes;
  chunk.block = block;
  if (!block) chunk.small = task.inline_results;
  if (task.result_references.load(std::memory_order_relaxed) == 0) return;
  // While the worker holds these blocks still.
  const std::byte* start = block ? space_.at(block) : task.inline_results.data();
  for (const std::byte *at = start, *end = start + bytes; at < end;) {
    ResultRecord record;
    std::memcpy(&record, at, sizeof record);
    at += sizeof record;
    const std::byte* place = at + ResultRecord::padded(record.bytes);
    for (std::uint32_t i = 0; i < record.references; ++i, place += sizeof(Offset)) {
      Offset one = 0;
      std::memcpy(&one, place, sizeof one);
      chunk.handles.push_back(detail::BlockRef::adopt(one));
    }
    at += record.whole();
  }
}

void Scheduler::set_free(std::uint32_t index) {
  Out out = std::exchange(out_[index], {});
  TaskState state{cells_.task(index).state.load(std::memory_order_relaxed)};
  cells_.task(index).state.store(TaskState::of(state.generation() + 1, Status::free).raw,
                                 std::memory_order_release);
  if (out.arguments) space_.release(out.arguments);
  unused_.push_back(index);
  --out.job->in_flight;
  announce(*out.job);
  for (Job* job : active_) {
    if (std::exchange(job->starved, false)) announce(*job);
  }
}

void Scheduler::settle(std::uint32_t index, const WorkerDeath& death) {
  Lock lock(mutex_);
  SchedulerCell& head = cells_.head();
  take_from(head.searching, index);
  take_from(head.sleeping, index);
  for (std::uint32_t i = 0; i < out_.size(); ++i) {
    if (!out_[i].job) continue;
    TaskState state{cells_.task(i).state.load(std::memory_order_acquire)};
    if (!state.of_worker(index)) continue;
    if (state.status() == Status::done) {
      settle_done(i);
    } else {
      settle_claimed(i, death);
    }
  }
  // Whoever it was woken for, or was about to wake.
  if (anything_queued(cells_)) wake_workers(cells_, UINT64_MAX);
}

// Finished items keep their results; the one that was running is lost or run again; those behind it
// were never begun.
void Scheduler::settle_claimed(std::uint32_t index, const WorkerDeath& death) {
  TaskCell& task = cells_.task(index);
  Out& out = out_[index];
  Job& job = *out.job;
  std::uint64_t progress = task.progress.load(std::memory_order_acquire);
  std::uint64_t passed = progress / 2;
  bool running = progress % 2 != 0;
  take_results(index, passed);
  if (running) {
    std::uint64_t item = out.first + passed;
    if (!job.try_again(item)) {
      if (!job.first_death || item < job.first_death->item) job.first_death = {item, death};
      ++job.settled;
      ++passed;
    }
  }
  if (passed == out.count || job.over) {
    set_free(index);
    return;
  }
  auto done = static_cast<std::uint32_t>(passed);
  out.first += done;
  out.count -= done;
  task.count = out.count;
  task.skip += done;
  task.items = job.items_from(out.first);
  task.results = job.results_from(out.first);
  task.progress.store(0, std::memory_order_relaxed);
  task.result_block.store(0, std::memory_order_relaxed);
  task.result_bytes.store(0, std::memory_order_relaxed);
  task.result_references.store(0, std::memory_order_relaxed);
  TaskState state{task.state.load(std::memory_order_relaxed)};
  std::uint32_t generation = state.generation() + 1;
  task.state.store(TaskState::of(generation, Status::pending).raw, std::memory_order_release);
  append(cells_, Ticket::of(index, generation));
  announce(job);
}

std::exception_ptr Scheduler::initializer_error(std::uint32_t index) {
  WorkerSlot& slot = cells_.worker(index);
  if (slot.stage.load(std::memory_order_acquire) != Stage::initializer_threw) return nullptr;
  detail::TaskReader reader({space_.at(slot.error.load(std::memory_order_acquire)),
                             static_cast<std::size_t>(slot.error_bytes.load())});
  return detail::decode_exception(reader);
}

}  // namespace cohort::schedule
