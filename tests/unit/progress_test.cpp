#include "pool/progress.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "member.hpp"
#include "os/stream.hpp"

namespace {

using namespace std::chrono_literals;
using cohort::PlainSchedule;
using cohort::Progress;
using cohort::ProgressFigures;
using cohort::SmoothedRate;
using cohort::os::Fd;

class ProgressUnit : public test::Watched {};

ProgressFigures figures(std::uint64_t settled, std::uint64_t items, double rate,
                        std::uint64_t failed = 0) {
  return {{.settled = settled, .failed = failed, .busy_workers = 2, .workers = 4},
          items,
          rate,
          3,
          false};
}

// All that is there to read now.
std::string drained(int fd) {
  std::string text;
  pollfd readable{fd, POLLIN, 0};
  while (::poll(&readable, 1, 0) == 1 && (readable.revents & POLLIN) != 0) {
    char piece[4096];
    auto count = ::read(fd, piece, sizeof piece);
    if (count <= 0) break;
    text.append(piece, static_cast<std::size_t>(count));
  }
  return text;
}

// A terminal, seen from the side of its screen.
class Terminal {
 public:
  explicit Terminal(unsigned short columns) {
    screen_ = Fd(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    EXPECT_EQ(::grantpt(screen_.get()), 0);
    EXPECT_EQ(::unlockpt(screen_.get()), 0);
    program_ = Fd(::open(::ptsname(screen_.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
    EXPECT_TRUE(program_);
    resize(columns);
  }
  void resize(unsigned short columns) {
    winsize size{};
    size.ws_row = 24;
    size.ws_col = columns;
    EXPECT_EQ(::ioctl(screen_.get(), TIOCSWINSZ, &size), 0);
  }
  int fd() const { return program_.get(); }
  std::string shown() const { return drained(screen_.get()); }

 private:
  Fd screen_;
  Fd program_;
};

TEST_F(ProgressUnit, APlainLineTellsCountRateTimeLeftAndFailures) {
  EXPECT_EQ(cohort::plain_progress(figures(1200, 4000, 400, 2)),
            "cohort: 1200 of 4000 (30 %), 400/s, 7 s left, 2 failed");
  EXPECT_EQ(cohort::plain_progress(figures(0, 4000, 0)), "cohort: 0 of 4000 (0 %)");
}

TEST_F(ProgressUnit, WithoutATotalThereIsNoPercentAndNoTimeLeft) {
  EXPECT_EQ(cohort::plain_progress(figures(1200, 0, 12.34)), "cohort: 1200 done, 12.3/s");
  EXPECT_EQ(cohort::progress_bar(figures(1200, 0, 12.34), 80), "1200  12.3/s  2/4 busy");
}

TEST_F(ProgressUnit, AHundredPercentIsOnlySaidWhenAllIsDone) {
  EXPECT_NE(cohort::plain_progress(figures(99999, 100000, 1)).find("(99 %)"), std::string::npos);
  EXPECT_NE(cohort::plain_progress(figures(100000, 100000, 1)).find("(100 %)"), std::string::npos);
}

TEST_F(ProgressUnit, TheLastLineTellsTheWholeTimeAndItsRate) {
  auto last = figures(600, 600, 5, 1);
  last.final = true;
  EXPECT_EQ(cohort::plain_progress(last), "cohort: 600 of 600 (100 %), 200/s, in 3.0 s, 1 failed");
  EXPECT_EQ(cohort::progress_bar(last, 60).find("busy"), std::string::npos);
}

TEST_F(ProgressUnit, SlowRatesArePerMinuteAndLongTimesInLargerUnits) {
  EXPECT_EQ(cohort::plain_progress(figures(1, 10, 0.05)),
            "cohort: 1 of 10 (10 %), 3.0/min, 3 min 0 s left");
  EXPECT_NE(cohort::plain_progress(figures(0, 7500, 1)).find("2 h 5 min left"), std::string::npos);
  EXPECT_NE(cohort::plain_progress(figures(0, 180000, 1)).find("2 d 2 h left"), std::string::npos);
}

TEST_F(ProgressUnit, ABarFitsItsTerminalAndShowsTheShare) {
  EXPECT_EQ(cohort::progress_bar(figures(1200, 4000, 400, 2), 81),
            "[#######..................] 1200/4000  30 %  400/s  7 s left  2 failed  2/4 busy");
  for (std::size_t columns = 0; columns < 200; ++columns) {
    auto line = cohort::progress_bar(figures(1200, 4000, 400, 2), columns);
    EXPECT_LT(line.size(), std::max<std::size_t>(columns, 1)) << line;
  }
}

TEST_F(ProgressUnit, FortyColumnsKeepTheBarTheCountAndTheFailures) {
  auto line = cohort::progress_bar(figures(1200, 4000, 400, 2), 40);
  EXPECT_EQ(line.front(), '[');
  EXPECT_NE(line.find("1200/4000"), std::string::npos) << line;
  EXPECT_NE(line.find("2 failed"), std::string::npos) << line;
  EXPECT_LT(line.size(), 40U);
}

TEST_F(ProgressUnit, MoreSettledThanExpectedIsNoMoreThanAll) {
  auto line = cohort::progress_bar(figures(50, 10, 1), 80);
  EXPECT_NE(line.find("100 %"), std::string::npos) << line;
  EXPECT_NE(line.find(" 0 s left"), std::string::npos) << line;
  EXPECT_EQ(line.find('.'), line.find("1.0/s") + 1) << line;
}

TEST_F(ProgressUnit, TheRateFollowsTheLastSeconds) {
  SmoothedRate rate;
  EXPECT_EQ(rate.per_second(), 0);
  for (int i = 0; i < 100; ++i) rate.add(10, 0.1);
  EXPECT_NEAR(rate.per_second(), 100, 1e-6);
  for (int i = 0; i < 200; ++i) rate.add(1, 0.1);
  EXPECT_NEAR(rate.per_second(), 10, 3);
}

TEST_F(ProgressUnit, AWaitForSlowItemsLeavesTheRateUntilItIsLongerThanUsual) {
  SmoothedRate rate;
  for (int i = 0; i < 5; ++i) {
    for (int second = 0; second < 29; ++second) rate.add(0, 1);
    rate.add(1, 1);
  }
  for (int second = 0; second < 29; ++second) rate.add(0, 1);
  EXPECT_NEAR(rate.per_second(), 1 / 30.0, 0.002);
  for (int second = 0; second < 271; ++second) rate.add(0, 1);
  EXPECT_NEAR(rate.per_second(), 1 / 300.0, 0.0002);
}

TEST_F(ProgressUnit, PlainLinesComeAfterFiveSecondsOrTenPercentWhicheverIsRarer) {
  PlainSchedule fast;
  EXPECT_FALSE(fast.due(2.9, 30, 100));
  EXPECT_TRUE(fast.due(3, 31, 100));
  EXPECT_FALSE(fast.due(7.9, 80, 100));
  EXPECT_TRUE(fast.due(8, 81, 100));
  PlainSchedule slow;
  EXPECT_TRUE(slow.due(3, 0, 100));
  EXPECT_FALSE(slow.due(60, 9, 100));
  EXPECT_TRUE(slow.due(66, 10, 100));
  EXPECT_FALSE(slow.due(67, 90, 100));
  PlainSchedule unknown;
  EXPECT_TRUE(unknown.due(3, 1, 0));
  EXPECT_FALSE(unknown.due(7, 2, 0));
  EXPECT_TRUE(unknown.due(8, 2, 0));
}

TEST_F(ProgressUnit, ATerminalHasOneLineThatIsRedrawnAndTheLastIsKept) {
  Terminal terminal(80);
  {
    Progress progress(10, terminal.fd());
    EXPECT_EQ(progress.period(), 100ms);
    progress.update({.settled = 3, .busy_workers = 1, .workers = 2});
    std::string first = terminal.shown();
    EXPECT_EQ(first.substr(0, 2), "\r[");
    EXPECT_NE(first.find("3/10"), std::string::npos) << first;
    EXPECT_NE(first.find("1/2 busy"), std::string::npos) << first;
    EXPECT_EQ(first.find('\n'), std::string::npos) << first;
    progress.update({.settled = 10, .failed = 1, .workers = 2});  // too early to be drawn
  }
  std::string last = terminal.shown();
  EXPECT_EQ(last.front(), '\r');
  EXPECT_NE(last.find("10/10  100 %"), std::string::npos) << last;
  EXPECT_NE(last.find("1 failed"), std::string::npos) << last;
  EXPECT_EQ(std::count(last.begin(), last.end(), '\n'), 1) << last;
  EXPECT_EQ(last.back(), '\n');
}

TEST_F(ProgressUnit, ATerminalIsRedrawnOncePerPeriodAndTheRestIsBlanked) {
  Terminal terminal(120);
  Progress progress(1'000'000, terminal.fd());
  progress.update({.settled = 999'999, .failed = 123'456, .busy_workers = 10, .workers = 10});
  std::string wide = terminal.shown();
  std::string narrow;
  auto begun = cohort::os::Clock::now();
  ASSERT_TRUE(test::eventually([&] {
    progress.update({.settled = 1'000'000});
    narrow += terminal.shown();
    return !narrow.empty();
  }));
  for (int i = 0; i < 1000; ++i) progress.update({.settled = 1'000'000});
  auto passed = cohort::os::Clock::now() - begun;
  auto again = terminal.shown();
  auto drawn = 1 + std::count(again.begin(), again.end(), '\r');
  EXPECT_LE(drawn, 1 + passed / (progress.period() * 8 / 10));
  EXPECT_EQ(narrow.size(), wide.size()) << wide << '\n' << narrow;
  EXPECT_EQ(narrow.back(), ' ');
}

TEST_F(ProgressUnit, ATerminalThatBecomesNarrowGetsShorterLines) {
  Terminal terminal(120);
  {
    Progress progress(4000, terminal.fd());
    progress.update({.settled = 1200, .failed = 2, .busy_workers = 2, .workers = 4});
    EXPECT_GT(terminal.shown().size(), 60U);
    terminal.resize(40);
  }
  std::string last = terminal.shown();
  EXPECT_LE(last.size(), 42U) << last;  // with \r in front and \r\n behind
  EXPECT_NE(last.find("1200/4000"), std::string::npos) << last;
}

TEST_F(ProgressUnit, APipeGetsWholePlainLines) {
  auto [out, in] = cohort::os::make_pipe(4096);
  {
    auto begun = cohort::os::Clock::now();
    Progress progress(10, in.get());
    EXPECT_EQ(progress.period(), 1s);
    for (int i = 0; i < 1000; ++i) progress.update({.settled = 5, .workers = 2});
    std::string early = drained(out.get());
    if (cohort::os::Clock::now() - begun < 3s) {
      EXPECT_EQ(early, "");
    }
    progress.update({.settled = 10, .failed = 2, .workers = 2});
  }
  std::string line = drained(out.get());
  EXPECT_EQ(line.find("cohort: 10 of 10 (100 %), "), 0U) << line;
  EXPECT_NE(line.find("2 failed\n"), std::string::npos) << line;
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1) << line;
}

TEST_F(ProgressUnit, AFullPipeIsNotWaitedFor) {
  auto [out, in] = cohort::os::make_pipe(4096);
  int room = ::fcntl(in.get(), F_GETPIPE_SZ);
  ASSERT_GT(room, 0);
  std::string filling(static_cast<std::size_t>(room), 'x');
  ASSERT_EQ(::write(in.get(), filling.data(), filling.size()), room);
  { Progress progress(10, in.get()); }
  EXPECT_EQ(drained(out.get()), filling);
}

TEST_F(ProgressUnit, ABrokenPipeAndAClosedDescriptorAreIgnored) {
  test::Member child([] {
    ::signal(SIGPIPE, SIG_DFL);
    auto [out, in] = cohort::os::make_pipe(4096);
    out.reset();
    { Progress progress(10, in.get()); }
    int closed = in.get();
    in.reset();
    { Progress progress(10, closed); }
    { Progress progress(10, -1); }
    sigset_t pending;
    ::sigpending(&pending);
    return ::sigismember(&pending, SIGPIPE);
  });
  EXPECT_EQ(child.wait(), 0);
}

}  // namespace
