// Condition variables between processes.
#pragma once

#include <chrono>
#include <cstddef>
#include <iosfwd>
#include <limits>
#include <utility>

#include "cohort/lock.hpp"

namespace cohort {

namespace sync {
struct ConditionCell;
}

// Something that holds the condition's lock, as std::unique_lock of a Lock, an RLock or the
// Condition itself.
template <class Guard>
concept LockGuard = requires(Guard& guard) {
  guard.owns_lock();
  guard.mutex();
};

// Waiters are notified in the order in which they came. A waiter that dies swallows no
// notification: one that was its goes to the next, even to one that came later. They do not wake
// for nothing, but perhaps after such a death: so wait for a predicate.
//
// Waits and notifications throw InvalidStateError when this thread does not hold the lock. A wait
// whose lock's owner died meanwhile throws LockOwnerDied, *with the lock held*, so that guards stay
// right: call recover() and repair the data, or let the guard go, and the next owner is told the
// same.
class Condition : public detail::Handle {
 public:
  // With an RLock of its own.
  Condition() : Condition(RLock()) {}
  explicit Condition(const BasicLock& lock);

  // Gives the lock back, however often this thread has it, sleeps until notified, and takes it as
  // often again.
  template <LockGuard Guard>
  void wait(Guard& guard) const {
    check(guard);
    wait_until_deadline(std::nullopt);
  }
  // Waits until predicate() holds.
  template <LockGuard Guard, class Predicate>
  void wait(Guard& guard, Predicate predicate) const {
    check(guard);
    while (!predicate()) wait_until_deadline(std::nullopt);
  }
  // Answers false when nobody notified in time.
  template <LockGuard Guard, class Rep, class Period>
  bool wait_for(Guard& guard, std::chrono::duration<Rep, Period> limit) const {
    check(guard);
    return wait_until_deadline(detail::deadline_after(limit));
  }
  // Answers what predicate() says at the end.
  template <LockGuard Guard, class Rep, class Period, class Predicate>
  bool wait_for(Guard& guard, std::chrono::duration<Rep, Period> limit, Predicate predicate) const {
    check(guard);
    return wait_until_deadline(detail::deadline_after(limit), predicate);
  }
  template <LockGuard Guard, class Clock, class Duration>
  bool wait_until(Guard& guard, std::chrono::time_point<Clock, Duration> when) const {
    check(guard);
    return wait_until_deadline(detail::deadline_at(when));
  }
  template <LockGuard Guard, class Clock, class Duration, class Predicate>
  bool wait_until(Guard& guard, std::chrono::time_point<Clock, Duration> when,
                  Predicate predicate) const {
    check(guard);
    return wait_until_deadline(detail::deadline_at(when), predicate);
  }

  // Wakes up to `count` of those who wait now; what is left over is not kept.
  void notify(std::size_t count = 1) const;
  void notify_one() const { notify(1); }
  void notify_all() const { notify(std::numeric_limits<std::size_t>::max()); }

  // The condition's lock, and its operations, so that guards may be made on the condition.
  const BasicLock& mutex() const noexcept { return lock_; }
  void lock() const { lock_.lock(); }
  bool try_lock() const { return lock_.try_lock(); }
  template <class Rep, class Period>
  bool try_lock_for(std::chrono::duration<Rep, Period> limit) const {
    return lock_.try_lock_for(limit);
  }
  template <class Clock, class Duration>
  bool try_lock_until(std::chrono::time_point<Clock, Duration> when) const {
    return lock_.try_lock_until(when);
  }
  void unlock() const { lock_.unlock(); }
  bool recover() const { return lock_.recover(); }
  bool locked() const { return lock_.locked(); }
  bool owned() const { return lock_.owned(); }

  // How many wait now.
  std::size_t waiters() const;

  friend bool operator==(const Condition& a, const Condition& b) noexcept {
    return a.same_block(b);
  }
  // <Condition on <Lock ...> waiters=N>
  friend std::ostream& operator<<(std::ostream& out, const Condition& condition);

  template <class Archive>
  void save(Archive& archive) const {
    Handle::save(archive);
    lock_.save(archive);
  }
  template <class Archive>
  Condition(detail::Restore restore, Archive& archive)
      : Handle(restore, archive), lock_(restore, archive) {}

 private:
  static const BasicLock& lock_of(const BasicLock& lock) { return lock; }
  static const BasicLock& lock_of(const Condition& condition) { return condition.lock_; }
  template <class Guard>
  void check(Guard& guard) const {
    if (!guard.owns_lock() || !(lock_of(*guard.mutex()) == lock_)) refuse();
  }
  [[noreturn]] static void refuse();
  bool wait_until_deadline(detail::Deadline deadline) const;
  template <class Predicate>
  bool wait_until_deadline(detail::Deadline deadline, Predicate& predicate) const {
    while (!predicate()) {
      if (!wait_until_deadline(deadline)) return predicate();
    }
    return true;
  }
  sync::ConditionCell& cell() const;

  BasicLock lock_;
};

}  // namespace cohort
