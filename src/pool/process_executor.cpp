#include "cohort/process_executor.hpp"

#include <signal.h>

#include <utility>

#include "cohort/error.hpp"

namespace cohort::futures {
namespace {

PoolOptions pool_options(ProcessPoolOptions&& options) {
  return {.processes = options.max_workers,
          .initializer = std::move(options.initializer),
          .max_tasks_per_child = options.max_tasks_per_child,
          .task_timeout = options.task_timeout,
          .soft_timeout = options.soft_timeout,
          .retries = options.retries,
          .limits = std::move(options.limits),
          .start_method = options.start_method};
}

}  // namespace

ProcessPoolExecutor::ProcessPoolExecutor(ProcessPoolOptions options)
    : workers_(std::make_unique<detail::WorkerPool>(detail::WorkerPool::Kind::executor,
                                                    pool_options(std::move(options)))) {}
ProcessPoolExecutor::ProcessPoolExecutor(ProcessPoolExecutor&&) noexcept = default;
ProcessPoolExecutor& ProcessPoolExecutor::operator=(ProcessPoolExecutor&& other) noexcept {
  std::swap(workers_, other.workers_);
  return *this;
}
ProcessPoolExecutor::~ProcessPoolExecutor() = default;

detail::WorkerPool& ProcessPoolExecutor::open() const {
  if (!workers_) throw InvalidStateError("this executor was moved from");
  workers_->check_ours();
  return *workers_;
}

void ProcessPoolExecutor::shutdown(ShutdownOptions options) {
  detail::WorkerPool& pool = open();
  pool.close();
  if (options.cancel_futures) pool.cancel_waiting();
  if (options.wait) pool.join();
}

void ProcessPoolExecutor::terminate_workers() { open().end_workers(SIGTERM); }
void ProcessPoolExecutor::kill_workers() { open().end_workers(SIGKILL); }
std::vector<WorkerStats> ProcessPoolExecutor::stats() const { return open().stats(); }

}  // namespace cohort::futures
