// A lock cell whose owner may die, or be stopped: then the lock is seized, and whoever was robbed
// of it finds out when it is done. So what the lock protects is committed by compare-and-swap, to a
// word that the next owner has changed, and what a robbed owner may still write to is left to it.
// The lock itself only keeps others from working for nothing.
//
// For short critical sections inside cohort: the owner never waits while it holds one.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "arena/space.hpp"

namespace cohort::sync {

struct SeizableLock {
  // The turn, which counts seizures, << 32 | kWaiters | the owner's MemberId; no owner: free.
  std::atomic<std::uint64_t> word;

  enum class Taken { clean, owner_died, seized };
  struct Held {
    std::uint32_t turn = 0;
    Taken taken = Taken::clean;
    arena::MemberId robbed;  // who may still be at work when it is continued
  };

  // After anything but clean the caller mends what the lock protects before it goes on.
  [[nodiscard]] Held lock(arena::Space& space) {
    std::uint64_t seen = word.load(std::memory_order_relaxed);
    if (static_cast<std::uint32_t>(seen) == 0 &&
        word.compare_exchange_strong(seen, seen | space.self().raw, std::memory_order_acquire))
        [[likely]]
      return {turn_of(seen), Taken::clean, {}};
    return lock_slowly(space);
  }
  // Answers false when the lock was seized: then it is not given up, since it is another's.
  bool unlock(arena::Space& space, const Held& held) {
    const std::uint64_t free = std::uint64_t{held.turn} << 32;
    std::uint64_t seen = free | space.self().raw;
    if (word.compare_exchange_strong(seen, free, std::memory_order_release)) [[likely]]
      return true;
    return unlock_slowly(space, held);
  }
  bool held(arena::Space& space, const Held& held) const noexcept {
    return (word.load(std::memory_order_acquire) & ~std::uint64_t{kWaiters}) ==
           (std::uint64_t{held.turn} << 32 | space.self().raw);
  }

 private:
  static constexpr std::uint32_t kWaiters = 1U << 31;
  static std::uint32_t turn_of(std::uint64_t word) {
    return static_cast<std::uint32_t>(word >> 32);
  }
  static arena::MemberId owner_of(std::uint64_t word) {
    return {static_cast<std::uint32_t>(word) & ~kWaiters};
  }

  Held lock_slowly(arena::Space& space);
  bool unlock_slowly(arena::Space& space, const Held& held);
};

// Holds a SeizableLock for a scope.
class Seizable {
 public:
  Seizable(SeizableLock& lock, arena::Space& space)
      : lock_(lock), space_(space), held_(lock.lock(space)) {}
  ~Seizable() { lock_.unlock(space_, held_); }
  Seizable(const Seizable&) = delete;
  Seizable& operator=(const Seizable&) = delete;

  std::uint32_t turn() const noexcept { return held_.turn; }
  SeizableLock::Taken taken() const noexcept { return held_.taken; }
  arena::MemberId robbed() const noexcept { return held_.robbed; }
  // Whether it is still ours; it may be seized the moment after.
  bool still_held() const noexcept { return lock_.held(space_, held_); }

 private:
  SeizableLock& lock_;
  arena::Space& space_;
  SeizableLock::Held held_;
};

}  // namespace cohort::sync
