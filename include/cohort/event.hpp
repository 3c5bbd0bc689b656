// Events between processes: a flag to wait for.
#pragma once

#include <chrono>
#include <iosfwd>

#include "cohort/detail/deadline.hpp"
#include "cohort/detail/handle.hpp"

namespace cohort {

namespace sync {
struct EventCell;
}

// Any thread of any process of the program may use it. Whoever is waiting when the flag is set goes
// on, even if it is cleared at once.
class Event : public detail::Handle {
 public:
  Event();

  void set() const;
  void clear() const;
  bool is_set() const;
  // Waits until the flag is set. Answers true.
  bool wait() const { return wait_until_deadline(std::nullopt); }
  // Answers false when it was not set in time.
  template <class Rep, class Period>
  bool wait_for(std::chrono::duration<Rep, Period> limit) const {
    return wait_until_deadline(detail::deadline_after(limit));
  }
  template <class Clock, class Duration>
  bool wait_until(std::chrono::time_point<Clock, Duration> when) const {
    return wait_until_deadline(detail::deadline_at(when));
  }

  friend bool operator==(const Event& a, const Event& b) noexcept { return a.same_block(b); }
  // <Event set>, <Event unset>
  friend std::ostream& operator<<(std::ostream& out, const Event& event);

  template <class Archive>
  Event(detail::Restore restore, Archive& archive) : Handle(restore, archive) {}

 private:
  bool wait_until_deadline(detail::Deadline deadline) const;
  sync::EventCell& cell() const;
};

}  // namespace cohort
