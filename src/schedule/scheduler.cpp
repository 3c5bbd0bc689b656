#include "schedule/scheduler.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "arena/block_refs.hpp"
#include "schedule/arena_writer.hpp"
#include "schedule/task_queue.hpp"
#include "schedule/trace.hpp"

namespace cohort::schedule {

namespace {

// On their way at a time: cells are touched only as they are needed.
constexpr std::uint32_t kTasks = 1U << 14;
// With more on their way a submitter collects what has ended: while it is in the caches, and so
// that the same cells serve again.
constexpr std::size_t kFew = 256;

}  // namespace

Scheduler::Scheduler(const Options& options) : space_(arena::Space::here()), owner_(space_.self()) {
  std::uint32_t queue = 2 * kTasks;
  block_ = detail::BlockRefs::create(Layout::bytes(options.workers, kTasks, queue),
                                     arena::BlockKind::scheduler);
  cells_ = Layout(block_.data());
  SchedulerCell& head = cells_.head();
  head.workers = options.workers;
  head.tasks = kTasks;
  head.queue_capacity = queue;
  head.most_items = options.most_items_per_worker;
  taken_ = std::make_unique<std::atomic<std::uint64_t>[]>(options.workers);
  if (!options.start_on_demand) wanted_ = options.workers;
  if (auto* recorder = trace::Recorder::current()) traced_as_ = recorder->new_pool();
  if (!options.initializer) return;
  head.initializer = detail::refer_to_code(options.initializer->thunk());
  ArenaWriter writer(space_, {});
  writer.pad_to(64);
  std::uint64_t nothing = 0;  // a block even where there is nothing to say
  options.initializer->encode(writer);
  head.initializer_bytes = writer.size();
  writer.write(&nothing, sizeof nothing);
  initializer_handles_ = writer.take_references();
  initializer_ = head.initializer_data = writer.take_block();
}

Scheduler::~Scheduler() {
  if (initializer_ && ours()) space_.release(initializer_);
}

// A fork copies neither the threads nor the workers.
bool Scheduler::ours() const { return epoch_ == arena::Space::epoch() && space_.self() == owner_; }

void Scheduler::check_ours() const {
  if (!ours())
    throw InvalidStateError("this call belongs to the process that made it, not to a forked child");
}

void Scheduler::run(detail::TaskBody& body, const detail::TaskShape& shape,
                    const RunOptions& options) {
  auto job = std::make_shared<Job>(shared_from_this(), body, shape, options.job, nullptr);
  {
    Lock lock(mutex_);
    begin(*job);
  }
  Waiter me{.job = job.get(), .news = false, .changed = {}};
  try {
    for (bool ended = false; !ended;) {
      feed_items(job);
      Lock lock(mutex_);
      if (job->failure) std::rethrow_exception(job->failure);
      ended = job->settled == shape.count;
      os::Deadline deadline;
      if (options.progress) deadline = os::Clock::now() + options.period;
      // Others may have collected meanwhile, and told nobody who was not waiting.
      if (!ended && !may_feed(*job)) await_news(lock, me, deadline);
      feed_hungry(lock);
      if (options.progress) {
        RunProgress now{job->settled, job->failed, busy_workers(), workers()};
        lock.unlock();
        options.progress(now);
      }
    }
  } catch (...) {
    Lock lock(mutex_);
    end(*job);
    throw;
  }
  {
    Lock lock(mutex_);
    end(*job);
  }
  job->deliver();
}

void Scheduler::submit(const std::shared_ptr<detail::TaskClient>& client,
                       const detail::TaskShape& shape, const JobOptions& options,
                       std::shared_ptr<detail::RunningCall>& begun) {
  auto job = std::make_shared<Job>(shared_from_this(), client->task_body(), shape, options, client);
  begun = job;
  bool whole = shape.count <= 1 || options.chunksize >= shape.count;
  std::uint32_t index = 0;
  Out* single = nullptr;
  {
    Lock lock(mutex_);
    job->eager = client->has_callbacks() || !whole;
    try {
      check_open();  // else nobody would join the attendant's thread
      if (!attendant_.joinable() || dozing_ || (job->eager && eager_ == 0)) wake_attendant();
      begin(*job);
    } catch (...) {
      job->client.reset();  // which holds the job
      throw;
    }
    job->keep = job;
    ++asynchronous_;
    if (job->eager) ++eager_;
    if (on_their_way_ > kFew) collect();
    if (shape.count == 0) end_asynchronous(*job);
    complete_ended(lock);
    if (job->over) return;
    if (shape.count == 1 && take_cell(*job, index)) single = &reserve(index, job);
  }
  if (single) {
    try {
      send(index, *single);
    } catch (...) {
      fail(job, std::current_exception());
    }
    return;
  }
  feed(job);
  if (!whole) return;
  Waiter me{.job = job.get(), .news = false, .changed = {}};
  Lock lock(mutex_);
  while (!job->over && job->sent != shape.count) {
    await_news(lock, me, std::nullopt);
    feed_hungry(lock);
  }
}

void Scheduler::check_open() const {
  if (closed_) throw InvalidStateError("the pool is closed");
  if (failure_) std::rethrow_exception(failure_);
}

void Scheduler::begin(Job& job) {
  check_open();
  job.next = active_;
  if (active_) active_->previous = &job;
  active_ = &job;
}

// What is pending of an unfinished job is taken back; what a worker runs already goes on.
void Scheduler::end(Job& job) noexcept {
  if (std::exchange(job.over, true)) return;
  if (job.in_flight != 0) revoke(job);
  (job.previous ? job.previous->next : active_) = job.next;
  if (job.next) job.next->previous = job.previous;
  if (!closed_ || active_) return;
  let_workers_leave();
  announce(job);  // to those that wait for the end of all
}

void Scheduler::end_asynchronous(Job& job) {
  if (job.over) return;
  auto self = std::move(job.keep);
  --asynchronous_;
  if (job.eager && --eager_ == 0) release_attendant();
  ended_.push_back({std::move(job.client), job.cancelled});
  end(job);
  announce(job);
}

void Scheduler::fail(const std::shared_ptr<Job>& job, const std::exception_ptr& reason) {
  Lock lock(mutex_);
  if (!job->failure) job->failure = reason;
  end_asynchronous(*job);
  complete_ended(lock);
}

// Of an asynchronous job, by any thread; one at a time.
void Scheduler::feed(const std::shared_ptr<Job>& job) {
  std::shared_ptr<detail::TaskClient> client;  // keeps the body
  {
    Lock lock(mutex_);
    if (job->over || std::exchange(job->feeding, true)) return;
    client = job->client;
  }
  for (;;) {
    try {
      feed_items(job);
    } catch (...) {
      fail(job, std::current_exception());
    }
    Lock lock(mutex_);
    if (may_feed(*job)) continue;
    job->feeding = false;
    announce(*job);  // its submitter may wait until all is sent
    return;
  }
}

bool Scheduler::may_feed(const Job& job) const {
  return !job.over && !job.failure && !job.starved && job.sent != job.shape.count &&
         job.in_flight < job.batches.most_in_flight();
}

bool Scheduler::take_cell(Job& job, std::uint32_t& index) {
  if (!unused_.empty()) {
    index = unused_.back();
    unused_.pop_back();
    return true;
  }
  if (out_.size() < cells_.head().tasks) {
    index = static_cast<std::uint32_t>(out_.size());
    out_.emplace_back();
    cells_.task(index).state.store(TaskState::of(1, Status::free).raw, std::memory_order_relaxed);
    return true;
  }
  if (!std::exchange(job.starved, true)) starved_.push_back(job.shared_from_this());
  return false;
}

// Sends what may be sent now.
void Scheduler::feed_items(const std::shared_ptr<Job>& job) {
  for (;;) {
    std::uint32_t index = 0;
    Out* out = nullptr;
    {
      Lock lock(mutex_);
      if (!may_feed(*job) || !take_cell(*job, index)) return;
      out = &reserve(index, job);
    }
    send(index, *out);
  }
}

// The next items of the job are this cell's.
Scheduler::Out& Scheduler::reserve(std::uint32_t index, const std::shared_ptr<Job>& job) {
  auto size = job->batches.next(job->shape.count - job->sent);
  if (auto most = cells_.head().most_items) size = std::min<std::size_t>(size, most);
  Out& out = out_[index];
  out.job = job;
  out.first = job->sent;
  out.count = static_cast<std::uint32_t>(std::min<std::size_t>(size, UINT32_MAX));
  out.verdict = Verdict::died;
  job->sent += out.count;
  job->last_task = index;
  ++job->in_flight;
  ++on_their_way_;
  TaskCell& task = cells_.task(index);
  TaskState before{task.state.load(std::memory_order_relaxed)};
  task.state.store(TaskState::of(before.generation(), Status::filling).raw,
                   std::memory_order_relaxed);
  return out;
}

void Scheduler::send(std::uint32_t index, Out& out) {
  try {
    fill(index, out);
  } catch (...) {
    Lock lock(mutex_);
    set_free(index);
    throw;
  }
  if (publish(index)) wake_for_queued(cells_);
}

// By the one thread that feeds the job, without the lock: the cell is nobody else's yet.
void Scheduler::fill(std::uint32_t index, Out& out) {
  TaskCell& task = cells_.task(index);
  Job& job = *out.job;
  task.thunk = job.shape.thunk;
  task.callable = job.callable();
  task.callable_bytes = job.callable_bytes();
  task.items = job.items_from(out.first);
  task.results = job.results_from(out.first);
  task.count = out.count;
  task.skip = 0;
  task.arguments = 0;
  task.argument_bytes = 0;
  task.time_limit = static_cast<std::uint64_t>(job.options.time_limit.count());
  task.soft_limit = static_cast<std::uint64_t>(job.options.soft_limit.count());
  if (task.items) {
    job.body().copy_next(space_.at(task.items), out.count);
    return;
  }
  ArenaWriter writer(space_, task.inline_arguments);
  for (std::uint32_t i = 0; i < out.count; ++i) {
    std::size_t start = writer.size();
    std::uint64_t size = 0;
    writer.write(&size, sizeof size);
    job.body().encode_next(writer);
    size = writer.size() - start - sizeof size;
    std::memcpy(writer.at(start), &size, sizeof size);
  }
  task.argument_bytes = writer.size();
  out.handles = writer.take_references();
  out.arguments = task.arguments = writer.take_block();
}

void Scheduler::reset_outcome(TaskCell& task) {
  task.progress.store(0, std::memory_order_relaxed);
  task.result_block.store(0, std::memory_order_relaxed);
  task.result_bytes.store(0, std::memory_order_relaxed);
  task.result_references.store(0, std::memory_order_relaxed);
  task.started.store(0, std::memory_order_relaxed);
  task.failed.store(0, std::memory_order_relaxed);
  task.no_room.store(0, std::memory_order_relaxed);
}

// Answers false when the job has ended meanwhile.
bool Scheduler::publish(std::uint32_t index) {
  TaskCell& task = cells_.task(index);
  reset_outcome(task);
  Lock lock(mutex_);
  Job& job = *out_[index].job;
  if (job.over || job.failure) {
    set_free(index);
    return false;
  }
  if (traced_as_) out_[index].sent = os::Clock::now();
  TaskState filled{task.state.load(std::memory_order_relaxed)};
  task.state.store(TaskState::of(filled.generation(), Status::pending).raw,
                   std::memory_order_release);
  append(cells_, Ticket::of(index, filled.generation()));
  if (task.time_limit != 0) {
    out_[index].timed = true;
    if (++timed_ == 1 && watch_.look) watch_.look();
  }
  want_workers();
  return true;
}

void Scheduler::drop_watch() {
  Lock lock(mutex_);
  watch_ = {};
}

void Scheduler::want_workers() {
  auto wanted = wanted_.load(std::memory_order_relaxed);
  if (wanted == workers() || on_their_way_ <= wanted) return;
  wanted_.store(static_cast<std::uint32_t>(std::min<std::size_t>(on_their_way_, workers())),
                std::memory_order_release);
  if (watch_.look) watch_.look();
}

bool Scheduler::cancel(Job& job, bool also_running) {
  if (!ours()) return false;
  Lock lock(mutex_);
  collect();
  if (job.over) {
    complete_ended(lock);
    return job.cancelled;
  }
  if (!also_running) {
    // A worker may begin it at this moment.
    if (begun(job)) return false;
    if (job.shape.count == 1 && job.in_flight != 0 && !revoke_task(job.last_task)) return false;
  }
  revoke(job);
  // Else what was begun meanwhile runs on, and its results are dropped.
  if (also_running) condemn_all(job, Verdict::cancelled);
  job.cancelled = true;
  job.failure = std::make_exception_ptr(CancelledError());
  end_asynchronous(job);
  complete_ended(lock);
  return true;
}

void Scheduler::cancel_waiting() {
  std::vector<std::shared_ptr<Job>> all;
  {
    Lock lock(mutex_);
    for (Job* job = active_; job; job = job->next) {
      if (job->keep) all.push_back(job->keep);
    }
  }
  for (const auto& job : all) cancel(*job, false);
}

void Scheduler::want_delivery(Job& job) {
  if (!ours()) return;
  Lock lock(mutex_);
  if (job.over || std::exchange(job.eager, true)) return;
  ++eager_;
  wake_attendant();
}

void Scheduler::close() {
  Lock lock(mutex_);
  closed_ = true;
  if (!active_) {
    let_workers_leave();
    return;
  }
  try {
    wake_attendant();
  } catch (const std::exception&) {
    // No thread to be had: then whoever joins collects.
  }
}

void Scheduler::await_all() {
  Waiter me;
  Lock lock(mutex_);
  while (active_ && !failure_) {
    await_news(lock, me, std::nullopt);
    feed_hungry(lock);
  }
}

void Scheduler::post(const std::function<void()>& callback) {
  try {
    courier_.post(callback);
  } catch (const std::exception&) {
    callback();  // no thread to be had: better here than never
  }
}

void Scheduler::let_workers_leave() {
  cells_.head().closing.store(1, std::memory_order_seq_cst);
  wake_workers(cells_, UINT64_MAX);
  if (watch_.look) watch_.look();
}

void Scheduler::fail_all(const std::exception_ptr& reason) {
  Lock lock(mutex_);
  if (!failure_) failure_ = reason;
  for (Job* job = active_; job;) {
    Job* next = job->next;
    if (!job->failure) job->failure = reason;
    if (job->asynchronous()) {
      end_asynchronous(*job);
    } else {
      announce(*job);
    }
    job = next;
  }
  complete_ended(lock);
}

}  // namespace cohort::schedule
