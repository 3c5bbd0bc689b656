// Futex wait and wake on words that processes share.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include "os/fd.hpp"

namespace cohort::os {

enum class FutexResult { woken, changed, timed_out, interrupted };

// Sleeps while `word` holds `expected`, until woken or the deadline. May return early for no
// reason.
FutexResult futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                       Deadline deadline) noexcept;
struct FutexValue {
  const std::atomic<std::uint32_t>* word;
  std::uint32_t expected;
};
// Sleeps while each word holds its value, until one of them is woken or the deadline. May return
// early for no reason; where the system cannot wait for several (Linux before 5.16), or not for so
// many, within milliseconds.
void futex_wait_any(std::span<const FutexValue> words, Deadline deadline) noexcept;
// Wakes at most `count` sleepers; answers how many.
int futex_wake(const std::atomic<std::uint32_t>& word, int count) noexcept;
inline int futex_wake_all(const std::atomic<std::uint32_t>& word) noexcept {
  return futex_wake(word, 0x7fffffff);
}

// One step of a spinning wait: a pause on the core, or handing it to another thread.
inline void pause() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace cohort::os
