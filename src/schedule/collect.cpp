// Threads that wait for results, and who of them collects.
#include <algorithm>
#include <bit>
#include <utility>

#include "os/signals.hpp"
#include "schedule/scheduler.hpp"
#include "schedule/task_queue.hpp"
#include "sync/backoff.hpp"

namespace cohort::schedule {

using namespace std::chrono_literals;

namespace {

// How long the result of a call that nobody waits for may stay uncollected.
constexpr auto kLeisure = 20ms;
// For so many times of leisure without any call the attendant looks for new ones itself, so that
// calls one after the other need not wake it.
constexpr int kMostIdle = 25;

}  // namespace

bool Scheduler::anything_ended() const {
  for (std::uint32_t index = 0; index < cells_.head().workers; ++index) {
    std::uint64_t taken = taken_[index].load(std::memory_order_relaxed);
    if (cells_.worker(index).ended.load(std::memory_order_acquire) != taken) return true;
  }
  return false;
}

void Scheduler::collect() {
  for (std::uint32_t index = 0; index < cells_.head().workers; ++index) {
    std::uint64_t taken = taken_[index].load(std::memory_order_relaxed);
    std::uint64_t ended = cells_.worker(index).ended.load(std::memory_order_acquire);
    if (taken == ended) continue;
    taken_[index].store(ended, std::memory_order_relaxed);
    for (; taken != ended; ++taken)
      settle_done(index, Ticket{cells_.done(index, taken).load(std::memory_order_relaxed)});
  }
}

// Known to the others for as long as it waits, however that ends.
struct Scheduler::Waiting {
  Waiting(Scheduler& here, Lock& locked, Waiter& who) : all(here), lock(locked), me(who) {
    all.waiting_.push_back(&me);
  }
  ~Waiting() {
    if (!lock.owns_lock()) lock.lock();
    if (all.collector_ == &me) all.collector_ = nullptr;
    std::erase(all.waiting_, &me);
    // Somebody else has to collect from now on.
    if (!all.collector_ && !all.waiting_.empty()) all.waiting_.front()->changed.notify_one();
  }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

  Scheduler& all;
  Lock& lock;
  Waiter& me;
};

// Returns when there are news for `me`, or at the deadline.
void Scheduler::await_news(Lock& lock, Waiter& me, os::Deadline deadline) {
  sync::Doorbell& bell = cells_.head().owner_bell;
  auto late = [&] { return deadline && os::Clock::now() >= *deadline; };
  Waiting waiting(*this, lock, me);
  for (;;) {
    collect();
    complete_ended(lock);
    if (std::exchange(me.news, false) || late()) break;
    if (collector_) {
      if (deadline) {
        me.changed.wait_until(lock, *deadline);
      } else {
        me.changed.wait(lock);
      }
      continue;
    }
    collector_ = &me;
    lock.unlock();
    // Nobody else collects meanwhile, except who holds the lock: then there is an alert.
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
}

void Scheduler::announce(const Job& job) {
  for (Waiter* waiter : waiting_) {
    if (waiter->job && waiter->job != &job) continue;
    waiter->news = true;
    waiter->changed.notify_one();
    if (waiter != collector_) continue;
    // Its results were collected by another thread.
    alert_.store(true, std::memory_order_release);
    cells_.head().owner_bell.ring();
  }
}

// Tells the clients of calls that have ended; the lock is let go of meanwhile.
void Scheduler::complete_ended(Lock& lock) {
  while (!ended_.empty()) {
    auto ended = std::exchange(ended_, std::move(spare_ended_));
    ++completing_;
    lock.unlock();
    for (auto& one : ended) tell(std::move(one));
    ended.clear();
    lock.lock();
    spare_ended_ = std::move(ended);
    if (--completing_ == 0) completed_.notify_all();
  }
}

void Scheduler::tell(Ended ended) {
  bool by_courier = ended.client->has_callbacks();
  auto now = [ended = std::move(ended)] {
    ended.cancelled ? ended.client->call_cancelled() : ended.client->call_ended();
  };
  by_courier ? post(now) : now();
}

void Scheduler::feed_hungry(Lock& lock) {
  while (!hungry_.empty()) {
    auto job = std::move(hungry_.back());
    hungry_.pop_back();
    lock.unlock();
    feed(job);
    job.reset();
    lock.lock();
  }
}

bool Scheduler::await_end(Job& job, os::Deadline deadline) {
  check_ours();
  Waiter me{.job = &job, .news = false, .changed = {}};
  Lock lock(mutex_);
  while (!job.over) {
    if (deadline && os::Clock::now() >= *deadline) return false;
    await_news(lock, me, deadline);
    feed_hungry(lock);
  }
  return true;
}

bool Scheduler::poll(Job& job) {
  check_ours();
  Lock lock(mutex_);
  collect();
  bool answer = begun(job);
  complete_ended(lock);
  feed_hungry(lock);
  return answer;
}

void Scheduler::wake_attendant() {
  if (attendant_.joinable()) {
    attend_.notify_one();
    return;
  }
  os::SignalsBlocked blocked;  // and so they are in the new thread
  attendant_ = std::thread([this] { attend(); });
}

// A thread that waits for its own call shall collect from now on.
void Scheduler::release_attendant() {
  attending_.news = true;
  attending_.changed.notify_one();
  if (collector_ != &attending_) return;
  alert_.store(true, std::memory_order_release);
  cells_.head().owner_bell.ring();
}

// Collects for calls whose ends somebody is to be told of, and at leisure for those that nobody
// waits for.
void Scheduler::attend() {
  Lock lock(mutex_);
  for (int idle = 0; !stopping_;) {
    if (eager_ != 0 || (closed_ && active_)) {
      await_news(lock, attending_, std::nullopt);
    } else if (idle < kMostIdle || asynchronous_ != 0) {
      attend_.wait_for(lock, kLeisure);
      collect();
      idle = asynchronous_ == 0 ? idle + 1 : 0;
    } else {
      dozing_ = true;
      attend_.wait(lock);
      dozing_ = false;
      idle = 0;
    }
    complete_ended(lock);
    feed_hungry(lock);
  }
}

void Scheduler::drain() {
  {
    Lock lock(mutex_);
    collect();
    complete_ended(lock);
    completed_.wait(lock, [&] { return completing_ == 0; });
  }
  courier_.drain();
}

void Scheduler::stop() {
  {
    Lock lock(mutex_);
    stopping_ = true;
    release_attendant();
    attend_.notify_one();
  }
  if (attendant_.joinable()) attendant_.join();
  drain();
}

unsigned Scheduler::busy_workers() const {
  const SchedulerCell& head = cells_.head();
  unsigned idle = 0;
  for (std::uint32_t word = 0; word < (head.workers + 63) / 64; ++word) {
    idle += static_cast<unsigned>(
        std::popcount(head.searching[word].load() | head.sleeping[word].load()));
  }
  return idle < head.workers ? head.workers - idle : 0;
}

}  // namespace cohort::schedule
