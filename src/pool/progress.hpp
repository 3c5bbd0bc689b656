// How far a map is, on stderr: a line redrawn in place on a terminal, now and then a line
// elsewhere.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "os/fd.hpp"

namespace cohort {

struct ProgressState {
  std::uint64_t settled = 0;  // items that are done, the failed ones included
  std::uint64_t failed = 0;
  unsigned busy_workers = 0;
  unsigned workers = 0;  // 0: not known
};

// Items per second of the last seconds, or of the last few items when these take longer.
class SmoothedRate {
 public:
  // How many items in how many seconds, both since the call before.
  void add(std::uint64_t items, double seconds) noexcept;
  double per_second() const noexcept;  // 0: not known yet

 private:
  double items_ = 0;
  double seconds_ = 0;
  double waited_ = 0;  // since the last item
};

// When the next line is due where each line stays.
class PlainSchedule {
 public:
  // `items` 0: not known how many. Answers true at most once per line that is due.
  bool due(double elapsed_seconds, std::uint64_t settled, std::uint64_t items) noexcept;

 private:
  double told_at_ = 0;
  std::uint64_t told_ = 0;
  bool begun_ = false;
};

// All that a line says.
struct ProgressFigures {
  ProgressState state = {};
  std::uint64_t items = 0;  // 0: not known
  double rate = 0;          // per second; 0: not known
  double seconds = 0;       // since the start
  bool final = false;       // tells how long it took, not how long it will take
};
// "cohort: 1200 of 4000 (30 %), 400/s, 7 s left, 2 failed", without an end of line.
std::string plain_progress(const ProgressFigures& figures);
// "[####......] 1200/4000 30 % 400/s 7 s left 2 failed 2/4 busy" in fewer than `columns`
// characters: what does not fit is left out, the least important first.
std::string progress_bar(const ProgressFigures& figures, std::size_t columns);

// Used by one thread. Never throws; a descriptor that is closed, full or without a reader costs
// only the line.
class Progress {
 public:
  // `items` 0: not known how many.
  explicit Progress(std::uint64_t items, int fd = STDERR_FILENO) noexcept;
  // Leaves one last line, of the state in the last update.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // How often to call update: a tenth of a second on a terminal, a second elsewhere.
  os::Clock::duration period() const noexcept;
  // Keeps the state; draws at most once per period.
  void update(const ProgressState& state) noexcept;

 private:
  void measure(os::Clock::time_point now) noexcept;
  ProgressFigures figures(os::Clock::time_point now) const noexcept;
  void draw(const ProgressFigures& figures);
  void write(const std::string& text);

  std::uint64_t items_;
  int fd_;
  bool terminal_;
  std::size_t drawn_columns_ = 0;
  std::uint64_t measured_ = 0;
  ProgressState state_ = {};
  SmoothedRate rate_;
  PlainSchedule plain_;
  os::Clock::time_point start_ = os::Clock::now();
  os::Clock::time_point measured_at_ = start_;
  os::Clock::time_point drawn_at_{};
};

}  // namespace cohort
