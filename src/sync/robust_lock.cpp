#include "sync/robust_lock.hpp"

#include "os/futex.hpp"
#include "sync/backoff.hpp"

namespace cohort::sync {

bool RobustLock::try_take(std::uint32_t me) {
  std::uint32_t nobody = 0;
  return word.load(std::memory_order_relaxed) == 0 &&
         word.compare_exchange_strong(nobody, me, std::memory_order_acquire);
}

RobustLock::Taken RobustLock::lock(arena::Space& space) {
  if (try_take(space.self().raw)) return Taken::clean;
  return lock_slowly(space);
}

RobustLock::Taken RobustLock::lock_slowly(arena::Space& space) {
  const std::uint32_t me = space.self().raw;
  for (Backoff backoff; backoff.step();) {
    if (try_take(me)) return Taken::clean;
  }
  for (;;) {
    std::uint32_t seen = word.load(std::memory_order_acquire);
    if (seen == 0) {
      // Others may sleep still: whoever slept takes the lock with the mark of waiters.
      if (word.compare_exchange_strong(seen, me | kWaiters, std::memory_order_acquire))
        return Taken::clean;
      continue;
    }
    arena::MemberId owner{seen & ~kWaiters};
    if (space.members().is_dead(owner)) {
      if (word.compare_exchange_strong(seen, me | kWaiters, std::memory_order_acquire))
        return Taken::owner_died;
      continue;
    }
    if ((seen & kWaiters) == 0 && !word.compare_exchange_strong(seen, seen | kWaiters)) continue;
    // Nobody may have noticed its death: a janitor can be stopped, or not know of it yet.
    if (space.sleep_on(word, seen | kWaiters, std::nullopt) && space.members().process_gone(owner))
      space.bury(owner);
  }
}

std::optional<RobustLock::Taken> RobustLock::lock_soon(arena::Space& space) {
  const std::uint32_t me = space.self().raw;
  for (Backoff backoff; backoff.step();) {
    if (try_take(me)) return Taken::clean;
  }
  std::uint32_t seen = word.load(std::memory_order_acquire);
  const arena::MemberId owner{seen & ~kWaiters};
  if (!owner) return try_take(me) ? std::optional(Taken::clean) : std::nullopt;
  if (space.members().process_gone(owner)) space.bury(owner);
  if (space.members().is_dead(owner) &&
      word.compare_exchange_strong(seen, me | kWaiters, std::memory_order_acquire))
    return Taken::owner_died;
  return std::nullopt;
}

void RobustLock::unlock(arena::Space&) {
  if ((word.exchange(0, std::memory_order_release) & kWaiters) != 0) os::futex_wake(word, 1);
}

}  // namespace cohort::sync
