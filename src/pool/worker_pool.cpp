#include "cohort/detail/worker_pool.hpp"

#include <signal.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <utility>

#include "arena/space.hpp"
#include "cohort/error.hpp"
#include "cohort/finalize.hpp"
#include "pool/interrupt.hpp"
#include "pool/progress.hpp"
#include "schedule/crew.hpp"
#include "schedule/scheduler.hpp"
#include "schedule/worker.hpp"
#include "schedule/worker_limits.hpp"

namespace cohort {

std::optional<std::chrono::steady_clock::time_point> deadline() {
  return schedule::task_deadline();
}

namespace detail {
namespace {

constexpr int kExitPriority = 15;  // before the processes that the workers may use

std::uint32_t checked_workers(std::optional<long long> asked) {
  long long count = asked.value_or(static_cast<long long>(cpu_count()));
  if (count < 1)
    throw std::invalid_argument("a pool needs at least one worker, not " + std::to_string(count));
  if (count > schedule::kMostWorkers)
    throw std::invalid_argument("a pool has at most " + std::to_string(schedule::kMostWorkers) +
                                " workers, not " + std::to_string(count));
  return static_cast<std::uint32_t>(count);
}

std::uint64_t checked_most_tasks(std::optional<long long> asked) {
  if (asked && *asked < 1)
    throw std::invalid_argument("max_tasks_per_child must be at least 1, not " +
                                std::to_string(*asked));
  return static_cast<std::uint64_t>(asked.value_or(0));
}

std::chrono::nanoseconds checked_limit(std::chrono::nanoseconds limit) {
  if (limit.count() < 0) throw std::invalid_argument("a time limit for tasks is negative");
  return limit;
}

schedule::Scheduler::Options scheduler_options(WorkerPool::Kind kind, const PoolOptions& options) {
  checked_limit(options.task_timeout);
  checked_limit(options.soft_timeout);
  schedule::check(options.limits);
  return {.workers = checked_workers(options.processes),
          .start_on_demand = kind == WorkerPool::Kind::executor,
          .initializer = options.initializer.target().get(),
          .most_items_per_worker = checked_most_tasks(options.max_tasks_per_child)};
}

}  // namespace

namespace {

// The program's end and the owner may end it at the same time: whoever lets go last destroys it.
class Core {
 public:
  Core(WorkerPool::Kind what, const PoolOptions& asked)
      : kind_(what),
        options_(asked),
        scheduler(std::make_shared<schedule::Scheduler>(scheduler_options(what, asked))),
        crew(*scheduler, asked.start_method.value_or(get_start_method()), asked.limits) {}

  schedule::JobOptions job_options(const CallSettings& settings) const {
    return {.chunksize = settings.chunksize,
            .retries = settings.retries.value_or(options_.retries),
            .time_limit = checked_limit(settings.timeout.value_or(options_.task_timeout)),
            .soft_limit = checked_limit(settings.soft_timeout.value_or(options_.soft_timeout))};
  }

  void terminate() {
    scheduler->close();
    scheduler->fail_all(std::make_exception_ptr(CancelledError("the pool was terminated")));
    crew.end(SIGKILL);
  }
  // Once; by whoever comes first.
  void end() {
    if (ended_.exchange(true)) return;
    if (kind_ == WorkerPool::Kind::executor) {
      scheduler->close();
    } else if (!scheduler->closed()) {
      terminate();
    }
    scheduler->await_all();
    crew.stop();
    scheduler->stop();
  }

 private:
  WorkerPool::Kind kind_;
  PoolOptions options_;
  InterruptNotice notice_;
  std::atomic<bool> ended_{false};

 public:
  std::shared_ptr<schedule::Scheduler> scheduler;
  schedule::Crew crew;
};

}  // namespace

struct WorkerPool::State {
  State(Kind what, const PoolOptions& asked)
      : core(std::make_shared<Core>(what, asked)),
        at_exit(
            [weak = std::weak_ptr(core)] {
              if (auto strong = weak.lock()) strong->end();
            },
            {.exit_priority = kExitPriority}) {}
  ~State() {
    at_exit.cancel();
    core->end();
  }

  std::uint32_t epoch = arena::Space::epoch();
  arena::MemberId owner = arena::Space::here().self();
  std::shared_ptr<Core> core;
  Finalizer at_exit;
};

WorkerPool::WorkerPool(Kind kind, const PoolOptions& options)
    : state_(std::make_unique<State>(kind, options)) {}

WorkerPool::~WorkerPool() {
  // The locks and threads of a forked copy were not copied whole.
  bool ours =
      state_->epoch == arena::Space::epoch() && arena::Space::here().self() == state_->owner;
  if (!ours) (void)state_.release();
}

void WorkerPool::check_ours() const {
  if (state_->epoch != arena::Space::epoch() || arena::Space::here().self() != state_->owner)
    throw InvalidStateError(
        "this pool belongs to the process that made it: a forked child makes one of its own");
}

void WorkerPool::run(TaskBody& body, const TaskShape& shape, const CallSettings& settings) {
  check_ours();
  schedule::Scheduler::RunOptions how{state_->core->job_options(settings), {}};
  if (!settings.progress || shape.count == 0) {
    state_->core->scheduler->run(body, shape, how);
    return;
  }
  Progress progress(shape.count);
  how.period = progress.period();
  how.progress = [&](const schedule::RunProgress& now) {
    progress.update({now.settled, now.failed, now.busy_workers, now.workers});
  };
  state_->core->scheduler->run(body, shape, how);
}

void WorkerPool::submit(const std::shared_ptr<TaskClient>& client, const TaskShape& shape,
                        const CallSettings& settings, std::shared_ptr<RunningCall>& begun) {
  check_ours();
  state_->core->scheduler->submit(client, shape, state_->core->job_options(settings), begun);
}

std::size_t WorkerPool::size() const { return state_->core->scheduler->workers(); }

void WorkerPool::close() {
  check_ours();
  state_->core->scheduler->close();
}

void WorkerPool::terminate() {
  check_ours();
  state_->core->terminate();
}

void WorkerPool::end_workers(int signal) {
  check_ours();
  state_->core->scheduler->close();
  state_->core->scheduler->fail_all(
      std::make_exception_ptr(BrokenPool("the workers were ended by request")));
  state_->core->crew.end(signal);
}

void WorkerPool::cancel_waiting() {
  check_ours();
  state_->core->scheduler->cancel_waiting();
}

void WorkerPool::join() {
  check_ours();
  if (!state_->core->scheduler->closed())
    throw InvalidStateError("the pool is still running: close() or terminate() it before join()");
  state_->core->scheduler->await_all();
  state_->core->crew.join();
  state_->core->scheduler->drain();
}

bool WorkerPool::closed() const { return state_->core->scheduler->closed(); }

std::vector<WorkerStats> WorkerPool::stats() const {
  check_ours();
  return state_->core->crew.stats();
}

}  // namespace detail
}  // namespace cohort
