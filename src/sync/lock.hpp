// The cell under Lock and RLock. Its word names the owning member, so that anybody can see that the
// owner is dead: then the lock is in doubt, every locker is told so, until somebody takes it by
// recovery. (The kernel's robust list would do as much for pthread mutexes, but gives up after
// 2,048 held locks, and knows no other thread than those that glibc made.)
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

#include "arena/space.hpp"
#include "cohort/lock.hpp"

namespace cohort::sync {

struct LockCell {
  enum class Taken { no, clean, in_doubt };
  enum class OnDoubt { refuse, take };

  std::atomic<std::uint32_t> word;    // the owner's MemberId | kWaiters | kDoubt; 0 when free
  std::atomic<std::uint32_t> thread;  // this_thread() of the owner; 0 unless the owner is at work
  std::atomic<std::uint32_t> depth;
  std::uint32_t recursive;
  std::atomic<std::int32_t> dead_pid;  // of the owner that left it in doubt
  char name[32];

  static constexpr std::uint32_t kWaiters = 1U << 31;
  static constexpr std::uint32_t kDoubt = 1U << 30;

  static arena::MemberId owner_in(std::uint32_t word) { return {word & ~(kWaiters | kDoubt)}; }

  bool owned(const arena::Space& space) const;
  // Takes a lock that this thread does not hold. OnDoubt::refuse throws LockOwnerDied instead of
  // taking one in doubt; OnDoubt::take never throws. Answers no after the deadline.
  Taken acquire(arena::Space& space, os::Deadline deadline, OnDoubt on_doubt);
  // Gives up all of it, by its owner.
  void release(arena::Space& space);

  std::string label(const arena::Space& space) const;

 private:
  bool try_take(arena::Space& space);
  void taken_by(arena::Space& space, std::uint32_t times);
  std::optional<Taken> try_once(arena::Space& space, OnDoubt on_doubt, bool slept);
  [[noreturn]] void refuse(const arena::Space& space) const;

  friend struct LockCheck;
};
static_assert(sizeof(LockCell) <= 64);

}  // namespace cohort::sync

namespace cohort {

// For the modules that hold a lock on behalf of their caller.
struct LockAccess {
  static sync::LockCell& cell(const BasicLock& lock) { return lock.cell(); }
};

}  // namespace cohort
