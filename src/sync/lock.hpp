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
  enum class OnDoubt { refuse, take, take_without_fail };

  std::atomic<std::uint32_t> word;  // the owner's MemberId | kWaiters | kDoubt; 0 when free
  std::atomic<std::uint32_t> depth;
  // MemberId << 32 | this_thread() of the owner; 0, or a dead owner's, unless the owner is at work.
  // One word: a dead owner's thread must not pass for the thread of that number in the next one's
  // process.
  std::atomic<std::uint64_t> holder;
  std::uint32_t recursive;
  std::atomic<std::int32_t> dead_pid;  // of the owner that left it in doubt
  // Whether the owner has told waiters of a condition, whom it wakes when it gives the lock up:
  // before that they could not go on. A killed owner's are woken by its burial.
  std::atomic<std::uint32_t> told_waiters;
  char name[32];

  static constexpr std::uint32_t kWaiters = 1U << 31;
  static constexpr std::uint32_t kDoubt = 1U << 30;

  static arena::MemberId owner_in(std::uint32_t word) { return {word & ~(kWaiters | kDoubt)}; }

  bool owned(const arena::Space& space) const;
  // Whether a dead owner left it, and nobody has taken it since.
  bool left_by_dead(arena::Space& space) const;
  // this_thread() of this owner; 0 while it is taking the lock or giving it up.
  std::uint32_t thread_of(arena::MemberId owner) const;
  // Takes a lock that is nobody's and whole, at once.
  bool take_free(arena::Space& space);
  // Takes a lock that this thread does not hold. OnDoubt::refuse throws LockOwnerDied instead of
  // taking one in doubt; only take_without_fail never throws, and so sees no circle of waits.
  // Answers no after the deadline.
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
