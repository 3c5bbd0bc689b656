#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cohort/queue.hpp>
#include <cohort/sync.hpp>
#include <complex>
#include <cstdint>
#include <list>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "arena_use.hpp"
#include "sync_fixture.hpp"

namespace {

using namespace test;
using cohort::Event;
using cohort::InvalidStateError;
using cohort::JoinableQueue;
using cohort::Loan;
using cohort::Queue;
using cohort::QueueShutDown;
using cohort::View;

class QueueLoanTest : public ArenaUse {};
class QueueLoans : public EachMethodSync {};
INSTANTIATE_TEST_SUITE_P(Methods, QueueLoans, every_method(), method_name);

struct Point {
  double x = 0;
  double y = 0;
  bool operator==(const Point&) const = default;
};
struct alignas(64) Line {
  std::uint8_t bytes[64] = {};
};

template <class Q>
concept Lends = requires(const Q& queue) {
  queue.loan();
  queue.get_view();
};
static_assert(Lends<Queue<int>> && Lends<Queue<Point>> && Lends<Queue<std::vector<Point>>>);
static_assert(Lends<Queue<std::string>> && Lends<JoinableQueue<std::u16string>>);
static_assert(!Lends<Queue<std::vector<bool>>> && !Lends<Queue<std::vector<std::string>>>);
static_assert(!Lends<Queue<std::list<int>>> && !Lends<Queue<Queue<int>>>);
static_assert(!std::is_copy_constructible_v<Loan<int>> && !std::is_copy_constructible_v<View<int>>);
static_assert(std::is_nothrow_move_constructible_v<Loan<int>>);
static_assert(
    std::is_same_v<decltype(std::declval<const Queue<std::string>&>().get_view()), View<char>>);

using Doubles = Queue<std::vector<double>>;

void fill(const Loan<double>& loan, double from) { std::iota(loan.begin(), loan.end(), from); }

// ---- one process

TEST_F(QueueLoanTest, WhatWasWrittenIntoALoanIsRead) {
  const Doubles queue;
  auto loan = queue.loan(1000 * sizeof(double));
  ASSERT_TRUE(loan);
  EXPECT_EQ(loan.size(), 1000U);
  EXPECT_EQ(loan.bytes().size(), 1000 * sizeof(double));
  fill(loan, 5);
  EXPECT_EQ(loan[2], 7);
  EXPECT_EQ(*loan, 5);
  queue.put(std::move(loan));
  EXPECT_FALSE(loan);  // NOLINT: that it is empty is said
  EXPECT_EQ(queue.size(), 1U);
  const auto view = queue.get_view();
  ASSERT_EQ(view.size(), 1000U);
  EXPECT_EQ(view[0], 5);
  EXPECT_EQ(view[999], 1004);
  EXPECT_EQ(view.bytes().size(), 1000 * sizeof(double));
  EXPECT_EQ(std::accumulate(view.begin(), view.end(), 0.0), 504'500);
}

TEST_F(QueueLoanTest, AViewIsThePlaceWhereTheLoanWasWritten) {
  const Doubles queue;
  auto loan = queue.loan(80);
  fill(loan, 0);
  const void* written = loan.data();
  queue.put(std::move(loan));
  EXPECT_EQ(static_cast<const void*>(queue.get_view().data()), written);
}

TEST_F(QueueLoanTest, GetReadsWhatWasLent) {
  const Doubles queue;
  auto loan = queue.loan(3 * sizeof(double));
  fill(loan, 1);
  queue.put(std::move(loan));
  EXPECT_EQ(queue.get(), (std::vector<double>{1, 2, 3}));
  const Queue<std::string> texts;
  auto text = texts.loan(5);
  std::ranges::copy(std::string("hello"), text.begin());
  texts.put(std::move(text));
  EXPECT_EQ(texts.get(), "hello");
  const Queue<Point> points;
  auto point = points.loan();
  *point = Point{1, 2};
  point->y = 3;
  points.put(std::move(point));
  EXPECT_EQ(points.get(), (Point{1, 3}));
}

TEST_F(QueueLoanTest, AViewReadsWhatWasNotLent) {
  const Doubles queue;
  queue.put({1, 2, 3});
  queue.put(std::vector<double>(100'000, 7));
  auto small = queue.get_view();
  EXPECT_TRUE(std::ranges::equal(small.span(), std::vector<double>{1, 2, 3}));
  auto large = queue.get_view();
  EXPECT_EQ(large.size(), 100'000U);
  EXPECT_EQ(large[99'999], 7);
  const Queue<std::string> texts;
  texts.put("hello");
  const auto text = texts.get_view();
  EXPECT_EQ(std::string(text.begin(), text.end()), "hello");
  const Queue<Point> points;
  points.put({4, 5});
  const auto point = points.get_view();
  EXPECT_EQ(point->x, 4);
  EXPECT_EQ(*point, (Point{4, 5}));
  EXPECT_EQ(point.size(), 1U);
}

TEST_F(QueueLoanTest, LoansAndOthersKeepTheirOrder) {
  const Queue<int> queue;
  for (int i = 0; i < 60; i += 3) {
    queue.put(i);
    auto loan = queue.loan();
    *loan = i + 1;
    queue.put(std::move(loan));
    queue.put(i + 2);
  }
  std::vector<int> got;
  for (int i = 0; i < 10; ++i) got.push_back(queue.get());
  while (queue.try_get_many(got, 7) != 0) {
  }
  std::vector<int> expected(60);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(got, expected);
}

TEST_F(QueueLoanTest, TheViewFormsFindNothingInAnEmptyQueue) {
  const Queue<int> queue;
  EXPECT_FALSE(queue.try_get_view());
  EXPECT_FALSE(queue.get_view_for(-1h));
  const auto before = Clock::now();
  EXPECT_FALSE(queue.get_view_for(20ms));
  EXPECT_GE(Clock::now() - before, 20ms);
  queue.put(1);
  EXPECT_EQ(**queue.try_get_view(), 1);
  queue.put(2);
  EXPECT_EQ(**queue.get_view_for(1h), 2);
}

TEST_F(QueueLoanTest, AFullQueueLeavesTheLoanToItsOwner) {
  const Queue<int> queue(1);
  queue.put(0);
  auto loan = queue.loan();
  *loan = 7;
  EXPECT_FALSE(queue.try_put(std::move(loan)));
  EXPECT_FALSE(queue.put_for(std::move(loan), 1ms));  // NOLINT: it was not put
  ASSERT_TRUE(loan);                                  // NOLINT
  EXPECT_EQ(*loan, 7);
  queue.get();
  EXPECT_TRUE(queue.try_put(std::move(loan)));
  EXPECT_FALSE(loan);  // NOLINT
  EXPECT_EQ(queue.get(), 7);
  auto another = queue.loan();
  *another = 8;
  EXPECT_TRUE(queue.put_for(std::move(another), 1h));
  EXPECT_EQ(queue.get(), 8);
}

TEST_F(QueueLoanTest, AnEmptyLoanIsRefused) {
  const Queue<int> queue;
  auto loan = queue.loan();
  *loan = 1;
  queue.put(std::move(loan));
  EXPECT_THROW(queue.put(std::move(loan)), InvalidStateError);      // NOLINT: that is the question
  EXPECT_THROW(queue.try_put(std::move(loan)), InvalidStateError);  // NOLINT
  EXPECT_THROW(loan.bytes(), InvalidStateError);                    // NOLINT
  EXPECT_THROW(loan.span(), InvalidStateError);                     // NOLINT
  EXPECT_EQ(queue.size(), 1U);
}

TEST_F(QueueLoanTest, ALoanThatIsNotPutIsGivenBack) {
  const Doubles queue;
  const std::size_t before = blocks_held();
  {
    const auto small = queue.loan(8);
    const auto large = queue.loan(8'000'000);
    EXPECT_EQ(blocks_held(), before + 2);
  }
  EXPECT_EQ(blocks_held(), before);
  std::optional<Loan<double>> kept = queue.loan(80);
  Loan<double> moved = std::move(*kept);
  kept.reset();
  EXPECT_EQ(blocks_held(), before + 1);
  EXPECT_EQ(moved.size(), 10U);
  moved = queue.loan(160);
  EXPECT_EQ(moved.size(), 20U);
}

TEST_F(QueueLoanTest, AViewIsGivenBackWithItself) {
  const Doubles queue;
  const std::size_t before = blocks_held();
  auto loan = queue.loan(8000);
  fill(loan, 0);
  queue.put(std::move(loan));
  {
    View<double> view = queue.get_view();
    EXPECT_EQ(blocks_held(), before + 1);
    const View<double> moved = std::move(view);
    EXPECT_EQ(moved[999], 999);
  }
  EXPECT_EQ(blocks_held(), before);
}

TEST_F(QueueLoanTest, AViewOutlivesItsQueue) {
  std::optional<View<double>> view;
  {
    const Doubles queue;
    auto loan = queue.loan(8000);
    fill(loan, 1);
    queue.put(std::move(loan));
    view = queue.get_view();
  }
  EXPECT_EQ((*view)[999], 1000);
}

TEST_F(QueueLoanTest, AQueueThatGoesTakesItsLoansAlong) {
  const Doubles queue;
  const std::size_t before = blocks_held();
  {
    const Doubles other;
    for (int i = 0; i < 10; ++i) other.put(other.loan(80'000));
  }
  EXPECT_EQ(blocks_held(), before);
  queue.put(queue.loan(80'000));
  queue.shutdown(true);
  EXPECT_EQ(blocks_held(), before);
}

TEST_F(QueueLoanTest, ABadSizeIsAnError) {
  const Doubles queue;
  EXPECT_THROW(queue.loan(7), std::invalid_argument);
  EXPECT_THROW(queue.loan(9), std::invalid_argument);
  EXPECT_THROW(Queue<Point>().loan(17), std::invalid_argument);
  EXPECT_THROW(queue.loan(std::size_t{1} << 42), cohort::Error);
  EXPECT_THROW(queue.loan(static_cast<std::size_t>(-8)), cohort::Error);
  queue.put(queue.loan());
  EXPECT_EQ(queue.get().size(), 1U);
}

TEST_F(QueueLoanTest, ALoanOfNothingIsAnEmptyMessage) {
  const Doubles queue;
  auto loan = queue.loan(0);
  EXPECT_TRUE(loan);
  EXPECT_EQ(loan.size(), 0U);
  queue.put(std::move(loan));
  queue.put(queue.loan(0));
  EXPECT_EQ(queue.size(), 2U);
  EXPECT_EQ(queue.get_view().size(), 0U);
  EXPECT_EQ(queue.get(), std::vector<double>());
}

TEST_F(QueueLoanTest, ALoanOfAnotherSizeIsNoObjectOfTheQueue) {
  const Queue<Point> queue;
  const auto put_two = [&] {
    auto loan = queue.loan(2 * sizeof(Point));
    loan[0] = {1, 2};
    loan[1] = {3, 4};
    queue.put(std::move(loan));
  };
  put_two();
  put_two();
  put_two();
  queue.put({5, 6});
  EXPECT_EQ(queue.get_view()[1], (Point{3, 4}));
  EXPECT_THROW(queue.get(), cohort::SerializationError);
  std::vector<Point> got;
  EXPECT_THROW(queue.get_many(got, 1), cohort::SerializationError);
  EXPECT_EQ(queue.get(), (Point{5, 6}));
  EXPECT_TRUE(queue.empty());
}

TEST_F(QueueLoanTest, LoansAreAlignedForTheirElements) {
  const Queue<Line> lines;
  const Queue<std::vector<Line>> many;
  for (int i = 0; i < 20; ++i) {
    auto one = lines.loan();
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(one.data()) % alignof(Line), 0U);
    lines.put(std::move(one));
    auto some = many.loan(static_cast<std::size_t>(i) * sizeof(Line));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(some.data()) % alignof(Line), 0U);
    many.put(std::move(some));
  }
  const auto view = lines.get_view();
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(view.data()) % alignof(Line), 0U);
  (void)lines.get();
}

TEST_F(QueueLoanTest, ALentMessageIsATask) {
  const JoinableQueue<int> queue;
  queue.put(queue.loan());
  EXPECT_EQ(queue.unfinished(), 1U);
  {
    const auto view = queue.get_view();
    EXPECT_FALSE(queue.join_for(0s));
  }
  EXPECT_FALSE(queue.join_for(0s));
  queue.task_done();
  queue.join();
}

TEST_F(QueueLoanTest, AQueueThatIsShutDownOrClosedTakesNoLoan) {
  const Queue<int> queue;
  auto loan = queue.loan();
  queue.shutdown();
  EXPECT_THROW(queue.put(std::move(loan)), QueueShutDown);
  EXPECT_TRUE(loan);  // NOLINT: it was not put
  EXPECT_THROW(queue.get_view(), QueueShutDown);
  const Queue<int> closed;
  closed.close();
  EXPECT_THROW(closed.put(std::move(loan)), InvalidStateError);
  EXPECT_THROW(closed.get_view(), InvalidStateError);
  EXPECT_TRUE(loan);  // NOLINT
}

TEST_F(QueueLoanTest, ALoanOfOneQueueMayBePutIntoAnother) {
  const Queue<int> a, b;
  auto loan = a.loan();
  *loan = 5;
  b.put(std::move(loan));
  EXPECT_TRUE(a.empty());
  EXPECT_EQ(b.get(), 5);
}

TEST_F(QueueLoanTest, GetManyTakesLoansToo) {
  const Queue<std::string> queue;
  for (char c : {'a', 'b', 'c'}) {
    queue.put(std::string(1, c));
    auto loan = queue.loan(3);
    std::ranges::fill(loan.span(), c);
    queue.put(std::move(loan));
  }
  std::vector<std::string> got;
  while (queue.try_get_many(got, 10) != 0) {
  }
  EXPECT_EQ(got, (std::vector<std::string>{"a", "aaa", "b", "bbb", "c", "ccc"}));
}

TEST_F(QueueLoanTest, InAChildThatTheHostForkedALoanIsInert) {
  const Doubles queue;
  auto loan = queue.loan(80);
  const std::size_t before = blocks_held();
  EXPECT_NE(thrown_in_host_fork([&] { loan.bytes(); }).find("another process"), std::string::npos);
  EXPECT_NE(thrown_in_host_fork([&] { queue.put(std::move(loan)); }), "nothing was thrown");
  EXPECT_EQ(thrown_in_host_fork([&] { auto gone = std::move(loan); }), "nothing was thrown");
  EXPECT_EQ(blocks_held(), before);
  EXPECT_EQ(loan.size(), 10U);
}

// ---- between processes

constexpr std::size_t kLarge = (std::size_t{64} << 20) / sizeof(double);

TEST_P(QueueLoans, LargeLoansCrossWithoutACopy) {
  const Doubles there, back;
  Children children(GetParam());
  children.add(
      [](const Doubles& in, const Doubles& out) {
        const auto view = in.get_view();
        require(view.size() == kLarge, "its size");
        require(view[0] == 1 && view[kLarge - 1] == static_cast<double>(kLarge), "its content");
        auto reply = out.loan(2 * sizeof(double));
        reply[0] = view[0];
        reply[1] = view[kLarge - 1];
        out.put(std::move(reply));
      },
      there, back);
  const std::size_t before = arena_bytes();
  auto loan = there.loan(kLarge * sizeof(double));
  fill(loan, 1);
  there.put(std::move(loan));
  const auto reply = back.get_view();
  EXPECT_EQ(reply[1], static_cast<double>(kLarge));
  EXPECT_LT(arena_bytes(), before + kLarge * sizeof(double) + (std::size_t{8} << 20));
  children.join();
}

TEST_P(QueueLoans, ManyLoansOfAllSizesArriveInOrder) {
  const Queue<std::vector<int>> queue(10);
  Children children(GetParam());
  children.add(
      [](const Queue<std::vector<int>>& out) {
        for (int i = 0; i < 500; ++i) {
          const auto count = static_cast<std::size_t>(i * i % 10'007);
          if (i % 3 == 0) {
            out.put(std::vector<int>(count, i));
            continue;
          }
          auto loan = out.loan(count * sizeof(int));
          std::ranges::fill(loan.span(), i);
          out.put(std::move(loan));
        }
        out.shutdown();
      },
      queue);
  for (int i = 0; i < 500; ++i) {
    const auto count = static_cast<std::size_t>(i * i % 10'007);
    if (i % 2 == 0) {
      ASSERT_EQ(queue.get(), std::vector<int>(count, i));
    } else {
      const auto view = queue.get_view();
      ASSERT_EQ(view.size(), count);
      ASSERT_TRUE(std::ranges::all_of(view.span(), [&](int x) { return x == i; }));
    }
  }
  EXPECT_THROW(queue.get_view(), QueueShutDown);
  children.join();
}

// The fixture sees to it that nothing stays.
TEST_P(QueueLoans, WhatAKilledProcessHadLentOrViewedIsGivenBack) {
  const Doubles queue;
  for (int i = 0; i < 3; ++i) queue.put(queue.loan(80'000));
  const Event holds;
  Children children(GetParam());
  children.add(
      [](const Doubles& theirs, const Event& ready) {
        const auto small = theirs.loan(8);
        const auto large = theirs.loan(8'000'000);
        const auto view = theirs.get_view();
        ready.set();
        for (;;) ::pause();
      },
      queue, holds);
  holds.wait();
  const std::size_t held = Space::here().heap().blocks_held();
  children.kill(0);
  EXPECT_TRUE(eventually([&] { return Space::here().heap().blocks_held() <= held - 3; }));
  EXPECT_EQ(queue.size(), 2U);
  EXPECT_EQ(queue.get_view().size(), 10'000U);
}

TEST_P(QueueLoans, ALoanOutlivesItsSender) {
  const Queue<std::string> queue;
  Children children(GetParam());
  children.add(
      [](const Queue<std::string>& out) {
        auto loan = out.loan(100'000);
        std::ranges::fill(loan.span(), 'x');
        out.put(std::move(loan));
        ::raise(SIGKILL);
      },
      queue);
  ASSERT_TRUE(ends(children[0]));
  children.kill(0);
  EXPECT_EQ(queue.get_view().size(), 100'000U);
}

}  // namespace
