#include "pool/progress.hpp"

#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <exception>
#include <initializer_list>
#include <span>

#include "os/stream.hpp"

namespace cohort {
namespace {

using namespace std::chrono_literals;

constexpr double kMemory = 5;      // seconds that a rate remembers
constexpr double kFirstPlain = 3;  // seconds
constexpr double kPlainGap = 5;
constexpr std::size_t kDefaultColumns = 80;
constexpr std::size_t kMostColumns = 400;  // one write, and a pipe takes it whole
constexpr std::size_t kLeastBar = 8;       // brackets included
constexpr std::size_t kMostBar = 42;

double seconds_between(os::Clock::time_point from, os::Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

// Not by printf: the program's locale may have another decimal point.
std::string fixed(double value, int digits) {
  std::array<char, 64> text;
  value = std::clamp(value, 0.0, 1e18);
  auto end = std::to_chars(text.begin(), text.end(), value, std::chars_format::fixed, digits).ptr;
  return {text.begin(), end};
}

std::string rate_text(double per_second) {
  if (per_second >= 99.95) return fixed(per_second, 0) + "/s";
  if (per_second >= 0.95) return fixed(per_second, 1) + "/s";
  return fixed(60 * per_second, 1) + "/min";
}

// Short times with tenths where these are known.
std::string duration_text(double seconds, bool tenths) {
  constexpr double kLongest = 999.0 * 86400;
  if (tenths && seconds < 9.95) return fixed(seconds, 1) + " s";
  auto whole = std::llround(std::min(seconds, kLongest));
  auto both = [](long long big, const char* unit, long long small, const char* rest) {
    return std::to_string(big) + unit + std::to_string(small) + rest;
  };
  if (whole < 60) return std::to_string(whole) + " s";
  if (whole < 3600) return both(whole / 60, " min ", whole % 60, " s");
  if (whole < 86400) return both(whole / 3600, " h ", whole / 60 % 60, " min");
  return both(whole / 86400, " d ", whole / 3600 % 24, " h");
}

double share_of(const ProgressFigures& figures) {
  if (figures.items == 0) return 0;
  double share = static_cast<double>(figures.state.settled) / static_cast<double>(figures.items);
  return std::min(share, 1.0);
}

// Rounded down: 100 % is only said when all is done.
std::string percent_text(const ProgressFigures& figures) {
  return std::to_string(static_cast<int>(100 * share_of(figures))) + " %";
}

std::string time_text(const ProgressFigures& figures) {
  if (figures.final) return "in " + duration_text(figures.seconds, true);
  if (figures.items == 0 || figures.rate <= 0) return {};
  double left = static_cast<double>(figures.items - std::min(figures.items, figures.state.settled));
  return duration_text(std::ceil(left / figures.rate), false) + " left";
}

// Of the whole time at the end, when the last seconds are of no interest any more.
double told_rate(const ProgressFigures& figures) {
  if (!figures.final) return figures.rate;
  return figures.seconds > 0 ? static_cast<double>(figures.state.settled) / figures.seconds : 0;
}

std::string failed_text(const ProgressFigures& figures) {
  return figures.state.failed ? std::to_string(figures.state.failed) + " failed" : std::string();
}

std::string busy_text(const ProgressFigures& figures) {
  if (figures.final || figures.state.workers == 0) return {};
  return std::to_string(figures.state.busy_workers) + "/" + std::to_string(figures.state.workers) +
         " busy";
}

std::string bar(double share, std::size_t width) {
  std::size_t inner = width - 2;
  auto full = static_cast<std::size_t>(share * static_cast<double>(inner));
  return "[" + std::string(full, '#') + std::string(inner - full, '.') + "]";
}

std::size_t columns_of(int fd) {
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kDefaultColumns;
  return std::min<std::size_t>(size.ws_col, kMostColumns);
}

}  // namespace

void SmoothedRate::add(std::uint64_t items, double seconds) noexcept {
  waited_ += std::max(seconds, 0.0);
  if (items == 0) return;
  // What came before counts the less the longer these took.
  double kept = std::exp(-waited_ / kMemory);
  items_ = items_ * kept + static_cast<double>(items);
  seconds_ = seconds_ * kept + waited_;
  waited_ = 0;
}

double SmoothedRate::per_second() const noexcept {
  // A wait no longer than usual is only the next item on its way; a longer one lowers the rate.
  double seconds = std::max(seconds_, waited_);
  return seconds > 0 ? items_ / seconds : 0;
}

bool PlainSchedule::due(double elapsed_seconds, std::uint64_t settled,
                        std::uint64_t items) noexcept {
  // 10 % or 5 seconds, whichever is rarer.
  bool late = elapsed_seconds - told_at_ >= (begun_ ? kPlainGap : kFirstPlain);
  bool far = !begun_ || settled - std::min(told_, settled) >= items / 10 + (items % 10 != 0);
  if (!late || !far) return false;
  begun_ = true;
  told_at_ = elapsed_seconds;
  told_ = settled;
  return true;
}

std::string plain_progress(const ProgressFigures& figures) {
  std::string line = "cohort: " + std::to_string(figures.state.settled);
  if (figures.items != 0)
    line += " of " + std::to_string(figures.items) + " (" + percent_text(figures) + ")";
  else
    line += " done";
  double rate = told_rate(figures);
  for (const auto& part :
       {rate > 0 ? rate_text(rate) : std::string(), time_text(figures), failed_text(figures)})
    if (!part.empty()) line += ", " + part;
  return line;
}

std::string progress_bar(const ProgressFigures& figures, std::size_t columns) {
  const std::size_t room =
      columns > 0 ? columns - 1 : 0;  // the last column wraps on some terminals
  std::string count = std::to_string(figures.state.settled);
  if (figures.items != 0) count += "/" + std::to_string(figures.items);
  double rate = told_rate(figures);

  // In the order of display, and how important each is: 0 most.
  struct Part {
    std::string text;
    int rank;
    bool shown = false;
  };
  std::array<Part, 6> parts{{{count, 0},
                             {figures.items ? percent_text(figures) : std::string(), 2},
                             {rate > 0 ? rate_text(rate) : std::string(), 4},
                             {time_text(figures), 3},
                             {failed_text(figures), 1},
                             {busy_text(figures), 5}}};
  const std::size_t reserved = figures.items ? kLeastBar + 1 : 0;
  std::size_t used = 0;
  for (int rank = 0; rank < static_cast<int>(parts.size()); ++rank) {
    for (Part& part : parts) {
      if (part.rank != rank || part.text.empty()) continue;
      std::size_t width = part.text.size() + (used ? 2 : 0);
      if (used + width + (rank == 0 ? 0 : reserved) > room) continue;
      part.shown = true;
      used += width;
    }
  }
  std::string line;
  if (figures.items != 0 && used > 0 && used + reserved <= room)
    line = bar(share_of(figures), std::min(room - used - 1, kMostBar));
  bool first = true;
  for (const Part& part : parts) {
    if (!part.shown) continue;
    if (!line.empty()) line += first ? " " : "  ";
    line += part.text;
    first = false;
  }
  return line;
}

Progress::Progress(std::uint64_t items, int fd) noexcept
    : items_(items), fd_(fd), terminal_(::isatty(fd) == 1) {}

Progress::~Progress() {
  try {
    auto now = os::Clock::now();
    measure(now);
    auto last = figures(now);
    last.final = true;
    draw(last);
  } catch (const std::exception&) {
    // No memory for a line: the map's end matters more.
  }
}

os::Clock::duration Progress::period() const noexcept { return terminal_ ? 100ms : 1000ms; }

void Progress::update(const ProgressState& state) noexcept {
  state_ = state;
  auto now = os::Clock::now();
  // Somewhat early is on time: the caller's clock and ours need not agree to the millisecond.
  if (drawn_at_ != os::Clock::time_point{} && now - drawn_at_ < period() - period() / 10) return;
  drawn_at_ = now;
  measure(now);
  if (!terminal_ && !plain_.due(seconds_between(start_, now), state.settled, items_)) return;
  try {
    draw(figures(now));
  } catch (const std::exception&) {
    return;  // no memory for a line
  }
}

void Progress::measure(os::Clock::time_point now) noexcept {
  std::uint64_t since = state_.settled - std::min(measured_, state_.settled);
  rate_.add(since, seconds_between(measured_at_, now));
  measured_ = state_.settled;
  measured_at_ = now;
}

ProgressFigures Progress::figures(os::Clock::time_point now) const noexcept {
  return {state_, items_, rate_.per_second(), seconds_between(start_, now), false};
}

void Progress::draw(const ProgressFigures& figures) {
  if (!terminal_) {
    write(plain_progress(figures) + "\n");
    return;
  }
  const std::size_t columns = columns_of(fd_);
  std::string line = progress_bar(figures, columns);
  const std::size_t width = line.size();
  // Blanks over what the line before had more, so that any terminal will do.
  std::size_t old = std::min(drawn_columns_, columns > 0 ? columns - 1 : 0);
  if (width < old) line.append(old - width, ' ');
  drawn_columns_ = width;
  write("\r" + line + (figures.final ? "\n" : ""));
}

void Progress::write(const std::string& text) {
  try {
    (void)os::Stream(fd_).write(std::as_bytes(std::span(text)), {}, false);
  } catch (const std::exception&) {
    return;  // closed, or nobody reads it any more
  }
}

}  // namespace cohort
