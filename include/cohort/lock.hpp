// Locks between processes, and between their threads.
//
// A lock belongs to the thread that took it. When a thread's process dies while it holds a lock,
// the data under it may be half changed: every later lock() throws LockOwnerDied, until somebody
// calls recover(), which takes the lock and says that the data are whole again.
#pragma once

#include <chrono>
#include <cstddef>
#include <iosfwd>
#include <string>
#include <string_view>

#include "cohort/detail/deadline.hpp"
#include "cohort/detail/handle.hpp"
#include "cohort/error.hpp"

namespace cohort {

namespace sync {
struct LockCell;
}

struct LockOptions {
  // Shown in errors and in the deadlock report; at most 31 bytes, the rest is cut off.
  std::string_view name = {};
};

// What Lock and RLock have in common, and a handle to either. Any thread of any process of the
// program may use it. TimedLockable: std::scoped_lock, std::unique_lock and std::lock take it.
class BasicLock : public detail::Handle {
 public:
  // Waits until the lock is free and takes it. Throws LockOwnerDied; DeadlockError when this thread
  // holds a Lock already, and where COHORT_LOCK_CHECK=1 is set in the environment, when this wait
  // would close a circle of holders that wait for each other, in whatever processes.
  void lock() const;
  // At once, or not. Throws LockOwnerDied. A Lock that this thread holds answers false.
  bool try_lock() const;
  template <class Rep, class Period>
  bool try_lock_for(std::chrono::duration<Rep, Period> limit) const {
    return lock_until(detail::deadline_after(limit));
  }
  template <class Clock, class Duration>
  bool try_lock_until(std::chrono::time_point<Clock, Duration> when) const {
    return lock_until(detail::deadline_at(when));
  }
  // Throws InvalidStateError when this thread does not hold it.
  void unlock() const;

  // Takes the lock, whatever state it is in, and marks what it protects as whole. Answers whether
  // that was in doubt: true to the one caller who has to repair it. (Once, where this thread holds
  // it already.) May throw DeadlockError.
  bool recover() const;

  bool locked() const;  // by anybody, the dead included
  bool owned() const;   // by this thread
  bool recursive() const;
  // How often this thread has taken it and not given it back: 0 or 1 for a Lock.
  std::size_t depth() const;
  std::string name() const;

  // Whether both are handles to the same lock.
  friend bool operator==(const BasicLock& a, const BasicLock& b) noexcept {
    return a.same_block(b);
  }
  // <Lock name=NAME locked by NAME pid=PID>
  friend std::ostream& operator<<(std::ostream& out, const BasicLock& lock);

  template <class Archive>
  BasicLock(detail::Restore restore, Archive& archive) : Handle(restore, archive) {}

 protected:
  BasicLock(bool recursive, const LockOptions& options);

 private:
  friend struct LockAccess;
  bool lock_until(detail::Deadline deadline) const;
  sync::LockCell& cell() const;
};

// One owner at a time.
class Lock : public BasicLock {
 public:
  Lock() : Lock(LockOptions()) {}
  explicit Lock(const LockOptions& options) : BasicLock(false, options) {}
  template <class Archive>
  Lock(detail::Restore restore, Archive& archive) : BasicLock(restore, archive) {}
};

// The owner may take it again, and gives it back as often.
class RLock : public BasicLock {
 public:
  RLock() : RLock(LockOptions()) {}
  explicit RLock(const LockOptions& options) : BasicLock(true, options) {}
  template <class Archive>
  RLock(detail::Restore restore, Archive& archive) : BasicLock(restore, archive) {}
};

}  // namespace cohort
