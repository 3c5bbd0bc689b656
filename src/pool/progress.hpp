// A line on stderr about how far a map is.
#pragma once

#include <cstdint>

#include "os/fd.hpp"

namespace cohort {

class ProgressLine {
 public:
  // Draws nothing when stderr is no terminal.
  explicit ProgressLine(std::uint64_t items);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  bool active() const { return active_; }
  void draw(std::uint64_t settled);

 private:
  std::uint64_t items_;
  bool active_;
  os::Clock::time_point start_ = os::Clock::now();
  os::Clock::time_point drawn_{};
};

}  // namespace cohort
