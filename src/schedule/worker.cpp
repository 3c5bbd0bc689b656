#include "schedule/worker.hpp"

#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <map>
#include <utility>
#include <vector>

#include "arena/space.hpp"
#include "cohort/detail/remote_exception.hpp"
#include "os/signals.hpp"
#include "os/step.hpp"
#include "schedule/crash_report.hpp"
#include "schedule/task_queue.hpp"
#include "schedule/worker_limits.hpp"
#include "schedule/worker_run.hpp"
#include "sync/backoff.hpp"

namespace cohort::schedule {
namespace {

constexpr std::size_t kMostHeld = 64;

// The task that this process runs, for cohort::deadline().
std::atomic<const TaskCell*> running_task{nullptr};

struct NoNews final : detail::Decoded {
  void operator()() override {}
};

class Worker {
 public:
  Worker(const detail::BlockRef& scheduler, std::uint32_t index)
      : space_(arena::Space::here()),
        cells_(scheduler.data()),
        self_(cells_.worker(index)),
        index_(index) {
    self_.member.store(space_.self().raw, std::memory_order_relaxed);
    self_.pid.store(::getpid(), std::memory_order_relaxed);
  }

  bool initialize(const WorkerLimits& limits);
  void run();

 private:
  struct Held {
    std::uint32_t task;
    TaskState done;
    std::vector<detail::BlockRef> blocks;
  };

  bool closing() const { return cells_.head().closing.load(std::memory_order_acquire) != 0; }
  bool wait_for_work();
  bool search();
  void execute(std::uint32_t index);
  void fail_all(WorkerRun& run, TaskCell& task, const std::exception_ptr& error);
  detail::TaskThunk find_thunk(const detail::CodeReference& reference);
  void drop_taken();

  arena::Space& space_;
  Layout cells_;
  WorkerSlot& self_;
  std::uint32_t index_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, detail::TaskThunk> thunks_;
  std::uint64_t items_run_ = 0;
  std::vector<Held> held_;  // what results refer to that the owner has not taken yet
};

void run_initializer(arena::Space& space, const SchedulerCell& head) {
  if (!head.initializer_data) return;
  auto thunk =
      reinterpret_cast<detail::Thunk>(const_cast<void*>(detail::find_code(head.initializer)));
  detail::TaskReader reader(
      {space.at(head.initializer_data), static_cast<std::size_t>(head.initializer_bytes)});
  NoNews nothing;
  thunk(reader, nothing);
}

// Answers false when the initializer threw: the owner finds its exception in our slot.
bool Worker::initialize(const WorkerLimits& limits) {
  try {
    catch_crashes(self_.crash);
    apply(limits, index_);
    run_initializer(space_, cells_.head());
  } catch (...) {
    ArenaWriter writer(space_, {});
    detail::encode_exception(writer, std::current_exception(), {});
    self_.error_bytes.store(writer.size(), std::memory_order_relaxed);
    self_.error.store(writer.take_block(), std::memory_order_release);
    self_.stage.store(Stage::initializer_threw, std::memory_order_release);
    return false;
  }
  self_.stage.store(Stage::working, std::memory_order_release);
  return true;
}

void Worker::run() {
  std::uint64_t most = cells_.head().most_items;
  for (;;) {
    if (most != 0 && items_run_ >= most) {
      self_.stage.store(Stage::retired, std::memory_order_release);
      return;
    }
    if (auto task = claim(cells_, index_)) {
      execute(*task);
      continue;
    }
    if (!held_.empty()) drop_taken();
    if (!wait_for_work()) return;
  }
}

// Looks for work for a moment, as one of those that need not be woken.
bool Worker::search() {
  WorkerSet& searching = cells_.head().searching;
  put_in(searching, index_);
  bool found = false;
  for (sync::Backoff backoff; !found && backoff.step();)
    found = anything_queued(cells_) || closing();
  if (found) take_from(searching, index_);
  return found;
}

// Answers false when there will be none.
bool Worker::wait_for_work() {
  SchedulerCell& head = cells_.head();
  bool found = search();
  while (!found) {
    std::uint32_t seen = self_.bell.load(std::memory_order_acquire);
    put_in(head.sleeping, index_);
    take_from(head.searching, index_);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    found = anything_queued(cells_) || closing();
    if (!found) space_.sleep_on(self_.bell, seen, std::nullopt);
    os::step("schedule.woken");
    take_from(head.sleeping, index_);
    found = found || anything_queued(cells_) || closing();
    // Whoever woke us for a task that somebody else took may have the next one soon.
    if (!found && self_.bell.load(std::memory_order_relaxed) != seen) found = search();
    if (!held_.empty()) drop_taken();
  }
  return anything_queued(cells_) || !closing();
}

detail::TaskThunk Worker::find_thunk(const detail::CodeReference& reference) {
  auto [place, fresh] = thunks_.try_emplace({reference.module, reference.offset}, nullptr);
  if (!place->second) {
    place->second =
        reinterpret_cast<detail::TaskThunk>(const_cast<void*>(detail::find_code(reference)));
  }
  return place->second;
}

// The callable could not be decoded; or the outcome of an item could not be stored.
void Worker::fail_all(WorkerRun& run, TaskCell& task, const std::exception_ptr& error) {
  try {
    if (!run.begun()) {
      run.for_each_item([&](std::size_t) { std::rethrow_exception(error); });
      return;
    }
  } catch (...) {
    // No room for these either.
  }
  task.no_room.store(1, std::memory_order_relaxed);
}

void Worker::execute(std::uint32_t index) {
  TaskCell& task = cells_.task(index);
  TaskState claimed{task.state.load(std::memory_order_relaxed)};
  TaskState done = TaskState::of(claimed.generation(), Status::done, index_);
  auto start = os::Clock::now();
  task.started.store(start.time_since_epoch().count(), std::memory_order_release);
  running_task = &task;
  WorkerRun run(space_, task);
  try {
    find_thunk(task.thunk)(run);
  } catch (...) {
    fail_all(run, task, std::current_exception());
  }
  // Before ours come to them, which are not done yet.
  if (held_.size() > kMostHeld) drop_taken();
  auto blocks = run.finish();
  if (!blocks.empty()) held_.push_back({index, done, std::move(blocks)});
  items_run_ += task.count;
  auto spent = static_cast<std::uint64_t>((os::Clock::now() - start).count());
  task.nanoseconds.store(spent, std::memory_order_relaxed);
  self_.items.store(self_.items.load(std::memory_order_relaxed) + task.count,
                    std::memory_order_relaxed);
  self_.busy_nanoseconds.store(self_.busy_nanoseconds.load(std::memory_order_relaxed) + spent,
                               std::memory_order_relaxed);
  os::step("schedule.results_written");
  running_task = nullptr;
  // Condemned: the owner is about to kill us, and nothing of this task counts any more.
  if (!task.state.compare_exchange_strong(claimed.raw, done.raw, std::memory_order_acq_rel))
    ::raise(SIGKILL);
  os::step("schedule.done");
  std::uint64_t at = self_.ended.load(std::memory_order_relaxed);
  cells_.done(index_, at)
      .store(Ticket::of(index, claimed.generation()).raw, std::memory_order_relaxed);
  self_.ended.store(at + 1, std::memory_order_release);
  os::step("schedule.announced");
  cells_.head().owner_bell.ring();
}

void Worker::drop_taken() {
  std::erase_if(held_, [&](const Held& one) {
    return cells_.task(one.task).state.load(std::memory_order_acquire) != one.done.raw;
  });
}

}  // namespace

std::optional<std::chrono::steady_clock::time_point> task_deadline() {
  const TaskCell* task = running_task.load(std::memory_order_acquire);
  if (!task) return std::nullopt;
  std::uint64_t limit = task->soft_limit ? task->soft_limit : task->time_limit;
  if (limit == 0) return std::nullopt;
  std::chrono::nanoseconds started(task->started.load(std::memory_order_acquire));
  return os::Clock::time_point(started + std::chrono::nanoseconds(limit));
}

void worker_main(detail::BlockRef scheduler, std::uint32_t index, WorkerLimits limits) {
  os::ignore_signal(SIGINT);  // the owner decides what a Ctrl-C means
  // Never destroyed: what it holds for the owner must outlive it, until the owner has seen our end.
  auto* worker = new Worker(scheduler, index);
  if (!worker->initialize(limits)) std::exit(1);
  worker->run();
}

}  // namespace cohort::schedule
