#include "cohort/condition.hpp"

#include <algorithm>
#include <functional>
#include <ostream>
#include <utility>
#include <vector>

#include "arena/block_refs.hpp"
#include "os/step.hpp"
#include "sync/lock.hpp"
#include "sync/waiter.hpp"

namespace cohort {

using arena::Offset;
using arena::Space;
using sync::LockCell;
using sync::Told;
using sync::Waiter;

namespace sync {

// Changed by holders of the condition's lock. Who waits is found by looking at the waiters'
// records, so there is no list here for a killed holder to leave broken.
struct ConditionCell {
  std::atomic<std::uint64_t> tickets;  // waits begun; they are notified in this order
  std::atomic<std::uint64_t> settled;  // of waits up to here nobody waits any more
};

namespace {

// Those who wait on a condition now, to be notified in the order in which they came.
class Waiters {
 public:
  Waiters(Space& space, Offset condition) {
    for_each_waiter(space, [&](Waiter& waiter) {
      const auto seen = waiter.state.load(std::memory_order_acquire);
      if (Waiter::told_in(seen) == Told::waiting && waiter.subject.load() == condition)
        heap_.push_back({waiter.ticket.load(std::memory_order_relaxed), seen, &waiter});
    });
    std::make_heap(heap_.begin(), heap_.end(), std::greater<>());
  }
  std::size_t size() const { return heap_.size(); }
  // Notifies the first whose time is not up. Answers whom; the caller wakes it.
  Waiter* notify_first() {
    while (!heap_.empty()) {
      std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
      const Wait first = heap_.back();
      heap_.pop_back();
      if (first.waiter->tell(first.seen, Told::notified)) return first.waiter;
    }
    return nullptr;
  }

 private:
  struct Wait {
    std::uint64_t ticket;
    std::uint32_t seen;
    Waiter* waiter;
    friend auto operator<=>(const Wait&, const Wait&) = default;
  };
  std::vector<Wait> heap_;
};

// A member died between being notified and going on: its notification is the next one's. (Should
// this be killed and done again, one may wake in vain.)
bool pass_on(Space& space, Offset place, arena::MemberId dead) {
  Waiter& gone = space.cell<Waiter>(place);
  // A notifier that took it for alive may tell it only now: then it is too late, and the notifier
  // goes on to the next.
  if (gone.member.load() == dead.raw && !gone.give_up() && gone.told() == Told::notified) {
    Waiter* next = Waiters(space, gone.subject.load()).notify_first();
    os::step("condition.passed_on");
    if (next) next->wake();
    gone.forget();
  }
  space.heap().release(place, arena::Owner::member(dead));
  return true;
}

[[maybe_unused]] const bool repaired = (arena::set_repair(arena::Purpose::waiter, pass_on), true);

}  // namespace
}  // namespace sync

Condition::Condition(const BasicLock& lock)
    : Handle(detail::BlockRefs::create(sizeof(sync::ConditionCell), arena::BlockKind::plain)),
      lock_(lock) {}

sync::ConditionCell& Condition::cell() const {
  return *reinterpret_cast<sync::ConditionCell*>(block().data());
}

void Condition::refuse() {
  throw InvalidStateError(
      "this thread does not hold the condition's lock: wait and notify under a guard of that lock");
}

bool Condition::wait_until_deadline(detail::Deadline deadline) const {
  sync::ConditionCell& condition = cell();
  LockCell& lock = LockAccess::cell(lock_);
  Space& space = Space::here();
  if (!lock.owned(space)) refuse();
  Waiter& waiter = Waiter::mine(space);
  waiter.prepare(block().offset(), condition.tickets.fetch_add(1, std::memory_order_relaxed) + 1);
  os::step("condition.enlisted");
  const std::uint32_t depth = lock.depth.load(std::memory_order_relaxed);
  lock.release(space);
  os::step("condition.unlocked");
  // Who died with the lock may have been about to notify: then it is for those who sleep to find
  // the lock in doubt. Those who find it repaired sleep on, unless the repairer has notified them.
  const auto lock_left = [&] { return lock.left_by_dead(space); };
  LockCell::Taken taken;
  for (;;) {
    waiter.sleep(space, deadline, lock_left);
    if (deadline && os::Clock::now() >= *deadline) waiter.give_up();
    os::step("condition.woken");
    // Without limit, as the contract of every guard is that it holds the lock again.
    taken = lock.acquire(space, std::nullopt, LockCell::OnDoubt::take_without_fail);
    if (taken == LockCell::Taken::in_doubt || waiter.told() != Told::waiting) break;
    lock.release(space);
  }
  const bool notified = waiter.told() == Told::notified;
  lock.depth.store(depth, std::memory_order_relaxed);
  os::step("condition.locked");
  waiter.forget();
  if (taken == LockCell::Taken::in_doubt)
    throw LockOwnerDied("a process died while it held the " + lock.label(space) +
                        ", and this wait has taken it in that state: call recover(), then repair "
                        "the data that it protects");
  return notified;
}

void Condition::notify(std::size_t count) const {
  sync::ConditionCell& condition = cell();
  Space& space = Space::here();
  LockCell& lock = LockAccess::cell(lock_);
  if (!lock.owned(space)) refuse();
  const auto begun = condition.tickets.load(std::memory_order_relaxed);
  if (count == 0 || condition.settled.load(std::memory_order_relaxed) == begun) return;
  sync::Waiters waiters(space, block().offset());
  os::step("condition.found");
  for (; count > 0; --count) {
    Waiter* next = waiters.notify_first();
    if (!next) break;
    os::step("condition.told");
    sync::wake_with(&lock, *next);
    lock.told_waiters.store(1, std::memory_order_relaxed);
  }
  if (waiters.size() == 0) condition.settled.store(begun, std::memory_order_relaxed);
}

std::size_t Condition::waiters() const {
  return sync::Waiters(Space::here(), block().offset()).size();
}

std::ostream& operator<<(std::ostream& out, const Condition& condition) {
  return out << "<Condition on " << condition.mutex() << " waiters=" << condition.waiters() << '>';
}

}  // namespace cohort
