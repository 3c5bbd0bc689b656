#include "schedule/crew.hpp"

#include <signal.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "arena/members.hpp"
#include "cohort/detail/target.hpp"
#include "os/pidfd.hpp"
#include "os/signals.hpp"
#include "schedule/trace.hpp"
#include "schedule/worker.hpp"

namespace cohort::schedule {
namespace {

using namespace std::chrono_literals;

// Workers that die one after the other before any could work: something is wrong with all of them.
constexpr int kMostDeathsAtStart = 10;
constexpr auto kPauseBeforeNextTry = 100ms;

std::string next_name() {
  static std::atomic<unsigned> last{0};
  return "PoolWorker-" + std::to_string(++last);
}

}  // namespace

Crew::Crew(Scheduler& scheduler, StartMethod method, const WorkerLimits& limits)
    : scheduler_(scheduler), method_(method), limits_(limits), places_(scheduler.workers()) {
  scheduler_.set_watch(
      {[this] { event_.signal(); }, [this](auto index, auto member) { kill_one(index, member); }});
  try {
    for (std::uint32_t index = 0; index < scheduler_.wanted(); ++index) {
      take_place(index, start(index));
    }
    os::SignalsBlocked blocked;  // and so they are in the new thread
    thread_ = std::thread([this] { supervise(); });
  } catch (...) {
    end(SIGKILL);
    for (std::uint32_t index = 0; index < places_.size(); ++index) {
      if (places_[index].child) worker_ended(index);
    }
    throw;
  }
}

void Crew::stop() {
  join();
  if (thread_.joinable()) thread_.join();
}

Crew::~Crew() {
  stop();
  scheduler_.drop_watch();
}

std::shared_ptr<launch::Child> Crew::start(std::uint32_t index) {
  scheduler_.worker(index).stage.store(Stage::starting, std::memory_order_relaxed);
  clear(scheduler_.worker(index).crash);
  auto target = detail::make_target(&worker_main, scheduler_.block(), index, limits_);
  return launch::Child::start({.name = next_name(),
                               .daemon = true,
                               .method = method_,
                               .flags = arena::kCollected,
                               .target = target.get()});
}

void Crew::end(int signal) {
  std::lock_guard guard(mutex_);
  killed_ = true;
  for (auto& place : places_) {
    if (place.child) place.child->send(signal);
  }
  event_.signal();
}

void Crew::kill_one(std::uint32_t index, arena::MemberId member) {
  std::lock_guard guard(mutex_);
  Place& place = places_[index];
  if (!place.child) {
    place.condemned = member;  // it works already, and is about to be put here
  } else if (place.child->member() == member) {
    place.child->send(SIGKILL);
  }
}

void Crew::take_place(std::uint32_t index, const std::shared_ptr<launch::Child>& child) {
  std::lock_guard guard(mutex_);
  Place& place = places_[index];
  place.child = child;
  place.since = Clock::now();
  if (killed_ || place.condemned == child->member()) child->send(SIGKILL);
  place.condemned = {};
}

// It ended, and somebody else reaped it, before a pidfd could be had.
bool Crew::gone_unwatched(std::uint32_t index) const {
  std::lock_guard guard(mutex_);
  return places_[index].child && places_[index].child->sentinel() < 0;
}

bool Crew::anybody_works() const {
  std::lock_guard guard(mutex_);
  for (std::uint32_t index = 0; index < places_.size(); ++index) {
    bool working = scheduler_.worker(index).stage.load() == Stage::working;
    if (places_[index].child && working) return true;
  }
  return false;
}

void Crew::join() {
  std::unique_lock lock(mutex_);
  event_.signal();
  ended_.wait(lock, [&] { return finished_; });
}

bool Crew::over() const {
  std::lock_guard guard(mutex_);
  if (!killed_ && !scheduler_.workers_may_leave()) return false;
  return std::all_of(places_.begin(), places_.end(),
                     [](const Place& place) { return place.child == nullptr; });
}

void Crew::supervise() {
  while (!over()) {
    std::vector<int> fds{event_.get()};
    {
      std::lock_guard guard(mutex_);
      for (const auto& place : places_) fds.push_back(place.child ? place.child->sentinel() : -1);
    }
    os::Deadline wake = scheduler_.end_overdue();
    if (try_again_ && (!wake || *try_again_ < *wake)) wake = try_again_;
    for (std::uint32_t index = 0; index < places_.size(); ++index) {
      if (gone_unwatched(index)) wake = Clock::time_point{};
    }
    for (std::size_t ready : os::wait_any(fds, wake)) {
      if (ready == 0) {
        event_.drain();
      } else {
        worker_ended(static_cast<std::uint32_t>(ready - 1));
      }
    }
    for (std::uint32_t index = 0; index < places_.size(); ++index) {
      if (gone_unwatched(index)) worker_ended(index);
    }
    fill_places();
  }
  std::lock_guard guard(mutex_);
  finished_ = true;
  ended_.notify_all();
}

void Crew::worker_ended(std::uint32_t index) {
  std::shared_ptr<launch::Child> child;
  {
    std::lock_guard guard(mutex_);
    child = places_[index].child;
  }
  // Buried by this; its blocks and what it holds stay until we say that we have collected them.
  int code = child->wait(std::nullopt).value_or(-SIGKILL);
  auto error = scheduler_.initializer_error(index);
  auto stage = scheduler_.worker(index).stage.load();
  bool working = stage == Stage::working || stage == Stage::retired;
  WorkerDeath death = describe_death(index, child->pid(), code);
  scheduler_.settle(index, death);
  trace_life(index, death);
  arena::Space& space = arena::Space::here();
  space.members().collected(child->member());
  space.reclaim(child->member());
  {
    std::lock_guard guard(mutex_);
    Place& place = places_[index];
    place.child.reset();
    place.before += Clock::now() - place.since;
    if (stage != Stage::retired) ++place.restarts;
  }
  try_again_ = Clock::now() + (working ? 0ms : kPauseBeforeNextTry);
  deaths_at_start_ = working || anybody_works() ? 0 : deaths_at_start_ + 1;
  if (error) give_up("the pool's initializer threw", error);
  if (deaths_at_start_ == kMostDeathsAtStart) {
    give_up("the pool's workers die before they can work; is it the initializer?",
            std::make_exception_ptr(WorkerDied(death)));
  }
}

void Crew::trace_life(std::uint32_t index, const WorkerDeath& death) const {
  auto* recorder = scheduler_.traced_as() ? trace::Recorder::current() : nullptr;
  if (!recorder) return;
  const char* signal = death.exitcode < 0 ? ::sigabbrev_np(-death.exitcode) : nullptr;
  std::string how = signal                ? std::string("killed by SIG") + signal
                    : death.exitcode == 0 ? "left"
                                          : "exited with " + std::to_string(death.exitcode);
  std::lock_guard guard(mutex_);
  recorder->life({.pool = scheduler_.traced_as(),
                  .worker = index,
                  .pid = death.pid,
                  .started = places_[index].since,
                  .ended = Clock::now(),
                  .how = how});
}

WorkerDeath Crew::describe_death(std::uint32_t index, pid_t pid, int code) const {
  WorkerDeath death;
  death.pid = pid;
  death.exitcode = code;
  try {
    const CrashReport& crash = scheduler_.worker(index).crash;
    // A program may have mended a fault and gone on.
    if (code < 0 && code == -crash.signal.load()) death.traceback = describe(crash);
  } catch (const std::exception&) {
    // Out of memory or descriptors: then without.
  }
  return death;
}

// The scheduler wants more than there are.
bool Crew::places_missing() const {
  std::lock_guard guard(mutex_);
  for (std::uint32_t index = 0; index < scheduler_.wanted(); ++index) {
    if (!places_[index].child) return true;
  }
  return false;
}

void Crew::fill_places() {
  if (try_again_ ? Clock::now() < *try_again_ : !places_missing()) return;
  try_again_.reset();
  if (given_up_ || scheduler_.workers_may_leave()) return;
  bool anybody = false;
  std::exception_ptr refused;
  for (std::uint32_t index = 0; index < scheduler_.wanted(); ++index) {
    {
      std::lock_guard guard(mutex_);
      if (killed_) return;
      anybody = anybody || places_[index].child;
      if (places_[index].child) continue;
    }
    try {
      take_place(index, start(index));
      anybody = true;
    } catch (...) {
      refused = std::current_exception();
    }
  }
  if (refused && !anybody) give_up("the pool's workers died and no others can be started", refused);
  if (refused) try_again_ = Clock::now() + kPauseBeforeNextTry;
}

void Crew::give_up(const std::string& why, const std::exception_ptr& cause) {
  if (std::exchange(given_up_, true)) return;
  try {
    try {
      std::rethrow_exception(cause);
    } catch (const std::exception& error) {
      std::throw_with_nested(BrokenPool(why + ": " + error.what()));
    } catch (...) {
      std::throw_with_nested(BrokenPool(why));
    }
  } catch (...) {
    scheduler_.fail_all(std::current_exception());
  }
}

std::vector<WorkerStats> Crew::stats() {
  std::vector<WorkerStats> all;
  std::lock_guard guard(mutex_);
  for (std::uint32_t index = 0; index < places_.size(); ++index) {
    Place& place = places_[index];
    const WorkerSlot& slot = scheduler_.worker(index);
    WorkerStats one;
    one.pid = place.child ? place.child->pid() : 0;
    one.tasks = slot.items.load(std::memory_order_relaxed);
    one.busy = std::chrono::nanoseconds(slot.busy_nanoseconds.load(std::memory_order_relaxed));
    auto alive = place.before;
    if (place.child) alive += Clock::now() - place.since;
    one.idle = std::max(alive - one.busy, std::chrono::nanoseconds(0));
    one.restarts = place.restarts;
    if (one.pid) place.peak_memory = std::max(place.peak_memory, os::peak_memory_of(one.pid));
    one.peak_memory = place.peak_memory;
    all.push_back(one);
  }
  return all;
}

}  // namespace cohort::schedule
