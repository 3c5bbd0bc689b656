// Waking a thread that polls.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "os/fd.hpp"

namespace cohort::os {

// An eventfd: polls readable from signal() until drain().
class Event {
 public:
  Event();
  int get() const noexcept { return fd_.get(); }
  void signal() noexcept;
  void drain() noexcept;

 private:
  Fd fd_;
};

// The positions of those descriptors that are readable or hung up; waits for the first until the
// deadline. Negative descriptors are passed over.
std::vector<std::size_t> wait_any(std::span<const int> fds, Deadline deadline);

}  // namespace cohort::os
