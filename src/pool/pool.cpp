#include "cohort/pool.hpp"

#include <atomic>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>

#include "arena/space.hpp"
#include "cohort/error.hpp"
#include "cohort/finalize.hpp"
#include "pool/progress.hpp"
#include "schedule/crew.hpp"
#include "schedule/scheduler.hpp"

namespace cohort {
namespace {

constexpr int kExitPriority = 15;  // before the processes that the workers may use

std::uint32_t checked_count(std::optional<long long> asked) {
  long long count = asked.value_or(static_cast<long long>(cpu_count()));
  if (count < 1)
    throw std::invalid_argument("a pool needs at least one worker, not " + std::to_string(count));
  if (count > schedule::kMostWorkers)
    throw std::invalid_argument("a pool has at most " + std::to_string(schedule::kMostWorkers) +
                                " workers, not " + std::to_string(count));
  return static_cast<std::uint32_t>(count);
}

}  // namespace

class Pool::Impl {
 public:
  Impl(std::uint32_t workers, const PoolOptions& options)
      : owner_(arena::Space::here().self()),
        retries_(options.retries),
        scheduler_(workers, options.initializer.target().get()),
        crew_(scheduler_, workers, options.start_method.value_or(get_start_method())),
        at_exit_([this] { end(); }, {.exit_priority = kExitPriority}) {}
  ~Impl() {
    at_exit_.cancel();
    end();
  }

  // A copy that a fork made is not its process's to use.
  bool ours() const {
    return epoch_ == arena::Space::epoch() && arena::Space::here().self() == owner_;
  }

  void run(detail::TaskBody& body, const detail::TaskShape& shape, const MapOptions& options) {
    schedule::Scheduler::RunOptions how{{options.chunksize, retries_}, {}};
    if (!options.progress) {
      scheduler_.run(body, shape, how);
      return;
    }
    ProgressLine line(shape.count);
    if (line.active()) how.progress = [&](std::uint64_t settled) { line.draw(settled); };
    scheduler_.run(body, shape, how);
  }

  void close() { scheduler_.close(); }
  void terminate() {
    scheduler_.close();
    scheduler_.fail_all(std::make_exception_ptr(CancelledError("the pool was terminated")));
    crew_.kill();
  }
  void join() {
    if (!scheduler_.closed())
      throw InvalidStateError("the pool is still running: close() or terminate() it before join()");
    crew_.join();
  }
  std::vector<WorkerStats> stats() const { return crew_.stats(); }

 private:
  void end() {
    if (!scheduler_.closed()) terminate();
    crew_.join();
  }

  std::uint32_t epoch_ = arena::Space::epoch();
  arena::MemberId owner_;
  unsigned retries_;
  schedule::Scheduler scheduler_;
  schedule::Crew crew_;
  Finalizer at_exit_;
};

Pool::Pool(PoolOptions options)
    : impl_(std::make_unique<Impl>(checked_count(options.processes), options)) {}
Pool::Pool(Pool&&) noexcept = default;
Pool& Pool::operator=(Pool&& other) noexcept {
  std::swap(impl_, other.impl_);
  return *this;
}

Pool::~Pool() {
  // Its locks and its thread were not copied whole.
  if (impl_ && !impl_->ours()) (void)impl_.release();
}

Pool::Impl& Pool::open() const {
  if (!impl_) throw InvalidStateError("this pool was moved from");
  if (!impl_->ours())
    throw InvalidStateError(
        "this pool belongs to the process that made it: a forked child makes one of its own");
  return *impl_;
}

void Pool::run(detail::TaskBody& body, const detail::TaskShape& shape, const MapOptions& options) {
  open().run(body, shape, options);
}
void Pool::close() { open().close(); }
void Pool::terminate() { open().terminate(); }
void Pool::join() { open().join(); }
std::vector<WorkerStats> Pool::stats() const { return open().stats(); }

}  // namespace cohort
