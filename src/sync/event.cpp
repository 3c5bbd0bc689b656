#include "sync/event.hpp"

#include <ostream>

#include "arena/block_refs.hpp"
#include "cohort/event.hpp"
#include "os/futex.hpp"
#include "os/step.hpp"
#include "sync/backoff.hpp"

namespace cohort {

namespace sync {

void EventCell::set() noexcept {
  std::uint32_t seen = word.load(std::memory_order_relaxed);
  std::uint32_t set = 0;
  do {
    // Set already: still what this caller did before comes before what a waiter does after.
    set = (seen & kSet) != 0 ? seen : ((seen & ~kSleepers) + kTurn) | kSet;
  } while (!word.compare_exchange_weak(seen, set, std::memory_order_acq_rel));
  os::step("event.set");
  if ((seen & kSleepers) != 0) os::futex_wake_all(word);
}

bool EventCell::set_since(std::uint32_t before) const noexcept {
  std::uint32_t now = word.load(std::memory_order_acquire);
  return (now & kSet) != 0 || now / kTurn != before / kTurn;
}

bool EventCell::wait(arena::Space& space, os::Deadline deadline) {
  const std::uint32_t before = word.load(std::memory_order_acquire);
  if ((before & kSet) != 0) return true;
  if (deadline && os::Clock::now() >= *deadline) return false;
  for (Backoff backoff; backoff.step();) {
    if (set_since(before)) return true;
  }
  while (!set_since(before)) {
    if (deadline && os::Clock::now() >= *deadline) return false;
    std::uint32_t asleep = (before & ~(kSet | kSleepers)) | kSleepers;
    std::uint32_t awake = asleep & ~kSleepers;
    // Either of the two, or else it was set.
    if (!word.compare_exchange_strong(awake, asleep) && awake != asleep) continue;
    os::step("event.sleeping");
    space.sleep_on(word, asleep, deadline);
    os::step("event.woken");
  }
  return true;
}

}  // namespace sync

Event::Event()
    : Handle(detail::BlockRefs::create(sizeof(sync::EventCell), arena::BlockKind::plain)) {}

sync::EventCell& Event::cell() const { return *reinterpret_cast<sync::EventCell*>(block().data()); }

void Event::set() const { cell().set(); }
void Event::clear() const { cell().clear(); }
bool Event::is_set() const { return cell().is_set(); }

bool Event::wait_until_deadline(detail::Deadline deadline) const {
  sync::EventCell& event = cell();
  return event.wait(arena::Space::here(), deadline);
}

std::ostream& operator<<(std::ostream& out, const Event& event) {
  return out << (event.is_set() ? "<Event set>" : "<Event unset>");
}

}  // namespace cohort
