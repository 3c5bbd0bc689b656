// Limits of waits as points of the monotonic clock.
#pragma once

#include <chrono>
#include <optional>

namespace cohort::detail {

using Clock = std::chrono::steady_clock;
using Deadline = std::optional<Clock::time_point>;  // none: wait for ever

// Now + limit. A limit beyond what the clock can tell is no limit; a negative one has passed.
template <class Rep, class Period>
Deadline deadline_after(std::chrono::duration<Rep, Period> limit) {
  using Seconds = std::chrono::duration<long double>;
  const auto now = Clock::now();
  if (!(limit > limit.zero())) return now;
  if (Seconds(limit) >= Seconds(Clock::time_point::max() - now)) return std::nullopt;
  return now + std::chrono::ceil<Clock::duration>(limit);
}

// The same point of time on the monotonic clock, by what both clocks say now.
template <class Clock, class Duration>
Deadline deadline_at(std::chrono::time_point<Clock, Duration> when) {
  // Not in integers: the distance to Clock's first or last point may be more than they hold.
  using Seconds = std::chrono::duration<long double>;
  return deadline_after(Seconds(when.time_since_epoch()) -
                        Seconds(Clock::now().time_since_epoch()));
}

}  // namespace cohort::detail
