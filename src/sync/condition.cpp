#include "cohort/condition.hpp"

#include <algorithm>
#include <ostream>
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

std::vector<Waiter*> waiters_of(Space& space, Offset condition) {
  std::vector<Waiter*> waiters;
  for_each_waiter(space, [&](Waiter& waiter) {
    if (waiter.told() == Told::waiting && waiter.subject.load() == condition)
      waiters.push_back(&waiter);
  });
  std::sort(waiters.begin(), waiters.end(), [](const Waiter* a, const Waiter* b) {
    return a->ticket.load(std::memory_order_relaxed) < b->ticket.load(std::memory_order_relaxed);
  });
  return waiters;
}

// A member died between being notified and going on: its notification is the next one's. (Should
// this be killed and done again, one may wake in vain.)
void pass_on(Space& space, Offset place, arena::MemberId dead) {
  Waiter& gone = space.cell<Waiter>(place);
  if (gone.member.load() == dead.raw && gone.told() == Told::signalled) {
    for (Waiter* next : waiters_of(space, gone.subject.load())) {
      if (!next->tell(Told::signalled)) continue;
      os::step("condition.passed_on");
      next->wake();
      break;
    }
    gone.forget();
  }
  space.heap().release(place, arena::Owner::member(dead));
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
  waiter.sleep(space, deadline, [] {});
  const bool notified = !waiter.tell(Told::idle);
  os::step("condition.woken");
  // Without limit, as the contract of every guard is that it holds the lock again.
  const auto taken = lock.acquire(space, std::nullopt, LockCell::OnDoubt::take);
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
  if (!LockAccess::cell(lock_).owned(space)) refuse();
  const auto begun = condition.tickets.load(std::memory_order_relaxed);
  if (count == 0 || condition.settled.load(std::memory_order_relaxed) == begun) return;
  const auto waiters = sync::waiters_of(space, block().offset());
  std::size_t reached = 0;
  for (; reached < waiters.size() && count > 0; ++reached) {
    if (!waiters[reached]->tell(Told::signalled)) continue;  // its time was up
    os::step("condition.told");
    waiters[reached]->wake();
    os::step("condition.woke");
    --count;
  }
  if (reached == waiters.size()) condition.settled.store(begun, std::memory_order_relaxed);
}

std::size_t Condition::waiters() const {
  return sync::waiters_of(Space::here(), block().offset()).size();
}

std::ostream& operator<<(std::ostream& out, const Condition& condition) {
  return out << "<Condition on " << condition.mutex() << " waiters=" << condition.waiters() << '>';
}

}  // namespace cohort
