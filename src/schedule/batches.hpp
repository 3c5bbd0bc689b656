// How many items go into the next batch of a map.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace cohort::schedule {

// Measures: starts small, then lets a batch take about two milliseconds, so that tiny items are not
// eaten by overhead; but never more than a share of what is left, so that long ones still balance.
class Batches {
 public:
  Batches() = default;
  // `fixed`: the size asked for; 0: by measuring.
  Batches(std::size_t items, std::size_t workers, std::size_t fixed)
      : workers_(workers), fixed_(fixed) {
    next_ = fixed ? fixed : std::clamp<std::size_t>(items / (workers * 1024), 1, 64);
  }

  std::size_t next(std::size_t left) const {
    std::size_t size = next_;
    if (!fixed_) size = std::min(size, std::max(left / (4 * workers_), least_));
    return std::clamp<std::size_t>(size, 1, left);
  }
  // A batch of `items` took this long.
  void measured(std::size_t items, std::uint64_t nanoseconds) {
    if (fixed_ || items == 0) return;
    double each = std::max(1.0, static_cast<double>(nanoseconds) / static_cast<double>(items));
    each_ = each_ == 0 ? each : 0.7 * each_ + 0.3 * each;
    auto wanted = static_cast<std::size_t>(kTarget / each_);
    least_ = std::max<std::size_t>(static_cast<std::size_t>(kLeast / each_), 1);
    next_ = std::clamp<std::size_t>(wanted, 1, std::max(next_, items * kMostGrowth));
    known_ = true;
  }
  // How many batches to have out at a time: enough that no worker runs dry, few enough that the
  // first measurement comes before much is sent.
  std::size_t most_in_flight() const { return (known_ || fixed_ ? 4 : 2) * workers_; }

 private:
  static constexpr double kTarget = 2e6;  // ns
  static constexpr double kLeast = 5e4;
  static constexpr std::size_t kMostGrowth = 16;

  std::size_t workers_ = 1;
  std::size_t fixed_ = 0;
  std::size_t next_ = 1;
  std::size_t least_ = 1;
  double each_ = 0;  // ns per item, smoothed
  bool known_ = false;
};

}  // namespace cohort::schedule
