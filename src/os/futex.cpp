#include "os/futex.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
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

void futex_wait_any(std::span<const FutexValue> words, Deadline deadline) noexcept {
  // As the kernel's struct futex_waitv, which older headers lack.
  struct Waiter {
    std::uint64_t value;
    std::uint64_t address;
    std::uint32_t flags;
    std::uint32_t reserved;
  };
  constexpr std::size_t kMost = 128;
  constexpr std::uint32_t kWordOf32Bits = 2;
  constexpr long kFutexWaitv = 449;
  constexpr std::chrono::milliseconds kPoll{5};
  if (words.empty()) return;
  if (words.size() > kMost) {
    words = words.first(kMost);
    deadline = std::min(deadline.value_or(Clock::time_point::max()), Clock::now() + kPoll);
  }
  std::array<Waiter, kMost> waiters{};
  for (std::size_t i = 0; i < words.size(); ++i)
    waiters[i] = {words[i].expected, reinterpret_cast<std::uintptr_t>(words[i].word), kWordOf32Bits,
                  0};
  timespec until{};
  if (deadline) until = absolute(*deadline);
  const long result = ::syscall(kFutexWaitv, waiters.data(), words.size(), 0,
                                deadline ? &until : nullptr, CLOCK_MONOTONIC);
  if (result >= 0 || (errno != ENOSYS && errno != EPERM)) return;
  const auto soon = Clock::now() + kPoll;
  futex_wait(*words[0].word, words[0].expected, std::min(deadline.value_or(soon), soon));
}

int futex_wake(const std::atomic<std::uint32_t>& word, int count) noexcept {
  long woken = ::syscall(SYS_futex, &word, FUTEX_WAKE, count, nullptr, nullptr, 0);
  return woken < 0 ? 0 : static_cast<int>(woken);
}

}  // namespace cohort::os
