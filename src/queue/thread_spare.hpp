// What a thread keeps of one call for the next, memory above all.
#pragma once

#include <utility>

namespace cohort::queue {

// One T for each thread. Static objects, too, may put and get in their destructors, when the
// thread's own objects are gone: then nothing is kept.
template <class T>
class ThreadSpare {
 public:
  // The spare one, or an empty one.
  static T take() { return gone_ ? T() : std::exchange(slot_.value, T()); }
  static void give(T&& value) noexcept {
    if (!gone_ && slot_.value.empty()) slot_.value = std::move(value);
  }

 private:
  struct Slot {
    T value;
    ~Slot() { gone_ = true; }
  };
  inline static thread_local Slot slot_;
  inline static constinit thread_local bool gone_ = false;
};

}  // namespace cohort::queue
