// The owner's side: turns calls into tasks for the workers and collects what becomes of them.
//
// A thread that waits for its call collects results itself, one thread at a time, so that no other
// has to be woken first. An attendant thread does so for calls that nobody waits for. Any thread
// may call any member. Belongs to the process that made it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "arena/space.hpp"
#include "cohort/detail/block_ref.hpp"
#include "cohort/detail/task_body.hpp"
#include "cohort/detail/task_client.hpp"
#include "cohort/error.hpp"
#include "schedule/cells.hpp"
#include "schedule/courier.hpp"
#include "schedule/job.hpp"

namespace cohort::schedule {

struct RunProgress {
  std::uint64_t settled = 0;  // items
  std::uint64_t failed = 0;   // of them
  unsigned busy_workers = 0;
  unsigned workers = 0;
};

class Scheduler : public std::enable_shared_from_this<Scheduler> {
 public:
  struct Options {
    std::uint32_t workers = 1;
    bool start_on_demand = false;  // workers, else all at once
    const detail::Target* initializer = nullptr;
    std::uint64_t most_items_per_worker = 0;  // 0: any number
  };
  // Throws what encoding the initializer throws, and when the arena is exhausted.
  explicit Scheduler(const Options& options);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  struct RunOptions {
    JobOptions job;
    // Called by the waiting thread so often, and at the end.
    std::function<void(const RunProgress&)> progress{};
    os::Clock::duration period{};
  };
  // Runs all items; returns when body has the results, or throws (see cohort::Pool).
  void run(detail::TaskBody& body, const detail::TaskShape& shape, const RunOptions& options);
  // Begins a call whose client is told of its end. Waits while as many tasks are on their way as
  // there is room for. What encoding the items throws is the call's outcome. `begun` gets the call
  // before anything can happen to it.
  void submit(const std::shared_ptr<detail::TaskClient>& client, const detail::TaskShape& shape,
              const JobOptions& options, std::shared_ptr<detail::RunningCall>& begun);

  // Whether this is the process that made it; throws InvalidStateError if not.
  bool ours() const;
  void check_ours() const;

  // ---- for the handles of asynchronous calls
  bool await_end(Job& job, os::Deadline deadline);
  bool poll(Job& job);  // answers whether the job was begun
  bool cancel(Job& job, bool also_running);
  void want_delivery(Job& job);
  void post(const std::function<void()>& callback);

  // No new calls; workers leave when the running ones have ended.
  void close();
  // Running calls fail with `reason`, new ones too. The first reason stays.
  void fail_all(const std::exception_ptr& reason);
  // Asynchronous calls that no worker has begun end cancelled.
  void cancel_waiting();
  // After close(): collects until the last call has ended.
  void await_all();
  // After the workers have ended: returns when every callback has run.
  void drain();
  // After the workers have ended; then nothing happens here any more.
  void stop();
  bool closed() const { return closed_.load(std::memory_order_acquire); }
  bool workers_may_leave() const { return cells_.head().closing.load() != 0; }

  // ---- for whoever watches the workers
  struct Watch {
    std::function<void()> look;                                // something changed for the watcher
    std::function<void(std::uint32_t, arena::MemberId)> kill;  // a worker, if it is still that one
  };
  // Before the first call.
  void set_watch(Watch watch) { watch_ = std::move(watch); }
  // The watcher is about to go.
  void drop_watch();
  std::uint32_t workers() const { return cells_.head().workers; }
  // How many workers there is work for.
  std::uint32_t wanted() const { return wanted_.load(std::memory_order_acquire); }
  // The pool's number in the trace; 0 where there is none.
  int traced_as() const { return traced_as_; }
  const detail::BlockRef& block() const { return block_; }
  WorkerSlot& worker(std::uint32_t index) const { return cells_.worker(index); }
  // A worker has ended. Afterwards nothing of that worker's is needed.
  void settle(std::uint32_t index, const WorkerDeath& death);
  // Has the workers killed whose tasks are past their limits. Answers when to look again.
  os::Deadline end_overdue();
  // The exception of an initializer that threw; null if none did.
  std::exception_ptr initializer_error(std::uint32_t index);

 private:
  using Lock = std::unique_lock<std::mutex>;

  // The owner's notes on a task cell in use.
  struct Out {
    std::shared_ptr<Job> job;
    std::uint64_t first = 0;  // item
    std::uint32_t count = 0;
    Verdict verdict = Verdict::died;  // what it means if the worker dies
    os::Clock::time_point condemned;
    bool timed = false;
    Offset arguments = 0;
    std::vector<detail::BlockRef> handles;
    os::Clock::time_point sent;  // where there is a trace
  };
  // A thread that waits.
  struct Waiting;
  struct Waiter {
    const Job* job = nullptr;  // null: for news of any
    bool news = false;
    std::condition_variable changed;
  };
  struct Ended {
    std::shared_ptr<detail::TaskClient> client;
    bool cancelled;
  };

  void check_open() const;
  void begin(Job& job);
  void end(Job& job) noexcept;
  void end_asynchronous(Job& job);
  void fail(const std::shared_ptr<Job>& job, const std::exception_ptr& reason);
  void feed(const std::shared_ptr<Job>& job);
  void feed_items(const std::shared_ptr<Job>& job);
  bool may_feed(const Job& job) const;
  bool take_cell(Job& job, std::uint32_t& index);
  Out& reserve(std::uint32_t index, const std::shared_ptr<Job>& job);
  void send(std::uint32_t index, Out& out);
  void fill(std::uint32_t index, Out& out);
  bool publish(std::uint32_t index);
  void reset_outcome(TaskCell& task);
  void want_workers();

  // ---- waiting and collecting (collect.cpp)
  void await_news(Lock& lock, Waiter& me, os::Deadline deadline);
  void announce(const Job& job);
  void complete_ended(Lock& lock);
  void tell(Ended ended);
  void feed_hungry(Lock& lock);
  void attend();
  void wake_attendant();
  void release_attendant();
  bool anything_ended() const;
  void collect();
  unsigned busy_workers() const;

  // ---- what becomes of tasks (settle.cpp)
  template <class Visit>
  void for_each_task(const Job& job, Visit&& visit);
  bool begun(const Job& job);
  void revoke(const Job& job);
  bool revoke_task(std::uint32_t index);
  bool condemn(std::uint32_t index, Verdict verdict);
  void condemn_all(const Job& job, Verdict verdict);
  void take_results(std::uint32_t index, std::uint64_t items);
  void settle_done(std::uint32_t worker, Ticket ticket);
  void settle_claimed(std::uint32_t index, const WorkerDeath& death);
  void after_settling(Job& job);
  void trace(std::uint32_t index, std::uint64_t items, const char* outcome, pid_t pid);
  void set_free(std::uint32_t index);
  void let_workers_leave();

  arena::Space& space_;
  std::uint32_t epoch_ = arena::Space::epoch();
  arena::MemberId owner_;
  detail::BlockRef block_;
  Layout cells_;
  Offset initializer_ = 0;
  std::vector<detail::BlockRef> initializer_handles_;
  Watch watch_;
  std::atomic<std::uint32_t> wanted_{0};
  int traced_as_ = 0;

  std::mutex mutex_;
  std::deque<Out> out_;                                  // by task
  std::vector<std::uint32_t> unused_;                    // tasks of out_; the last is the warmest
  std::size_t on_their_way_ = 0;                         // tasks
  std::unique_ptr<std::atomic<std::uint64_t>[]> taken_;  // of each worker's done ring
  Job* active_ = nullptr;                                // a list
  std::size_t asynchronous_ = 0;                         // of the active ones
  std::size_t eager_ = 0;
  std::uint64_t timed_ = 0;  // tasks on their way that have a limit
  std::vector<std::shared_ptr<Job>> starved_;
  std::vector<std::shared_ptr<Job>> hungry_;  // asynchronous ones to feed
  std::vector<Ended> ended_;
  std::vector<Ended> spare_ended_;  // empty, with room
  std::size_t completing_ = 0;      // threads that tell clients
  std::vector<Waiter*> waiting_;
  Waiter* collector_ = nullptr;  // whose thread waits for results outside the lock
  std::exception_ptr failure_;
  std::atomic<bool> closed_{false};
  std::atomic<bool> alert_{false};  // the collector shall look up

  Courier courier_;
  bool stopping_ = false;
  Waiter attending_;
  std::condition_variable attend_;  // there may be something to attend to
  bool dozing_ = false;             // the attendant looks by itself only when it is told to
  std::condition_variable completed_;
  std::thread attendant_;
};

}  // namespace cohort::schedule
