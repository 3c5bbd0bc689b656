#include <gtest/gtest.h>

#include <atomic>
#include <cohort/pool.hpp>
#include <cohort/process.hpp>
#include <cohort/semaphore.hpp>
#include <limits>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "chaos.hpp"
#include "processes.hpp"
#include "sleepers.hpp"

namespace {

using namespace test;
using cohort::BoundedSemaphore;
using cohort::Process;
using cohort::Semaphore;
using Permit = Semaphore::Permit;

constexpr std::int64_t kMost = (std::int64_t{1} << 31) - 2;

std::string text(const Semaphore& semaphore) {
  std::ostringstream out;
  out << semaphore;
  return out.str();
}

// Runs the call, which must throw E, and answers its text.
template <class E, class Call>
std::string error_of(Call&& call) {
  try {
    call();
  } catch (const E& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

std::size_t permit_records() {
  std::size_t count = 0;
  Space::here().heap().for_each_block(
      cohort::arena::Purpose::permit,
      [&](cohort::arena::Offset, cohort::arena::Owner) { ++count; });
  return count;
}

class SemaphoreTest : public Watched {
 protected:
  void TearDown() override {
    EXPECT_EQ(permit_records(), 0U);
    Watched::TearDown();
  }
};
class SemaphoreBetweenProcesses : public EachMethod {};
INSTANTIATE_TEST_SUITE_P(Methods, SemaphoreBetweenProcesses, every_method(), method_name);

// ---- numbers

// behaviour: Semaphore/default-one
TEST_F(SemaphoreTest, StartsWithOnePermit) {
  EXPECT_EQ(Semaphore().value(), 1);
  EXPECT_EQ(BoundedSemaphore().value(), 1);
}

// behaviour: Semaphore/negative-start-error
TEST_F(SemaphoreTest, RefusesFirstValuesOutOfRangeAndNamesThem) {
  auto refused = [](std::int64_t value) {
    return error_of<std::invalid_argument>([&] { Semaphore semaphore(value); });
  };
  EXPECT_NE(refused(-1).find("-1"), std::string::npos);
  EXPECT_NE(refused(kMost + 1).find("2147483647"), std::string::npos);
  EXPECT_NE(refused(std::numeric_limits<std::int64_t>::min()).find("-9223"), std::string::npos);
  EXPECT_NE(refused(std::int64_t{1} << 32).find("4294967296"), std::string::npos);
  EXPECT_THROW(BoundedSemaphore(-1), std::invalid_argument);
  EXPECT_EQ(Semaphore(kMost).value(), kMost);
  EXPECT_EQ(Semaphore(0).value(), 0);
}

// behaviour: MpSemaphore/count
TEST_F(SemaphoreTest, CountsDownAndUpAndFailsAtZero) {
  Semaphore semaphore(2);
  semaphore.acquire();
  EXPECT_EQ(semaphore.value(), 1);
  EXPECT_TRUE(semaphore.try_acquire());
  EXPECT_EQ(semaphore.value(), 0);
  EXPECT_FALSE(semaphore.try_acquire());
  EXPECT_EQ(semaphore.value(), 0);
  semaphore.release();
  EXPECT_EQ(semaphore.value(), 1);
  semaphore.release();
  EXPECT_EQ(semaphore.value(), 2);
}

// behaviour: MpSemaphore/bounded-behaves-alike
// behaviour: MpSemaphore/bounded-over-release
TEST_F(SemaphoreTest, ABoundedOneCountsAlikeUpToItsFirstValue) {
  BoundedSemaphore semaphore(2);
  semaphore.acquire();
  EXPECT_TRUE(semaphore.try_acquire());
  EXPECT_FALSE(semaphore.try_acquire());
  semaphore.release();
  EXPECT_THROW(semaphore.release(2), std::overflow_error);
  EXPECT_EQ(semaphore.value(), 1);  // none of the two was added
  semaphore.release();
  auto error = error_of<std::overflow_error>([&] { semaphore.release(); });
  EXPECT_NE(error.find("2"), std::string::npos) << error;
  EXPECT_EQ(semaphore.value(), 2);
  EXPECT_THROW(BoundedSemaphore(0).release(), std::overflow_error);
}

// behaviour: Semaphore/may-exceed-start
TEST_F(SemaphoreTest, AnUnboundedOneMayExceedItsFirstValue) {
  Semaphore semaphore(1);
  semaphore.release();
  semaphore.release(5);
  EXPECT_EQ(semaphore.value(), 7);
  semaphore.release(kMost - 7);
  EXPECT_EQ(semaphore.value(), kMost);
  EXPECT_THROW(semaphore.release(), std::overflow_error);
  EXPECT_THROW(semaphore.release(std::numeric_limits<std::int64_t>::max()), std::overflow_error);
  EXPECT_EQ(semaphore.value(), kMost);
}

TEST_F(SemaphoreTest, RefusesToReleaseLessThanOneAndNamesTheNumber) {
  Semaphore semaphore(1);
  for (std::int64_t count : {std::int64_t{0}, std::int64_t{-3}, -(std::int64_t{1} << 40)}) {
    auto error = error_of<std::invalid_argument>([&] { semaphore.release(count); });
    EXPECT_NE(error.find(std::to_string(count)), std::string::npos) << error;
  }
  EXPECT_EQ(semaphore.value(), 1);
}

// behaviour: Semaphore/describe-value
// behaviour: BoundedSemaphore/describe-value
TEST_F(SemaphoreTest, TheTextFormShowsValueAndBound) {
  Semaphore semaphore(3);
  BoundedSemaphore bounded(4);
  semaphore.acquire();
  bounded.acquire();
  EXPECT_EQ(text(semaphore), "<Semaphore value=2>");
  EXPECT_EQ(text(bounded), "<BoundedSemaphore value=3 of 4>");
}

// behaviour: BoundedSemaphore/over-release-after-threads
TEST_F(SemaphoreTest, AfterManyThreadsOneMoreReleaseOfABoundedOneFails) {
  for (std::int64_t bound = 1; bound < 10; ++bound) {
    BoundedSemaphore semaphore(bound);
    std::vector<std::thread> threads;
    for (std::int64_t i = 0; i < bound; ++i) threads.emplace_back([&] { semaphore.acquire(); });
    for (auto& thread : threads) thread.join();
    EXPECT_FALSE(semaphore.try_acquire());
    threads.clear();
    for (std::int64_t i = 0; i < bound; ++i) threads.emplace_back([&] { semaphore.release(); });
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(semaphore.value(), bound);
    EXPECT_THROW(semaphore.release(), std::overflow_error);
  }
}

// behaviour: Semaphore/destroy-held
TEST_F(SemaphoreTest, MayGoWhilePartlyAcquired) {
  auto before = Space::here().heap().blocks_held();
  {
    Semaphore semaphore(3);
    semaphore.acquire();
    semaphore.acquire();
    Permit permit = semaphore.hold();
  }
  EXPECT_EQ(Space::here().heap().blocks_held(), before);
}

// ---- waits

// behaviour: Semaphore/timeout
// behaviour: MpSemaphore/timeouts
TEST_F(SemaphoreTest, TimedAcquiresTakeWhatIsThereAndElseFailAfterTheirTime) {
  Semaphore semaphore(1);
  EXPECT_TRUE(semaphore.try_acquire_for(30s));
  EXPECT_FALSE(semaphore.try_acquire_for(0s));
  EXPECT_FALSE(semaphore.try_acquire_for(-1s));
  EXPECT_FALSE(semaphore.try_acquire());
  for (auto limit : {1ms, 30ms, 250ms}) {
    auto before = Clock::now();
    EXPECT_FALSE(semaphore.try_acquire_for(limit));
    EXPECT_GE(Clock::now() - before, limit);
    before = Clock::now();
    EXPECT_FALSE(semaphore.try_hold_for(limit));
    EXPECT_GE(Clock::now() - before, limit);
  }
  EXPECT_FALSE(semaphore.try_acquire_until(std::chrono::system_clock::now() + 2ms));
  semaphore.release();
  EXPECT_TRUE(semaphore.try_acquire_until(std::chrono::system_clock::now() - 1h));
  EXPECT_EQ(semaphore.value(), 0);
}

// behaviour: Semaphore/timeout-with-nonblocking
template <class S>
concept TriesWithALimit = requires(const S& semaphore) {
  semaphore.try_acquire(1s);
};
TEST_F(SemaphoreTest, ATryHasNoPlaceForALimit) {
  static_assert(!TriesWithALimit<Semaphore>);
  EXPECT_FALSE(Semaphore(0).try_acquire());
}

// behaviour: Semaphore/contended-exact
TEST_F(SemaphoreTest, ExactlyAsManyGetOnAsWereReleased) {
  Semaphore semaphore(7);
  std::atomic<int> taken{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 10; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 2; ++k) {
        semaphore.acquire();
        ++taken;
      }
    });
  }
  int released = 7;
  for (int more : {0, 1, 4, 2}) {
    if (more) semaphore.release(more);
    released += more;
    EXPECT_TRUE(eventually([&] { return taken == released; }));
    EXPECT_TRUE(sleep_comes(semaphore, 1));
    EXPECT_EQ(taken, released);
    EXPECT_EQ(semaphore.value(), 0);
  }
  for (; released < 20; ++released) semaphore.release();
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(taken, 20);
  EXPECT_EQ(semaphore.value(), 0);
  EXPECT_FALSE(semaphore.try_acquire());
}

// behaviour: Semaphore/try-contended
TEST_F(SemaphoreTest, OfTenTriesForThreePermitsThreeSucceed) {
  Semaphore semaphore(3);
  std::atomic<int> taken{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 5; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 2; ++k) taken += semaphore.try_acquire() ? 1 : 0;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(taken, 3);
  EXPECT_EQ(semaphore.value(), 0);
}

// behaviour: Semaphore/release-many
TEST_F(SemaphoreTest, OneReleaseOfManyWakesAsMany) {
  for (int round = 0; round < 20; ++round) {
    Semaphore semaphore(0);
    std::atomic<int> taken{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 6; ++i) {
      threads.emplace_back([&, held = i % 2 == 0] {
        if (held) {
          Permit permit = semaphore.hold();
          ++taken;
          EXPECT_TRUE(eventually([&] { return taken == 6; }));
        } else {
          semaphore.acquire();
          ++taken;
        }
      });
    }
    ASSERT_TRUE(sleep_comes(semaphore, 6));
    semaphore.release(4);
    ASSERT_TRUE(eventually([&] { return taken == 4; }));
    semaphore.release(2);
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(semaphore.value(), 3);
  }
}

// No wake-up is lost, or each would cost a bounded sleep; and none goes to nobody for ever.
TEST_F(SemaphoreTest, HandsPermitsToAndFroBetweenThreads) {
  constexpr int kRounds = kSanitized ? 2'000 : 20'000;
  Semaphore ping(0);
  Semaphore pong(0);
  int data = 0;  // not atomic: the semaphores order it
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < kRounds / 4; ++k) {
        ping.acquire();
        ++data;
        pong.release();
      }
    });
  }
  for (int i = 0; i < kRounds / 4 * 3; ++i) {
    ++data;
    ping.release();
    pong.acquire();
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(data, kRounds / 4 * 6);
}

TEST_F(SemaphoreTest, ATimedOutSleeperLeavesTheOthersTheirTurn) {
  for (int round = 0; round < (kSanitized ? 20 : 200); ++round) {
    Semaphore semaphore(0);
    std::atomic<bool> late{false};
    std::thread patient([&] { semaphore.acquire(); });
    std::thread hasty([&] { late = semaphore.try_acquire_for(std::chrono::microseconds(50)); });
    ASSERT_TRUE(sleep_comes(semaphore, 1));
    semaphore.release();
    hasty.join();
    if (late) semaphore.release();
    patient.join();
    EXPECT_EQ(semaphore.value(), 0);
  }
}

// ---- permits

TEST_F(SemaphoreTest, APermitIsOneLessUntilItGoes) {
  Semaphore semaphore(2);
  {
    Permit permit = semaphore.hold();
    EXPECT_TRUE(permit);
    EXPECT_EQ(semaphore.value(), 1);
    auto second = semaphore.try_hold();
    ASSERT_TRUE(second);
    EXPECT_EQ(semaphore.value(), 0);
    EXPECT_FALSE(semaphore.try_hold());
    EXPECT_FALSE(semaphore.try_acquire());
    EXPECT_EQ(permit_records(), 2U);
  }
  EXPECT_EQ(semaphore.value(), 2);
}

TEST_F(SemaphoreTest, APermitIsGivenBackOnce) {
  Semaphore semaphore(1);
  Permit permit = semaphore.hold();
  permit.release();
  EXPECT_FALSE(permit);
  EXPECT_EQ(semaphore.value(), 1);
  permit.release();
  EXPECT_EQ(semaphore.value(), 1);
}

TEST_F(SemaphoreTest, APermitMovesAndItsPlaceStaysEmpty) {
  Semaphore semaphore(2);
  Permit first = semaphore.hold();
  Permit second = std::move(first);
  EXPECT_FALSE(first);
  EXPECT_TRUE(second);
  first.release();
  EXPECT_EQ(semaphore.value(), 1);
  first = semaphore.hold();
  EXPECT_EQ(semaphore.value(), 0);
  first = std::move(second);  // gives back the one it had
  EXPECT_EQ(semaphore.value(), 1);
  Permit& same = first;
  first = std::move(same);
  EXPECT_TRUE(first);
  EXPECT_EQ(semaphore.value(), 1);
  std::thread([taken = std::move(first)] {}).join();
  EXPECT_EQ(semaphore.value(), 2);
}

TEST_F(SemaphoreTest, APermitKeepsItsSemaphore) {
  auto permit = [] { return Semaphore(1).hold(); }();
  EXPECT_TRUE(permit);
  permit.release();
}

TEST_F(SemaphoreTest, APermitBeyondTheBoundIsDropped) {
  BoundedSemaphore semaphore(2);
  Permit permit = semaphore.hold();
  semaphore.release();  // of what nobody acquired
  permit.release();
  EXPECT_EQ(semaphore.value(), 2);
}

TEST_F(SemaphoreTest, AWaitForAPermitEndsWhenOneComesBack) {
  Semaphore semaphore(1);
  auto permit = std::optional(semaphore.hold());
  std::atomic<int> got{0};
  std::thread plain([&] {
    semaphore.acquire();
    ++got;
    semaphore.release();
  });
  std::thread holder([&] {
    auto mine = semaphore.try_hold_for(30s);
    got += mine ? 1 : 0;
  });
  EXPECT_TRUE(sleep_comes(semaphore, 2));
  permit.reset();
  plain.join();
  holder.join();
  EXPECT_EQ(got, 2);
  EXPECT_EQ(semaphore.value(), 1);
}

TEST_F(SemaphoreTest, PermitsAndPlainOnesAreCountedExactlyBetweenThreads) {
  BoundedSemaphore semaphore(3);
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&, plain = i % 2 == 0] {
      for (int k = 0; k < (kSanitized ? 300 : 3'000); ++k) {
        std::optional<Permit> permit;
        if (plain) {
          semaphore.acquire();
        } else {
          permit.emplace(semaphore.hold());
        }
        int now = ++inside;
        int seen = most.load();
        while (seen < now && !most.compare_exchange_weak(seen, now)) {
        }
        --inside;
        if (plain) semaphore.release();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_LE(most, 3);
  EXPECT_EQ(semaphore.value(), 3);
}

// ---- handles

TEST_F(SemaphoreTest, CopiesAreTheSameObject) {
  Semaphore semaphore(1);
  Semaphore copy = semaphore;
  EXPECT_EQ(semaphore, copy);
  EXPECT_FALSE(semaphore == Semaphore(1));
  copy.acquire();
  EXPECT_EQ(semaphore.value(), 0);
  Semaphore moved = std::move(copy);
  EXPECT_EQ(moved, semaphore);
  EXPECT_THROW(copy.acquire(), cohort::Error);
  EXPECT_THROW(copy.release(), cohort::Error);
  EXPECT_THROW(copy.hold(), cohort::Error);
}

TEST_P(SemaphoreBetweenProcesses, AChildTakesAndGives) {
  Semaphore wanted(0);
  BoundedSemaphore given(3);
  Process child(
      with(),
      [](const Semaphore& mine, const BoundedSemaphore& theirs) {
        theirs.acquire();
        theirs.acquire();
        mine.release(2);
        mine.acquire();
      },
      wanted, given);
  child.start();
  wanted.acquire();
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
  EXPECT_EQ(given.value(), 1);  // what a plain acquire took stays taken
  EXPECT_EQ(wanted.value(), 0);
  EXPECT_EQ(text(given), "<BoundedSemaphore value=1 of 3>");
}

TEST_P(SemaphoreBetweenProcesses, APermitComesBackWhenItsProcessEndsHoweverItEnds) {
  Semaphore semaphore(4);
  Semaphore held(0);
  auto body = [](const Semaphore& theirs, const Semaphore& ready, int how) {
    auto* kept = new Permit(theirs.hold());  // goes with the process, not before
    ready.release();
    if (how == 0) std::exit(3);
    if (how == 1) ::_exit(4);
    if (how == 2) ::raise(SIGKILL);
    if (how == 3) ::raise(SIGTERM);
    (void)kept;
  };
  std::vector<Process> children;
  for (int how = 0; how < 4; ++how) children.emplace_back(with(), body, semaphore, held, how);
  for (auto& child : children) child.start();
  for (auto& child : children) {
    held.acquire();
    child.join();
  }
  EXPECT_EQ(children[0].exitcode(), 3);
  EXPECT_EQ(children[1].exitcode(), 4);
  EXPECT_EQ(children[2].exitcode(), -SIGKILL);
  EXPECT_EQ(children[3].exitcode(), -SIGTERM);
  EXPECT_TRUE(eventually([&] { return semaphore.value() == 4; })) << semaphore.value();
}

struct Gates {
  Semaphore one;
  std::vector<BoundedSemaphore> more;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(one, more);
  }
};

TEST_P(SemaphoreBetweenProcesses, CrossInStructsAndVectors) {
  Gates gates{Semaphore(0), {BoundedSemaphore(1), BoundedSemaphore(2)}};
  Process child(
      with(),
      [](const Gates& theirs) {
        theirs.one.acquire();
        for (const auto& gate : theirs.more) gate.acquire();
        theirs.one.release(2);
      },
      gates);
  child.start();
  EXPECT_TRUE(sleep_comes(gates.one, 1));
  gates.one.release();
  child.join();
  EXPECT_EQ(gates.one.value(), 2);
  EXPECT_EQ(gates.more[0].value(), 0);
  EXPECT_EQ(gates.more[1].value(), 1);
}

TEST_P(SemaphoreBetweenProcesses, TasksOfAPoolUseIt) {
  cohort::Pool pool({.processes = 3, .start_method = GetParam()});
  Semaphore semaphore(2);
  auto inside = Cells(2);
  auto body = [](const Semaphore& theirs, const Cells& cells, int) {
    auto permit = theirs.hold();
    auto now = ++cells[0];
    auto most = cells[1].load();
    while (most < now && !cells[1].compare_exchange_weak(most, now)) {
    }
    --cells[0];
    return theirs;
  };
  auto results = pool.map(cohort::bind(body, semaphore, inside), std::vector<int>(50));
  for (const Semaphore& result : results) EXPECT_EQ(result, semaphore);
  EXPECT_LE(inside[1].load(), 2U);
  EXPECT_EQ(semaphore.value(), 2);
}

TEST_P(SemaphoreBetweenProcesses, LimitsHowManyProcessesAreInside) {
  Semaphore semaphore(2);
  Cells inside(2);
  auto body = [](const Semaphore& theirs, const Cells& cells) {
    for (int i = 0; i < 500; ++i) {
      auto permit = theirs.hold();
      auto now = ++cells[0];
      auto most = cells[1].load();
      while (most < now && !cells[1].compare_exchange_weak(most, now)) {
      }
      --cells[0];
    }
  };
  std::vector<Process> children;
  for (int i = 0; i < 4; ++i) children.emplace_back(with(), body, semaphore, inside);
  for (auto& child : children) child.start();
  for (auto& child : children) {
    child.join();
    EXPECT_EQ(child.exitcode(), 0);
  }
  EXPECT_LE(inside[1].load(), 2U);
  EXPECT_EQ(semaphore.value(), 2);
}

// ---- forked copies of a permit

TEST_F(SemaphoreTest, ACopyOfAPermitInAForkedChildIsEmpty) {
  Semaphore semaphore(5);
  Permit permit = semaphore.hold();
  Process child = Process::forked([&] {
    int wrong = permit ? 1 : 0;
    permit.release();
    wrong += semaphore.value() == 4 ? 0 : 2;
    std::exit(wrong);
  });
  child.start();
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
  EXPECT_EQ(semaphore.value(), 4);
  EXPECT_TRUE(permit);
}

// The record passes to the child for a permit of its own, which the copy must leave alone.
TEST_F(SemaphoreTest, ACopyOfAPermitInAForkedChildDoesNotTouchALaterUseOfItsRecord) {
  Semaphore semaphore(5);
  Semaphore turn(0);
  auto permit = std::optional(semaphore.hold());
  Process child = Process::forked([&] {
    turn.acquire();
    for (int i = 0; i < 2000; ++i) {
      Permit own = semaphore.hold();  // one of them in that record
      if (*permit) std::exit(3);
    }
    std::exit(semaphore.value() == 5 ? 0 : 5);
  });
  child.start();
  permit.reset();
  turn.release();
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
  EXPECT_EQ(semaphore.value(), 5);
}

TEST_F(SemaphoreTest, ACopyInAChildThatTheProgramForkedByItselfIsEmpty) {
  Semaphore semaphore(5);
  Permit permit = semaphore.hold();
  pid_t pid = ::fork();
  if (pid == 0) {
    Semaphore own(1);  // of a family of its own
    Permit held = own.hold();
    int wrong = permit ? 1 : 0;
    permit.release();
    wrong += own.value() == 0 ? 0 : 2;
    try {
      semaphore.release();
      wrong += 4;
    } catch (const cohort::Error&) {
    }
    ::_exit(wrong);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(permit);
  EXPECT_EQ(semaphore.value(), 4);
}

}  // namespace
