// Semaphores between processes: a number of permits, taken and given back by anybody.
#pragma once

#include <chrono>
#include <cstdint>
#include <iosfwd>
#include <optional>

#include "cohort/detail/deadline.hpp"
#include "cohort/detail/handle.hpp"
#include "cohort/error.hpp"

namespace cohort {

namespace sync {
struct SemaphoreCell;
}

// Any thread of any process of the program may use it. A process that dies in a wait swallows
// nothing. What it took by acquire() is gone with it, since anybody may give that back; what it
// held as a Permit comes back.
class Semaphore : public detail::Handle {
 public:
  class Permit;

  // With one permit.
  Semaphore() : Semaphore(1) {}
  // `value`: 0 to 2^31 - 2 permits, else std::invalid_argument.
  explicit Semaphore(std::int64_t value) : Semaphore(value, false) {}

  // Waits for a permit and takes it.
  void acquire() const { acquire_until(std::nullopt); }
  bool try_acquire() const;
  template <class Rep, class Period>
  bool try_acquire_for(std::chrono::duration<Rep, Period> limit) const {
    return acquire_until(detail::deadline_after(limit));
  }
  template <class Clock, class Duration>
  bool try_acquire_until(std::chrono::time_point<Clock, Duration> when) const {
    return acquire_until(detail::deadline_at(when));
  }
  // Gives `count` permits back, or adds them. std::invalid_argument for less than 1;
  // std::overflow_error beyond 2^31 - 2, or beyond a bounded one's first value: then none is added.
  void release(std::int64_t count = 1) const;

  // The same as acquire, for a permit that comes back when the guard or its process goes.
  Permit hold() const;
  std::optional<Permit> try_hold() const;
  template <class Rep, class Period>
  std::optional<Permit> try_hold_for(std::chrono::duration<Rep, Period> limit) const;

  // How many permits are there now.
  std::int64_t value() const;

  friend bool operator==(const Semaphore& a, const Semaphore& b) noexcept {
    return a.same_block(b);
  }
  // <Semaphore value=N>, <BoundedSemaphore value=N of M>
  friend std::ostream& operator<<(std::ostream& out, const Semaphore& semaphore);

  template <class Archive>
  Semaphore(detail::Restore restore, Archive& archive) : Handle(restore, archive) {}

 protected:
  Semaphore(std::int64_t value, bool bounded);

 private:
  bool acquire_until(detail::Deadline deadline) const;
  std::optional<Permit> hold_until(detail::Deadline deadline) const;
  sync::SemaphoreCell& cell() const;
};

// One whose value never exceeds its first.
class BoundedSemaphore : public Semaphore {
 public:
  BoundedSemaphore() : BoundedSemaphore(1) {}
  explicit BoundedSemaphore(std::int64_t value) : Semaphore(value, true) {}
  template <class Archive>
  BoundedSemaphore(detail::Restore restore, Archive& archive) : Semaphore(restore, archive) {}
};

// One permit, given back by the destructor, by release(), or when its process ends, however that
// ends. Moves between threads, not between processes: in a forked child the copy is empty.
class Semaphore::Permit {
 public:
  Permit(Permit&& other) noexcept;
  Permit& operator=(Permit&& other) noexcept;
  ~Permit() { release(); }

  // Gives it back now. Nothing when that was done.
  void release() noexcept;
  // Whether it has one.
  explicit operator bool() const noexcept;

 private:
  friend class Semaphore;
  Permit(Semaphore semaphore, std::uint64_t record) noexcept;
  // Its record's place in the arena; 0: none, or another process's.
  std::uint64_t place() const noexcept;

  Semaphore semaphore_;
  std::uint64_t record_;  // the record's name; 0: given back
};

template <class Rep, class Period>
std::optional<Semaphore::Permit> Semaphore::try_hold_for(
    std::chrono::duration<Rep, Period> limit) const {
  return hold_until(detail::deadline_after(limit));
}

}  // namespace cohort
