// A lock cell whose owner's death is answered. Its word names the owning member, so that any waiter
// can see that the owner is dead and take the lock over. (The kernel's robust list would do it for
// pthread mutexes, but gives up after 2,048 held locks.)
//
// For short critical sections inside cohort: the owner never waits while it holds one.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "arena/space.hpp"

namespace cohort::sync {

struct RobustLock {
  enum class Taken { clean, owner_died };

  std::atomic<std::uint32_t> word;  // the owner's MemberId | kWaiters; 0 when free

  // After owner_died the caller mends what the lock protects before it goes on.
  [[nodiscard]] Taken lock(arena::Space& space);
  // The same, but gives up after a moment while its owner is alive: for who must wait for nobody.
  [[nodiscard]] std::optional<Taken> lock_soon(arena::Space& space);
  void unlock(arena::Space& space);

 private:
  static constexpr std::uint32_t kWaiters = 1U << 31;

  bool try_take(std::uint32_t me);
  Taken lock_slowly(arena::Space& space);
};

// Holds a RobustLock for a scope.
class Locked {
 public:
  Locked(RobustLock& lock, arena::Space& space)
      : lock_(lock), space_(space), taken_(lock.lock(space)) {}
  // One that was taken already.
  Locked(RobustLock& lock, arena::Space& space, RobustLock::Taken taken)
      : lock_(lock), space_(space), taken_(taken) {}
  ~Locked() { lock_.unlock(space_); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;
  bool owner_died() const { return taken_ == RobustLock::Taken::owner_died; }

 private:
  RobustLock& lock_;
  arena::Space& space_;
  RobustLock::Taken taken_;
};

}  // namespace cohort::sync
