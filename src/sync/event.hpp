// What is behind an Event: a flag to sleep on.
//
// All of it is one word, changed by one compare-and-swap, so that no kill leaves it half changed.
// The sleepers are not counted, since a killed one would stay in the count for ever. A setter that
// is killed before it woke them leaves that to its burial, which wakes every recorded wait, and to
// the bound on every sleep.
#pragma once

#include <atomic>
#include <cstdint>

#include "arena/space.hpp"
#include "os/fd.hpp"

namespace cohort::sync {

struct EventCell {
  // kSet, kSleepers, and from there on how often it was set: so that a waiter is told of a set()
  // that a clear() followed at once. Futex.
  std::atomic<std::uint32_t> word;

  static constexpr std::uint32_t kSet = 1;
  static constexpr std::uint32_t kSleepers = 2;  // somebody may sleep; never beside kSet
  static constexpr std::uint32_t kTurn = 4;

  bool is_set() const noexcept { return (word.load(std::memory_order_acquire) & kSet) != 0; }
  void set() noexcept;
  void clear() noexcept { word.fetch_and(~kSet, std::memory_order_acq_rel); }
  // Answers false when it was not set before the deadline.
  bool wait(arena::Space& space, os::Deadline deadline);

 private:
  // Whether it is set, or was since it looked like `before`.
  bool set_since(std::uint32_t before) const noexcept;
};

}  // namespace cohort::sync
