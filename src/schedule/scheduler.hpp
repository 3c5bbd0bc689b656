// The owner's side: turns calls into tasks for the workers and collects what becomes of them.
//
// A thread that waits for its call collects results itself, one thread at a time, so that no other
// has to be woken first. Any thread may call any member. Belongs to the process that made it.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "arena/space.hpp"
#include "cohort/detail/block_ref.hpp"
#include "cohort/detail/task_body.hpp"
#include "cohort/error.hpp"
#include "schedule/cells.hpp"
#include "schedule/job.hpp"

namespace cohort::schedule {

class Scheduler {
 public:
  // `initializer` may be null. Throws what encoding it throws, and when the arena is exhausted.
  Scheduler(std::uint32_t workers, const detail::Target* initializer);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  struct RunOptions {
    JobOptions job;
    // Called by the waiting thread now and then, with the number of settled items.
    std::function<void(std::uint64_t)> progress;
  };
  // Runs all items; returns when body has the results, or throws (see cohort::Pool).
  void run(detail::TaskBody& body, const detail::TaskShape& shape, const RunOptions& options);

  // No new calls; workers leave when the running ones have ended.
  void close();
  // Running calls fail with `reason`, new ones too. The first reason stays.
  void fail_all(const std::exception_ptr& reason);
  bool closed() const { return closed_.load(std::memory_order_acquire); }
  bool workers_may_leave() const { return cells_.head().closing.load() != 0; }

  // ---- for whoever watches the workers
  const detail::BlockRef& block() const { return block_; }
  WorkerSlot& worker(std::uint32_t index) const { return cells_.worker(index); }
  // A worker has ended. Afterwards nothing of that worker's is needed.
  void settle(std::uint32_t index, const WorkerDeath& death);
  // The exception of an initializer that threw; null if none did.
  std::exception_ptr initializer_error(std::uint32_t index);

 private:
  using Lock = std::unique_lock<std::mutex>;

  // The owner's notes on a task cell in use.
  struct Out {
    std::shared_ptr<Job> job;
    std::uint64_t first = 0;  // item
    std::uint32_t count = 0;
    Offset arguments = 0;
    std::vector<detail::BlockRef> handles;
  };

  void begin(const std::shared_ptr<Job>& job);
  void end(const std::shared_ptr<Job>& job) noexcept;
  void feed(const std::shared_ptr<Job>& job);
  void fill(std::uint32_t index, Job& job, std::uint64_t first, std::uint32_t count);
  void publish(std::uint32_t index);
  void await_news(Lock& lock, Job& job, os::Deadline deadline);
  void revoke(Job& job);

  bool anything_ended() const;
  void collect(Lock&);
  void take_results(std::uint32_t index, std::uint64_t items);
  void settle_done(std::uint32_t index);
  void settle_claimed(std::uint32_t index, const WorkerDeath& death);
  void set_free(std::uint32_t index);
  void announce(Job& job);
  void let_workers_leave();

  arena::Space& space_;
  detail::BlockRef block_;
  Layout cells_;
  Offset initializer_ = 0;
  std::vector<detail::BlockRef> initializer_handles_;

  std::mutex mutex_;
  std::vector<Out> out_;               // by task
  std::vector<std::uint32_t> unused_;  // tasks; the last is the warmest
  std::vector<Job*> active_;
  std::vector<Job*> waiting_;
  Job* collector_ = nullptr;  // whose thread waits for results outside the lock
  std::exception_ptr failure_;
  std::atomic<bool> closed_{false};
  std::atomic<bool> alert_{false};  // the collector shall look up
};

}  // namespace cohort::schedule
