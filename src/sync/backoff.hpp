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

}  // namespace cohort::sync
