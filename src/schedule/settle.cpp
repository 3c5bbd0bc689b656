// What becomes of tasks: results taken from workers, alive or dead.
#include <algorithm>
#include <cstring>
#include <utility>

#include "cohort/detail/remote_exception.hpp"
#include "cohort/detail/task_run.hpp"
#include "schedule/scheduler.hpp"
#include "schedule/task_queue.hpp"
#include "schedule/trace.hpp"

namespace cohort::schedule {

using namespace std::chrono_literals;

namespace {

// How often tasks with a limit are looked at.
constexpr auto kLongestLook = 50ms;
constexpr auto kShortestLook = 1ms;
// A call whose callable could not even be read so many times in a row, as its worker died, fails.
constexpr unsigned kMostUnread = 3;

}  // namespace

// A single call has one task; of others all are looked through.
template <class Visit>
void Scheduler::for_each_task(const Job& job, Visit&& visit) {
  if (job.in_flight == 0) return;
  if (job.shape.count == 1) {
    visit(job.last_task);
    return;
  }
  for (std::uint32_t index = 0; index < out_.size(); ++index) {
    if (out_[index].job.get() == &job) visit(index);
  }
}

bool Scheduler::begun(const Job& job) {
  bool answer = job.settled != 0;
  for_each_task(job, [&](std::uint32_t index) {
    TaskState state{cells_.task(index).state.load(std::memory_order_acquire)};
    answer = answer || state.status() >= Status::claimed;
  });
  return answer;
}

void Scheduler::revoke(const Job& job) {
  for_each_task(job, [&](std::uint32_t index) { revoke_task(index); });
}

bool Scheduler::revoke_task(std::uint32_t index) {
  auto& word = cells_.task(index).state;
  TaskState seen{word.load(std::memory_order_acquire)};
  if (seen.status() != Status::pending) return false;
  auto taken_back = TaskState::of(seen.generation(), Status::filling).raw;
  if (!word.compare_exchange_strong(seen.raw, taken_back)) return false;
  set_free(index);
  return true;
}

bool Scheduler::condemn(std::uint32_t index, Verdict verdict) {
  auto& word = cells_.task(index).state;
  TaskState seen{word.load(std::memory_order_acquire)};
  if (seen.status() != Status::claimed) return false;
  auto condemned = TaskState::of(seen.generation(), Status::condemned, seen.worker()).raw;
  if (!word.compare_exchange_strong(seen.raw, condemned)) return false;
  out_[index].verdict = verdict;
  out_[index].condemned = os::Clock::now();
  if (watch_.kill) watch_.kill(seen.worker(), {cells_.worker(seen.worker()).member.load()});
  return true;
}

void Scheduler::condemn_all(const Job& job, Verdict verdict) {
  for_each_task(job, [&](std::uint32_t index) { condemn(index, verdict); });
}

os::Deadline Scheduler::end_overdue() {
  Lock lock(mutex_);
  if (timed_ == 0) return std::nullopt;
  auto now = os::Clock::now();
  auto next = now + kLongestLook;
  for (std::uint32_t index = 0; index < out_.size(); ++index) {
    if (!out_[index].timed) continue;
    const TaskCell& task = cells_.task(index);
    TaskState state{task.state.load(std::memory_order_acquire)};
    std::chrono::nanoseconds limit(task.time_limit);
    std::chrono::nanoseconds started(task.started.load(std::memory_order_acquire));
    bool runs = state.status() == Status::claimed && started.count() != 0;
    auto due = runs ? os::Clock::time_point(started) + limit : now + limit;
    if (due > now) {
      next = std::min(next, due);
    } else {
      condemn(index, Verdict::too_long);
    }
  }
  return std::max(next, now + kShortestLook);
}

void Scheduler::settle_done(std::uint32_t worker, Ticket ticket) {
  std::uint32_t index = ticket.task();
  TaskCell& task = cells_.task(index);
  auto done = TaskState::of(ticket.generation(), Status::done, worker).raw;
  // Else it was settled already, when its worker died.
  if (task.state.load(std::memory_order_acquire) != done) return;
  Out& out = out_[index];
  if (task.no_room.load(std::memory_order_relaxed) != 0) {
    out.verdict = Verdict::no_room;
    settle_claimed(index, {.pid = cells_.worker(worker).pid.load()});
    return;
  }
  auto job = out.job;
  job->unread = 0;
  take_results(index, out.count);
  if (traced_as_) {
    bool failed = task.failed.load(std::memory_order_relaxed) != 0;
    trace(index, out.count, failed ? "error" : "ok", cells_.worker(worker).pid.load());
  }
  if (job->shape.count > 1)
    job->batches.measured(out.count, task.nanoseconds.load(std::memory_order_relaxed));
  set_free(index);
  after_settling(*job);
}

void Scheduler::trace(std::uint32_t index, std::uint64_t items, const char* outcome, pid_t pid) {
  auto* recorder = trace::Recorder::current();
  if (!recorder) return;
  const TaskCell& task = cells_.task(index);
  const Out& out = out_[index];
  TaskState state{task.state.load(std::memory_order_relaxed)};
  os::Clock::time_point started(
      std::chrono::nanoseconds(task.started.load(std::memory_order_relaxed)));
  bool done = state.status() == Status::done;
  std::chrono::nanoseconds lasted(task.nanoseconds.load(std::memory_order_relaxed));
  recorder->task({.name = out.job->name,
                  .pool = traced_as_,
                  .worker = state.worker(),
                  .pid = pid,
                  .submitted = out.sent,
                  .started = started,
                  .ended = done ? started + lasted : os::Clock::now(),
                  .items = items,
                  .bytes = task.argument_bytes + items * out.job->shape.item_bytes,
                  .outcome = outcome});
}

void Scheduler::after_settling(Job& job) {
  if (!job.asynchronous() || job.over) return;
  if (job.settled == job.shape.count) {
    end_asynchronous(job);
  } else if (may_feed(job)) {
    hungry_.push_back(job.keep);
    attend_.notify_one();
  }
}

// The outcomes of the task's first `items` items, which its worker has finished.
void Scheduler::take_results(std::uint32_t index, std::uint64_t items) {
  TaskCell& task = cells_.task(index);
  TaskState state{task.state.load(std::memory_order_acquire)};
  Out& out = out_[index];
  Job& job = *out.job;
  job.settled += items;
  job.failed += task.failed.load(std::memory_order_relaxed);
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
  ResultChunk& chunk = job.add_chunk();
  chunk.first = out.first;
  chunk.items = items;
  chunk.bytes = bytes;
  chunk.block = block;
  if (!block) std::memcpy(chunk.small.data(), task.inline_results.data(), bytes);
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
  if (out.timed) --timed_;
  unused_.push_back(index);
  --on_their_way_;
  --out.job->in_flight;
  announce(*out.job);
  for (const auto& job : std::exchange(starved_, {})) {
    job->starved = false;
    if (!job->asynchronous()) {
      announce(*job);
    } else if (!job->over) {
      hungry_.push_back(job);
      attend_.notify_one();
      announce(*job);
    }
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
      settle_done(index, Ticket::of(i, state.generation()));
    } else {
      settle_claimed(i, death);
    }
  }
  taken_[index].store(cells_.worker(index).ended.load(), std::memory_order_relaxed);
  // Whoever it was woken for, or was about to wake.
  if (anything_queued(cells_)) wake_workers(cells_, UINT64_MAX);
}

// Finished items keep their results; the one that was running is lost or run again; those behind it
// were never begun.
void Scheduler::settle_claimed(std::uint32_t index, const WorkerDeath& death) {
  TaskCell& task = cells_.task(index);
  Out& out = out_[index];
  auto keep = out.job;
  Job& job = *keep;
  std::uint64_t progress = task.progress.load(std::memory_order_acquire);
  std::uint64_t passed = progress / 2;
  bool running = progress % 2 != 0;
  take_results(index, passed);
  // Killed, or stuck, while it read the callable, before any item.
  bool reading = progress == 0 && task.started.load(std::memory_order_relaxed) != 0;
  job.unread = reading ? job.unread + 1 : 0;
  if (reading && !job.over && (out.verdict != Verdict::died || job.unread == kMostUnread)) {
    job.failure = job.failure_of(out.verdict, death);
    set_free(index);
    if (job.asynchronous()) end_asynchronous(job);
    return;
  }
  // The worker may have gone on to the next item while it was condemned for the one before.
  std::chrono::nanoseconds since(task.started.load(std::memory_order_acquire));
  auto lasted = out.condemned.time_since_epoch() - since;
  bool innocent =
      out.verdict == Verdict::too_long && lasted < std::chrono::nanoseconds(task.time_limit);
  if (running && !innocent) {
    std::uint64_t item = out.first + passed;
    if (out.verdict != Verdict::died || !job.try_again(item)) {
      job.lose(item, out.verdict, death);
      ++passed;
    }
  }
  if (traced_as_) {
    const char* how = out.verdict == Verdict::too_long    ? "timeout"
                      : out.verdict == Verdict::cancelled ? "cancelled"
                      : out.verdict == Verdict::no_room   ? "error"
                                                          : "died";
    trace(index, passed, how, death.pid);
  }
  if (passed == out.count || job.over) {
    set_free(index);
    after_settling(job);
    return;
  }
  out.verdict = Verdict::died;
  auto done = static_cast<std::uint32_t>(passed);
  out.first += done;
  out.count -= done;
  task.count = out.count;
  task.skip += done;
  task.items = job.items_from(out.first);
  task.results = job.results_from(out.first);
  reset_outcome(task);
  TaskState state{task.state.load(std::memory_order_relaxed)};
  std::uint32_t generation = state.generation() + 1;
  task.state.store(TaskState::of(generation, Status::pending).raw, std::memory_order_release);
  append(cells_, Ticket::of(index, generation));
  wake_workers(cells_, 1);
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
