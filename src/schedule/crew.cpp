#include "schedule/crew.hpp"

#include <signal.h>

#include <string>
#include <utility>

#include "arena/members.hpp"
#include "cohort/detail/target.hpp"
#include "os/signals.hpp"
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

Crew::Crew(Scheduler& scheduler, std::uint32_t workers, StartMethod method)
    : scheduler_(scheduler), method_(method), places_(workers) {
  try {
    for (std::uint32_t index = 0; index < workers; ++index) {
      places_[index].child = start(index);
      places_[index].since = Clock::now();
    }
    os::SignalsBlocked blocked;  // and so they are in the new thread
    thread_ = std::thread([this] { supervise(); });
  } catch (...) {
    kill();
    for (std::uint32_t index = 0; index < workers; ++index) {
      if (places_[index].child) worker_ended(index);
    }
    throw;
  }
}

Crew::~Crew() { thread_.join(); }

std::shared_ptr<launch::Child> Crew::start(std::uint32_t index) {
  scheduler_.worker(index).stage.store(Stage::starting, std::memory_order_relaxed);
  auto target = detail::make_target(&worker_main, scheduler_.block(), index);
  return launch::Child::start({.name = next_name(),
                               .daemon = true,
                               .method = method_,
                               .flags = arena::kCollected,
                               .target = target.get()});
}

void Crew::kill() {
  std::lock_guard guard(mutex_);
  killed_ = true;
  for (auto& place : places_) {
    if (place.child) place.child->send(SIGKILL);
  }
  event_.signal();
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
    for (std::size_t ready : os::wait_any(fds, try_again_)) {
      if (ready == 0) {
        event_.drain();
      } else {
        worker_ended(static_cast<std::uint32_t>(ready - 1));
      }
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
  bool working = scheduler_.worker(index).stage.load() == Stage::working;
  scheduler_.settle(index, {.pid = child->pid(), .exitcode = code, .task = {}, .traceback = {}});
  arena::Space& space = arena::Space::here();
  space.members().collected(child->member());
  space.reclaim(child->member());
  {
    std::lock_guard guard(mutex_);
    Place& place = places_[index];
    place.child.reset();
    place.before += Clock::now() - place.since;
    try_again_ = Clock::now();
  }
  deaths_at_start_ = working ? 0 : deaths_at_start_ + 1;
  if (error) give_up("the pool's initializer threw", error);
  if (deaths_at_start_ == kMostDeathsAtStart) {
    auto how = std::make_exception_ptr(
        WorkerDied({.pid = child->pid(), .exitcode = code, .task = {}, .traceback = {}}));
    give_up("the pool's workers die before they can work; is it the initializer?", how);
  }
}

void Crew::fill_places() {
  if (!try_again_ || Clock::now() < *try_again_) return;
  try_again_.reset();
  if (given_up_ || scheduler_.workers_may_leave()) return;
  bool anybody = false;
  std::exception_ptr refused;
  for (std::uint32_t index = 0; index < places_.size(); ++index) {
    {
      std::lock_guard guard(mutex_);
      if (killed_) return;
      anybody = anybody || places_[index].child;
      if (places_[index].child) continue;
    }
    try {
      auto child = start(index);
      std::lock_guard guard(mutex_);
      Place& place = places_[index];
      place.child = child;
      place.since = Clock::now();
      ++place.restarts;
      anybody = true;
      if (killed_) child->send(SIGKILL);
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

std::vector<WorkerStats> Crew::stats() const {
  std::vector<WorkerStats> all;
  std::lock_guard guard(mutex_);
  for (std::uint32_t index = 0; index < places_.size(); ++index) {
    const Place& place = places_[index];
    const WorkerSlot& slot = scheduler_.worker(index);
    WorkerStats one;
    one.pid = place.child ? place.child->pid() : 0;
    one.tasks = slot.items.load(std::memory_order_relaxed);
    one.busy = std::chrono::nanoseconds(slot.busy_nanoseconds.load(std::memory_order_relaxed));
    auto alive = place.before;
    if (place.child) alive += Clock::now() - place.since;
    one.idle = std::max(alive - one.busy, std::chrono::nanoseconds(0));
    one.restarts = place.restarts;
    all.push_back(one);
  }
  return all;
}

}  // namespace cohort::schedule
