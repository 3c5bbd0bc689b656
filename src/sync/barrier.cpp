#include "sync/barrier.hpp"

#include <ostream>
#include <stdexcept>
#include <string>

#include "arena/block_refs.hpp"
#include "cohort/barrier.hpp"
#include "os/futex.hpp"
#include "os/step.hpp"
#include "sync/backoff.hpp"

namespace cohort {

namespace sync {

BarrierCell::Arrival BarrierCell::arrive(arena::Space& space, os::Deadline deadline, bool action) {
  for (;;) {
    std::uint64_t seen = 0;
    std::optional<Arrival> arrival;
    {
      Locked guard(lock, space);
      seen = state.load(std::memory_order_acquire);
      if (is_broken(seen)) throw BrokenBarrier();
      arrival = enter(space, seen, action);
    }
    if (!arrival) {
      sleep(space, seen, deadline);
      continue;
    }
    if (arrival->last && !action && parties > 1) wake();
    return *arrival;
  }
}

// Answers nothing while the last one acts, or when this would be the last and a party is dead.
std::optional<BarrierCell::Arrival> BarrierCell::enter(arena::Space& space, std::uint64_t seen,
                                                       bool action) noexcept {
  const std::uint32_t place = came_to(seen);
  const bool last = place + 1 == parties;
  if (place == parties || (last && somebody_died(space, seen))) return std::nullopt;
  if (last && !action) {
    pass(seen);
  } else {
    members()[place].store(space.self().raw, std::memory_order_relaxed);
    os::step("barrier.named");
    came.store((std::uint64_t{round(seen)} << kRoundShift) | (place + 1),
               std::memory_order_release);
    os::step("barrier.came");
  }
  return Arrival{seen, place, last};
}

void BarrierCell::wait(arena::Space& space, const Arrival& arrival, os::Deadline deadline) {
  sleep(space, arrival.seen, deadline);
  if (!passed(space, arrival.seen)) throw BrokenBarrier();
}

void BarrierCell::acted(arena::Space& space, const Arrival& arrival) {
  {
    Locked guard(lock, space);
    std::uint64_t now = state.load(std::memory_order_acquire);
    if (round(now) != round(arrival.seen)) throw BrokenBarrier();
    pass(now);
  }
  wake();
}

void BarrierCell::abort(arena::Space& space, std::optional<std::uint64_t> seen) {
  {
    Locked guard(lock, space);
    std::uint64_t now = state.load(std::memory_order_acquire);
    if (is_broken(now) || (seen && round(now) != round(*seen))) return;
    fail(now, true);
  }
  wake();
}

void BarrierCell::reset(arena::Space& space) {
  {
    Locked guard(lock, space);
    std::uint64_t now = state.load(std::memory_order_acquire);
    if (is_broken(now)) {
      state.store(now & ~kBroken, std::memory_order_release);
    } else if (came_to(now) != 0) {
      fail(now, false);
    }
  }
  wake();
}

void BarrierCell::pass(std::uint64_t seen) noexcept {
  os::step("barrier.passing");
  state.store(made(round(seen) + 1, failures(seen), false), std::memory_order_release);
  os::step("barrier.passed");
}

void BarrierCell::fail(std::uint64_t seen, bool broken_then) noexcept {
  failed[failures(seen) % failed.size()].store(round(seen), std::memory_order_relaxed);
  os::step("barrier.failing");
  state.store(made(round(seen) + 1, failures(seen) + 1, broken_then), std::memory_order_release);
  os::step("barrier.failed");
}

void BarrierCell::wake() noexcept {
  os::step("barrier.waking");
  os::futex_wake_all(turn());
}

std::uint32_t BarrierCell::came_to(std::uint64_t seen) const noexcept {
  std::uint64_t now = came.load(std::memory_order_acquire);
  return round(now) == round(seen) ? static_cast<std::uint32_t>(now) : 0;
}

// Without the lock only a hint: they may be another round's by now.
bool BarrierCell::somebody_died(arena::Space& space, std::uint64_t seen) noexcept {
  const std::uint32_t count = came_to(seen);
  for (std::uint32_t i = 0; i < count; ++i) {
    arena::MemberId member{members()[i].load(std::memory_order_relaxed)};
    if (space.members().is_dead(member)) return true;
  }
  return false;
}

void BarrierCell::sleep(arena::Space& space, std::uint64_t seen, os::Deadline deadline) {
  auto ended = [&] { return round(state.load(std::memory_order_acquire)) != round(seen); };
  for (Backoff backoff; backoff.step();) {
    if (ended()) return;
  }
  while (!ended()) {
    if ((deadline && os::Clock::now() >= *deadline) || somebody_died(space, seen)) {
      abort(space, seen);
      return;
    }
    os::step("barrier.sleeping");
    space.sleep_on(turn(), round(seen), deadline);
    os::step("barrier.woken");
  }
}

// How a past round ended. Whoever sleeps through sixty-three failures learns no more than that.
bool BarrierCell::passed(arena::Space& space, std::uint64_t before) {
  if (failures(state.load(std::memory_order_acquire)) == failures(before)) return true;
  Locked guard(lock, space);
  constexpr std::uint32_t kCountMask = ~std::uint32_t{0} >> 1;
  const std::uint32_t now = failures(state.load(std::memory_order_acquire));
  if (((now - failures(before)) & kCountMask) >= failed.size()) return false;
  for (std::uint32_t i = failures(before); i != now; i = (i + 1) & kCountMask) {
    if (failed[i % failed.size()].load(std::memory_order_relaxed) == round(before)) return false;
  }
  return true;
}

}  // namespace sync

using sync::BarrierCell;

namespace {

detail::BlockRef block_for(std::int64_t parties) {
  if (parties < 1 || parties > BarrierCell::kMostParties)
    throw std::invalid_argument("a barrier has 1 to 65536 parties, not " + std::to_string(parties));
  return detail::BlockRefs::create(BarrierCell::bytes_for(static_cast<std::uint32_t>(parties)),
                                   arena::BlockKind::plain);
}

}  // namespace

Barrier::Barrier(std::int64_t parties, detail::Action action,
                 std::optional<std::chrono::nanoseconds> timeout)
    : Handle(block_for(parties)), action_(std::move(action)) {
  BarrierCell& fresh = cell();
  fresh.parties = static_cast<std::uint32_t>(parties);
  fresh.timed = timeout.has_value();
  fresh.timeout = timeout.value_or(std::chrono::nanoseconds::zero()).count();
}

BarrierCell& Barrier::cell() const { return *reinterpret_cast<BarrierCell*>(block().data()); }

detail::Deadline Barrier::default_deadline() const {
  const BarrierCell& barrier = cell();
  if (!barrier.timed) return std::nullopt;
  return detail::deadline_after(std::chrono::nanoseconds(barrier.timeout));
}

std::size_t Barrier::wait_until_deadline(detail::Deadline deadline) const {
  BarrierCell& barrier = cell();
  arena::Space& space = arena::Space::here();
  BarrierCell::Arrival arrival = barrier.arrive(space, deadline, static_cast<bool>(action_));
  if (!arrival.last) {
    barrier.wait(space, arrival, deadline);
  } else if (action_) {
    try {
      action_();
    } catch (...) {
      barrier.abort(space, arrival.seen);
      throw;
    }
    barrier.acted(space, arrival);
  }
  return arrival.place;
}

void Barrier::abort() const {
  BarrierCell& barrier = cell();
  barrier.abort(arena::Space::here());
}

void Barrier::reset() const {
  BarrierCell& barrier = cell();
  barrier.reset(arena::Space::here());
}

std::size_t Barrier::parties() const { return cell().parties; }
std::size_t Barrier::n_waiting() const { return cell().waiting(); }
bool Barrier::broken() const { return cell().broken(); }

std::ostream& operator<<(std::ostream& out, const Barrier& barrier) {
  if (barrier.broken()) return out << "<Barrier broken>";
  return out << "<Barrier waiting=" << barrier.n_waiting() << " of " << barrier.parties() << '>';
}

}  // namespace cohort
