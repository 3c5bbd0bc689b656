#include "pool/progress.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

namespace cohort {

using namespace std::chrono_literals;

ProgressLine::ProgressLine(std::uint64_t items)
    : items_(items), active_(items != 0 && ::isatty(STDERR_FILENO) != 0) {}

ProgressLine::~ProgressLine() {
  if (active_) std::fputs("\r\033[K", stderr);
}

void ProgressLine::draw(std::uint64_t settled) {
  auto now = os::Clock::now();
  if (!active_ || now - drawn_ < 100ms) return;
  drawn_ = now;
  double share = static_cast<double>(settled) / static_cast<double>(items_);
  double seconds = std::chrono::duration<double>(now - start_).count();
  double left = settled ? seconds / share - seconds : 0;
  std::fprintf(stderr, "\r%3.0f %%  %llu of %llu  %.1f s, %.1f s left\033[K", 100 * share,
               static_cast<unsigned long long>(settled), static_cast<unsigned long long>(items_),
               seconds, left);
  std::fflush(stderr);
}

}  // namespace cohort
