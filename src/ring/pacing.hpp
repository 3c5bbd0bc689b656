// How long a consumer that found nothing waits before it looks again.
//
// Each look takes the tail away from the producer's core. A consumer that is as fast as its
// producer and looks at once gets one message for each look, and both wait for that word to travel,
// many times longer than a put takes. So it pays to let some messages gather, but only when they
// do: in an exchange of question and answer there never is more than one. This learns which it is:
// from time to time it waits longer, and goes on so while that finds several messages.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "os/futex.hpp"

namespace cohort::ring {

class Pacing {
 public:
  // The calling thread's.
  static Pacing& here() {
    constinit thread_local Pacing mine;
    return mine;
  }

  // Whether messages gathered when it waited last: then it pays to wait before the first look, too.
  bool gathering() const { return gathering_; }
  void wait() {
    trying_ = gathering_ || ++waits_ % kTrials == 0;
    for (int i = 0; trying_ && i < kPauses; ++i) os::pause();
  }
  // How many messages were there after it.
  void found(std::size_t count) {
    if (trying_) gathering_ = count >= kSeveral;
  }

 private:
  static constexpr int kPauses = 64;
  static constexpr std::uint32_t kTrials = 16;
  static constexpr std::size_t kSeveral = 3;

  std::uint32_t waits_ = 0;
  bool gathering_ = false;
  bool trying_ = false;
};

}  // namespace cohort::ring
