#include "os/futex.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

namespace cohort::os {
namespace {

// FUTEX_WAIT_BITSET takes an absolute time on CLOCK_MONOTONIC, which is what steady_clock is.
timespec absolute(Clock::time_point when) {
  auto since = when.time_since_epoch();
  auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since);
  return {static_cast<time_t>(seconds.count()),
          static_cast<long>(std::chrono::nanoseconds(since - seconds).count())};
}

}  // namespace

FutexResult futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                       Deadline deadline) noexcept {
  timespec until{};
  if (deadline) until = absolute(*deadline);
  long result = ::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, expected,
                          deadline ? &until : nullptr, nullptr, FUTEX_BITSET_MATCH_ANY);
  if (result == 0) return FutexResult::woken;
  switch (errno) {
    case ETIMEDOUT:
      return FutexResult::timed_out;
    case EINTR:
      return FutexResult::interrupted;
    default:
      return FutexResult::changed;
  }
}

int futex_wake(const std::atomic<std::uint32_t>& word, int count) noexcept {
  long woken = ::syscall(SYS_futex, &word, FUTEX_WAKE, count, nullptr, nullptr, 0);
  return woken < 0 ? 0 : static_cast<int>(woken);
}

}  // namespace cohort::os
