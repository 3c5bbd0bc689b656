// How to wait a little before sleeping: pauses while the other side is likely on another core, then
// yields, in case it waits for ours. Measured best in both placements on small machines.
#pragma once

#include <sched.h>

#include "os/fd.hpp"
#include "os/futex.hpp"

namespace cohort::sync {

class Backoff {
 public:
  // Waits one step. Answers false when it is time to sleep.
  bool step() {
    if (pauses_ < kPauses) {
      ++pauses_;
      os::pause();
      return true;
    }
    if (!yielding_) {
      yielding_ = true;
      until_ = os::Clock::now() + kYieldFor;
    }
    ::sched_yield();
    return os::Clock::now() < until_;
  }

 private:
  static constexpr int kPauses = 50;
  static constexpr std::chrono::microseconds kYieldFor{20};

  int pauses_ = 0;
  bool yielding_ = false;
  os::Clock::time_point until_;
};

// The same for a lock that somebody holds. Each look takes the cell away from its owner's core, and
// a lock that changes hands at each look is many times slower than one that stays for a while: so
// looks are rare, become rarer, and sleep comes soon. Yields between them, from the start: an owner
// that woke this thread may wait for this very core to let the lock go.
class LockBackoff {
 public:
  // Waits one step. Answers false when it is time to sleep.
  bool step() {
    if (wait_ > kLongest) return false;
    const auto until = os::Clock::now() + wait_;
    do {
      ::sched_yield();
    } while (os::Clock::now() < until);
    wait_ *= 2;
    return true;
  }

 private:
  static constexpr std::chrono::microseconds kLongest{8};

  std::chrono::microseconds wait_{1};
};

}  // namespace cohort::sync
