// Waiting for one of many descriptors that stay the same from wait to wait.
#pragma once

#include <cstdint>
#include <optional>

#include "os/fd.hpp"

namespace cohort::os {

// Polls readable itself while one that it watches does.
class Epoll {
 public:
  Epoll();
  int get() const noexcept { return fd_.get(); }

  void watch(int fd, std::uint64_t key);
  // Before the descriptor is closed: what a forked process has a copy of would be watched on.
  void forget(int fd) noexcept;
  // The key of one that is readable or hung up, each in its turn; none once the deadline passed.
  std::optional<std::uint64_t> wait(Deadline deadline);

 private:
  Fd fd_;
};

}  // namespace cohort::os
