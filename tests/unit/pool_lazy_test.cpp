#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cohort/pool.hpp>
#include <cohort/sync.hpp>
#include <cstddef>
#include <list>
#include <memory>
#include <numeric>
#include <optional>
#include <ranges>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "pool_fixture.hpp"

namespace {

using namespace pool_tests;
using cohort::Event;
using cohort::Pool;

int square(int x) { return x * x; }
int same(int x) { return x; }
int wait_for(const Event& gate) {
  gate.wait();
  return 1;
}
// Items that end in 7 fail, each in a way of its own.
int treacherous(int x) {
  if (x == 7) throw std::domain_error("seven");
  if (x == 17) ::raise(SIGKILL);
  if (x == 27) std::exit(3);
  return x;
}
int hang_at(int bad, int x) {
  while (x % 10 == bad) ::pause();
  return x;
}

class PoolLazy : public PoolTest {};
INSTANTIATE_TEST_SUITE_P(Every, PoolLazy, kEveryMethod, method_name);

// How an item ended: what it answered, else minus the kind of its error.
template <class Results>
std::vector<int> all_of(Results&& results) {
  std::vector<int> outcomes;
  for (;;) {
    try {
      auto x = results.next();
      if (!x) return outcomes;
      outcomes.push_back(*x);
    } catch (const std::domain_error&) {
      outcomes.push_back(-1);
    } catch (const cohort::WorkerDied&) {
      outcomes.push_back(-2);
    } catch (const cohort::TimeoutError&) {
      outcomes.push_back(-3);
    } catch (const cohort::CancelledError&) {
      outcomes.push_back(-4);
    }
  }
}

TEST_P(PoolLazy, AnEndlessInputIsDrawnOnlyAFewItemsAhead) {
  Pool pool(options(2));
  for (bool ordered : {true, false}) {
    for (std::size_t lookahead : {0, 1, 3, 50}) {
      int drawn = 0;
      auto endless = std::views::iota(0) | std::views::transform([&](int x) {
                       ++drawn;
                       return x % 1000;
                     });
      cohort::MapOptions how{.lookahead = lookahead};
      auto results =
          ordered ? pool.imap(how, same, endless) : pool.imap_unordered(how, same, endless);
      int most = lookahead ? static_cast<int>(lookahead) : 8;
      EXPECT_EQ(drawn, most);
      for (int taken = 1; taken <= 100; ++taken) {
        ASSERT_TRUE(results.next());
        ASSERT_LE(drawn, taken + most);
      }
    }
  }
}

TEST_P(PoolLazy, ChunksDrawNoMoreThanTheirItemsAhead) {
  Pool pool(options(2));
  int drawn = 0;
  auto endless = std::views::iota(0) | std::views::transform([&](int x) {
                   ++drawn;
                   return x % 1000;
                 });
  auto results = pool.imap({.chunksize = 10, .lookahead = 30}, same, endless);
  EXPECT_EQ(drawn, 30);
  for (int i = 0; i < 95; ++i) ASSERT_EQ(results.next(), i);
  EXPECT_LE(drawn, 95 + 10 + 30);
}

TEST_P(PoolLazy, ABreakEndsThePullAndCancelsTheRest) {
  Pool pool(options(2));
  int sum = 0;
  for (int x : pool.imap(square, std::views::iota(0))) {
    if (x > 1000) break;
    sum += x;
  }
  EXPECT_EQ(sum, 31 * 32 * 63 / 6);
  // Also what runs at that moment and would never end.
  for (int x : pool.imap(cohort::bind(hang_at, 3), std::views::iota(0, 100))) {
    if (x == 2) break;
  }
  EXPECT_EQ(pool.apply(square, 3), 9);
}

TEST_P(PoolLazy, AClosedRangeIsAtItsEnd) {
  Pool pool(options(1));
  auto results = pool.imap(square, std::views::iota(0));
  EXPECT_EQ(results.next(), 0);
  results.close();
  EXPECT_EQ(results.next(), std::nullopt);
  EXPECT_TRUE(results.begin() == results.end());
}

TEST_P(PoolLazy, AnItemThatFailsThrowsInItsTurnAndTheRestIsRight) {
  Pool pool(options(2));
  for (std::size_t chunksize : {1, 10, 100}) {
    std::vector<int> expected(40);
    std::iota(expected.begin(), expected.end(), 0);
    expected[7] = -1;
    expected[17] = expected[27] = -2;
    EXPECT_EQ(all_of(pool.imap({.chunksize = chunksize}, treacherous, std::views::iota(0, 40))),
              expected);
    auto unordered =
        all_of(pool.imap_unordered({.chunksize = chunksize}, treacherous, std::views::iota(0, 40)));
    std::sort(expected.begin(), expected.end());
    std::sort(unordered.begin(), unordered.end());
    EXPECT_EQ(unordered, expected);
  }
}

TEST_P(PoolLazy, ALoopCanGoOnAfterAnItemThatThrew) {
  Pool pool(options(2));
  auto results = pool.imap(treacherous, std::views::iota(0, 12));
  std::vector<int> seen;
  EXPECT_THROW(for (int x : results) seen.push_back(x), std::domain_error);
  EXPECT_EQ(seen.size(), 7U);
  for (int x : results) seen.push_back(x);
  EXPECT_EQ(seen, (std::vector{0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11}));
}

TEST_P(PoolLazy, OnlyTheItemsPastTheirLimitFail) {
  Pool pool(options(2));
  std::vector<int> expected(20);
  std::iota(expected.begin(), expected.end(), 0);
  expected[3] = expected[13] = -3;
  EXPECT_EQ(all_of(pool.imap({.chunksize = 10, .timeout = 300ms}, cohort::bind(hang_at, 3),
                             std::views::iota(0, 20))),
            expected);
}

TEST_P(PoolLazy, RetriesRunOnlyTheLostItemAgain) {
  auto two = options(2);
  two.retries = 1;
  Pool pool(two);
  SharedFile file;
  auto visit = [](const std::string& path, int x) {
    std::string mine = path + "." + std::to_string(x);
    // The first time it is made, the second time it is removed.
    if (x % 10 != 7) return x;
    if (::unlink(mine.c_str()) == 0) return x;
    if (::symlink("x", mine.c_str()) == 0) ::raise(SIGKILL);
    return -99;
  };
  std::vector<int> expected(30);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(all_of(pool.imap({.chunksize = 10}, cohort::bind(visit, file.path()), expected)),
            expected);
}

TEST_P(PoolLazy, UnorderedResultsDoNotWaitForSlowOnes) {
  Pool pool(options(2));
  Event gate;
  auto work = [](const Event& event, int x) {
    if (x == 0) event.wait();
    return x;
  };
  auto results = pool.imap_unordered(cohort::bind(work, gate), std::views::iota(0, 6));
  std::vector<int> seen;
  for (int i = 0; i < 5; ++i) seen.push_back(results.next(20s).value());
  EXPECT_THROW(results.next(1ms), cohort::TimeoutError);
  gate.set();
  EXPECT_EQ(results.next(20s), 0);
  EXPECT_EQ(results.next(), std::nullopt);
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(seen, (std::vector{1, 2, 3, 4, 5}));
}

TEST_P(PoolLazy, EveryKindOfInputAndResultGoes) {
  Pool pool(options(2));
  std::list<int> list{1, 2, 3};
  EXPECT_EQ(all_of(pool.imap(square, list)), (std::vector{1, 4, 9}));
  EXPECT_EQ(all_of(pool.imap(square, {4, 5})), (std::vector{16, 25}));
  EXPECT_EQ(all_of(pool.imap(square, std::vector<int>{6})), (std::vector{36}));
  std::istringstream words("3 4 5");
  EXPECT_EQ(all_of(pool.imap(square, std::views::istream<int>(words))), (std::vector{9, 16, 25}));
  auto boxed = pool.imap([](int x) { return std::make_unique<int>(x); }, {7, 8});
  EXPECT_EQ(*boxed.next().value(), 7);
  EXPECT_EQ(**boxed.begin(), 8);
  auto nothing = pool.imap([](int) {}, {1, 2});
  int count = 0;
  while (nothing.next()) ++count;
  EXPECT_EQ(count, 2);
  auto texts = pool.imap([](const std::string& s) { return s + s; },
                         std::vector<std::string>{"a", std::string(10'000, 'b')});
  EXPECT_EQ(texts.next(), "aa");
  EXPECT_EQ(texts.next(), std::string(20'000, 'b'));
}

TEST_P(PoolLazy, WhatTheInputThrowsComesLast) {
  Pool pool(options(2));
  auto source = std::views::iota(0, 100) | std::views::transform([](int i) {
                  if (i == 25) throw std::out_of_range("source");
                  return i;
                });
  auto results = pool.imap({.chunksize = 10}, same, source);
  for (int i = 0; i < 25; ++i) ASSERT_EQ(results.next(), i);
  EXPECT_THROW(results.next(), std::out_of_range);
  EXPECT_EQ(results.next(), std::nullopt);
}

TEST_P(PoolLazy, TheResultsThatAreOutEndWithThePool) {
  Event gate;
  Event entered;
  auto work = [](const Event& in, const Event& out, int x) {
    in.set();
    if (x == 1) out.wait();
    return x;
  };
  for (bool ordered : {true, false}) {
    Pool pool(options(1));
    auto bound = cohort::bind(work, entered, gate);
    auto numbers = std::views::iota(0, 3);
    auto results = ordered ? pool.imap(bound, numbers) : pool.imap_unordered(bound, numbers);
    EXPECT_EQ(results.next(), 0);
    pool.terminate();
    pool.join();
    EXPECT_EQ(all_of(results), (std::vector{-4, -4}));
  }
}

TEST_P(PoolLazy, DrawingFromAClosedPoolIsRefusedInItsTurn) {
  Pool pool(options(1));
  auto results = pool.imap({.lookahead = 2}, same, std::views::iota(0));
  pool.close();
  EXPECT_EQ(results.next(), 0);
  EXPECT_EQ(results.next(), 1);
  EXPECT_THROW(results.next(), cohort::InvalidStateError);
  EXPECT_EQ(results.next(), std::nullopt);
  pool.join();
}

TEST_P(PoolLazy, SeveralRangesShareAPool) {
  Pool pool(options(2));
  auto evens = pool.imap(square, std::views::iota(0));
  auto odds = pool.imap(cohort::bind([](int by, int x) { return x + by; }, 1), std::views::iota(0));
  for (int i = 0; i < 200; ++i) {
    ASSERT_EQ(evens.next(), i * i);
    ASSERT_EQ(odds.next(), i + 1);
  }
}

TEST_P(PoolLazy, ARangeThatIsDroppedInAForkedChildGoesOnHere) {
  Pool pool(options(1));
  Event gate;
  auto work = [](const Event& event, int x) {
    event.wait();
    return x;
  };
  for (bool ordered : {true, false}) {
    gate.clear();
    auto bound = cohort::bind(work, gate);
    auto numbers = std::views::iota(0, 5);
    auto results = ordered ? pool.imap(bound, numbers) : pool.imap_unordered(bound, numbers);
    auto forked = cohort::Process::forked([&] { results.close(); });
    forked.start();
    forked.join();
    EXPECT_EQ(forked.exitcode(), 0);
    gate.set();
    auto outcomes = all_of(results);
    std::sort(outcomes.begin(), outcomes.end());
    EXPECT_EQ(outcomes, (std::vector{0, 1, 2, 3, 4}));
  }
}

TEST_P(PoolLazy, ARangeWithCallsOutMayBeDropped) {
  Pool pool(options(1));
  Event gate;
  std::vector<Event> gates(20, gate);
  {
    auto ordered = pool.imap(wait_for, gates);
    auto unordered = pool.imap_unordered(wait_for, gates);
  }
  EXPECT_EQ(pool.apply(square, 3), 9);
}

}  // namespace
