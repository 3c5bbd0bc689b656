#include "schedule/scheduler.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "arena/block_refs.hpp"
#include "os/futex.hpp"
#include "schedule/arena_writer.hpp"
#include "schedule/task_queue.hpp"
#include "sync/backoff.hpp"

namespace cohort::schedule {

using namespace std::chrono_literals;

Scheduler::Scheduler(std::uint32_t workers, const detail::Target* initializer)
    : space_(arena::Space::here()) {
  auto tasks = std::bit_ceil(std::max<std::uint32_t>(256, 8 * workers));
  std::uint32_t queue = 2 * tasks;
  block_ =
      detail::BlockRefs::create(Layout::bytes(workers, tasks, queue), arena::BlockKind::scheduler);
  cells_ = Layout(block_.data());
  SchedulerCell& head = cells_.head();
  head.workers = workers;
  head.tasks = tasks;
  head.queue_capacity = queue;
  out_.resize(tasks);
  for (std::uint32_t index = tasks; index-- > 0;) {
    unused_.push_back(index);
    cells_.task(index).state.store(TaskState::of(1, Status::free).raw, std::memory_order_relaxed);
  }
  if (!initializer) return;
  head.initializer = detail::refer_to_code(initializer->thunk());
  ArenaWriter writer(space_, {});
  writer.pad_to(64);
  std::uint64_t nothing = 0;  // a block even where there is nothing to say
  initializer->encode(writer);
  head.initializer_bytes = writer.size();
  writer.write(&nothing, sizeof nothing);
  initializer_handles_ = writer.take_references();
  initializer_ = head.initializer_data = writer.take_block();
}

Scheduler::~Scheduler() {
  if (initializer_) space_.release(initializer_);
}

void Scheduler::run(detail::TaskBody& body, const detail::TaskShape& shape,
                    const RunOptions& options) {
  auto job = std::make_shared<Job>(space_, body, shape, cells_.head().workers, options.job);
  begin(job);
  try {
    for (;;) {
      feed(job);
      Lock lock(mutex_);
      if (job->failure) std::rethrow_exception(job->failure);
      if (job->settled == shape.count) break;
      os::Deadline deadline;
      if (options.progress) deadline = os::Clock::now() + 100ms;
      await_news(lock, *job, deadline);
      if (options.progress) {
        auto settled = job->settled;
        lock.unlock();
        options.progress(settled);
      }
    }
  } catch (...) {
    end(job);
    throw;
  }
  end(job);
  job->deliver();
}

void Scheduler::begin(const std::shared_ptr<Job>& job) {
  Lock lock(mutex_);
  if (closed_) throw InvalidStateError("the pool is closed");
  if (failure_) std::rethrow_exception(failure_);
  active_.push_back(job.get());
}

// What is pending of an unfinished job is taken back; what a worker runs already goes on.
void Scheduler::end(const std::shared_ptr<Job>& job) noexcept {
  Lock lock(mutex_);
  job->over = true;
  if (job->in_flight != 0) revoke(*job);
  std::erase(active_, job.get());
  if (closed_ && active_.empty()) let_workers_leave();
}

void Scheduler::revoke(Job& job) {
  for (std::uint32_t index = 0; index < out_.size(); ++index) {
    if (out_[index].job.get() != &job) continue;
    auto& word = cells_.task(index).state;
    TaskState seen{word.load(std::memory_order_acquire)};
    if (seen.status() != Status::pending) continue;
    auto taken_back = TaskState::of(seen.generation(), Status::filling).raw;
    if (word.compare_exchange_strong(seen.raw, taken_back)) set_free(index);
  }
}

// Sends what may be sent now.
void Scheduler::feed(const std::shared_ptr<Job>& job) {
  for (;;) {
    std::uint32_t index = 0;
    std::uint64_t first = 0;
    std::uint32_t count = 0;
    {
      Lock lock(mutex_);
      if (job->failure || job->sent == job->shape.count) return;
      if (job->in_flight >= job->batches.most_in_flight()) return;
      if (unused_.empty()) {
        job->starved = true;
        return;
      }
      index = unused_.back();
      unused_.pop_back();
      first = job->sent;
      auto size = job->batches.next(job->shape.count - first);
      count = static_cast<std::uint32_t>(std::min<std::size_t>(size, UINT32_MAX));
      job->sent += count;
      ++job->in_flight;
      out_[index].job = job;
      out_[index].first = first;
      out_[index].count = count;
      TaskCell& task = cells_.task(index);
      TaskState before{task.state.load(std::memory_order_relaxed)};
      task.state.store(TaskState::of(before.generation(), Status::filling).raw,
                       std::memory_order_relaxed);
    }
    try {
      fill(index, *job, first, count);
    } catch (...) {
      Lock lock(mutex_);
      set_free(index);
      throw;
    }
    publish(index);
  }
}

// By the job's own thread, without the lock: the cell is nobody else's yet.
void Scheduler::fill(std::uint32_t index, Job& job, std::uint64_t first, std::uint32_t count) {
  TaskCell& task = cells_.task(index);
  task.thunk = job.shape.thunk;
  task.callable = job.callable();
  task.callable_bytes = job.callable_bytes();
  task.items = job.items_from(first);
  task.results = job.results_from(first);
  task.count = count;
  task.skip = 0;
  task.arguments = 0;
  task.argument_bytes = 0;
  if (task.items) {
    job.body().copy_next(space_.at(task.items), count);
    return;
  }
  ArenaWriter writer(space_, task.inline_arguments);
  for (std::uint32_t i = 0; i < count; ++i) {
    std::size_t start = writer.size();
    std::uint64_t size = 0;
    writer.write(&size, sizeof size);
    job.body().encode_next(writer);
    size = writer.size() - start - sizeof size;
    std::memcpy(writer.at(start), &size, sizeof size);
  }
  task.argument_bytes = writer.size();
  out_[index].handles = writer.take_references();
  out_[index].arguments = task.arguments = writer.take_block();
}

void Scheduler::publish(std::uint32_t index) {
  TaskCell& task = cells_.task(index);
  task.progress.store(0, std::memory_order_relaxed);
  task.result_block.store(0, std::memory_order_relaxed);
  task.result_bytes.store(0, std::memory_order_relaxed);
  task.result_references.store(0, std::memory_order_relaxed);
  {
    Lock lock(mutex_);
    if (out_[index].job->failure) {
      set_free(index);
      return;
    }
    TaskState filled{task.state.load(std::memory_order_relaxed)};
    task.state.store(TaskState::of(filled.generation(), Status::pending).raw,
                     std::memory_order_release);
    append(cells_, Ticket::of(index, filled.generation()));
  }
  wake_for_queued(cells_);
}

bool Scheduler::anything_ended() const {
  for (std::uint32_t word = 0; word < cells_.head().tasks / 64; ++word) {
    if (cells_.ended(word).load(std::memory_order_acquire) != 0) return true;
  }
  return false;
}

// Returns when the job has news, or at the deadline.
void Scheduler::await_news(Lock& lock, Job& job, os::Deadline deadline) {
  sync::Doorbell& bell = cells_.head().owner_bell;
  auto late = [&] { return deadline && os::Clock::now() >= *deadline; };
  waiting_.push_back(&job);
  for (;;) {
    collect(lock);
    if (std::exchange(job.news, false) || late()) break;
    if (collector_) {
      if (deadline) {
        job.changed.wait_until(lock, *deadline);
      } else {
        job.changed.wait(lock);
      }
      continue;
    }
    collector_ = &job;
    lock.unlock();
    auto ready = [&] { return anything_ended() || alert_.load(std::memory_order_acquire); };
    bool found = false;
    for (sync::Backoff backoff; !found && backoff.step();) found = ready();
    if (!found) {
      // Whoever counted as searching may have been stopped.
      if (anything_queued(cells_)) wake_workers(cells_, UINT64_MAX);
      bell.sleep(space_, deadline, ready);
    }
    lock.lock();
    alert_.store(false, std::memory_order_relaxed);
    collector_ = nullptr;
  }
  std::erase(waiting_, &job);
  // Somebody else has to collect from now on.
  if (!collector_ && !waiting_.empty()) waiting_.front()->changed.notify_one();
}

void Scheduler::announce(Job& job) {
  job.news = true;
  job.changed.notify_one();
  if (&job != collector_) return;
  // Its results were collected by another thread.
  alert_.store(true, std::memory_order_release);
  cells_.head().owner_bell.ring();
}

void Scheduler::close() {
  Lock lock(mutex_);
  closed_ = true;
  if (active_.empty()) let_workers_leave();
}

void Scheduler::let_workers_leave() {
  cells_.head().closing.store(1, std::memory_order_seq_cst);
  wake_workers(cells_, UINT64_MAX);
}

void Scheduler::fail_all(const std::exception_ptr& reason) {
  Lock lock(mutex_);
  if (!failure_) failure_ = reason;
  for (Job* job : active_) {
    if (!job->failure) job->failure = reason;
    announce(*job);
  }
}

}  // namespace cohort::schedule
