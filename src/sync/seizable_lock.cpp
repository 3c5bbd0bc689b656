#include "sync/seizable_lock.hpp"

#include "os/futex.hpp"
#include "os/pidfd.hpp"
#include "os/step.hpp"
#include "sync/backoff.hpp"
#include "sync/half_word.hpp"

namespace cohort::sync {
namespace {

// A critical section takes microseconds: an owner that needs longer may be stopped.
constexpr std::chrono::milliseconds kSuspicious{2};

}  // namespace

SeizableLock::Held SeizableLock::lock_slowly(arena::Space& space) {
  const std::uint32_t me = space.self().raw;
  auto take = [&](std::uint64_t& seen, std::uint64_t turn, std::uint32_t mark) {
    return word.compare_exchange_strong(seen, turn << 32 | mark | me, std::memory_order_acquire);
  };
  for (Backoff backoff; backoff.step();) {
    std::uint64_t seen = word.load(std::memory_order_relaxed);
    if (static_cast<std::uint32_t>(seen) == 0 && take(seen, turn_of(seen), 0))
      return {turn_of(seen), Taken::clean, {}};
  }
  for (;;) {
    std::uint64_t seen = word.load(std::memory_order_acquire);
    const std::uint32_t turn = turn_of(seen);
    const arena::MemberId owner = owner_of(seen);
    // Others may sleep still: whoever may have slept takes the lock with the mark of waiters.
    if (!owner) {
      if (take(seen, turn, kWaiters)) return {turn, Taken::clean, {}};
      continue;
    }
    if (space.members().is_dead(owner)) {
      if (take(seen, turn, kWaiters)) return {turn, Taken::owner_died, {}};
      continue;
    }
    if ((seen & kWaiters) == 0 && !word.compare_exchange_strong(seen, seen | kWaiters)) continue;
    const auto& half = half_of(word, Half::low);
    if (!space.sleep_on(half, owner.raw | kWaiters, os::Clock::now() + kSuspicious)) continue;
    // Nobody may have noticed its death: a janitor can be stopped, or not know of it yet.
    if (space.members().process_gone(owner)) {
      space.bury(owner);
    } else if (owner.raw != me &&
               os::stopped(space.members().slot(owner).pid.load(std::memory_order_relaxed))) {
      seen = std::uint64_t{turn} << 32 | kWaiters | owner.raw;
      os::step("seizable_lock.seizing");
      if (take(seen, turn + 1, kWaiters)) return {turn + 1, Taken::seized, owner};
    }
  }
}

bool SeizableLock::unlock_slowly(arena::Space& space, const Held& held) {
  const std::uint64_t free = std::uint64_t{held.turn} << 32;
  std::uint64_t seen = free | kWaiters | space.self().raw;
  if (!word.compare_exchange_strong(seen, free, std::memory_order_release)) return false;
  os::futex_wake(half_of(word, Half::low), 1);
  return true;
}

}  // namespace cohort::sync
