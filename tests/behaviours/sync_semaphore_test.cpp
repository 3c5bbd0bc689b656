#include <sstream>
#include <stdexcept>

#include "sync_fixture.hpp"

namespace {

using namespace test;
using cohort::BoundedSemaphore;
using cohort::Semaphore;

class MpSemaphore : public EachMethodSync {};
INSTANTIATE_TEST_SUITE_P(Methods, MpSemaphore, every_method(), method_name);
using SyncSemaphore = SyncTest;

// In the creator and in a child, one after the other.
template <class S>
void count_down_and_up(const S& semaphore) {
  require(semaphore.value() == 2, "it begins with two");
  semaphore.acquire();
  require(semaphore.value() == 1, "one is taken");
  require(semaphore.try_acquire(), "a second is there");
  require(semaphore.value() == 0, "both are taken");
  require(!semaphore.try_acquire(), "no third");
  require(semaphore.value() == 0, "a failed try changes nothing");
  semaphore.release();
  require(semaphore.value() == 1, "one is back");
  semaphore.release();
  require(semaphore.value() == 2, "both are back");
}

// behaviour: MpSemaphore/count
TEST_P(MpSemaphore, TheValueGoesDownOnAcquireAndUpOnRelease) {
  Semaphore semaphore(2);
  Children children(GetParam());
  children.add(count_down_and_up<Semaphore>, semaphore);
  children.join();
  count_down_and_up(semaphore);
  semaphore.acquire();
  children.add([](const Semaphore& theirs) { theirs.release(2); }, semaphore);
  children.join();
  EXPECT_EQ(semaphore.value(), 3);
}

// behaviour: MpSemaphore/bounded-behaves-alike
TEST_P(MpSemaphore, ABoundedOneCountsAlikeUpToItsFirstValue) {
  BoundedSemaphore semaphore(2);
  Children children(GetParam());
  children.add(count_down_and_up<BoundedSemaphore>, semaphore);
  children.join();
  count_down_and_up(semaphore);
}

// behaviour: MpSemaphore/bounded-over-release
TEST_P(MpSemaphore, ReleasingABoundedOneBeyondItsFirstValueIsAnError) {
  BoundedSemaphore semaphore(2);
  EXPECT_THROW(semaphore.release(), std::overflow_error);
  semaphore.acquire();
  EXPECT_THROW(semaphore.release(2), std::overflow_error);
  EXPECT_EQ(semaphore.value(), 1);
  Children children(GetParam());
  children.add(
      [](const BoundedSemaphore& theirs) {
        theirs.release();  // what the creator took
        try {
          theirs.release();
        } catch (const std::overflow_error&) {
          return;
        }
        throw std::runtime_error("one too many was accepted");
      },
      semaphore);
  children.join();
  EXPECT_EQ(semaphore.value(), 2);
}

// behaviour: MpSemaphore/timeouts
TEST_P(MpSemaphore, NonBlockingFailsAtOnceAndATimedAcquireAfterItsTime) {
  Children children(GetParam());
  children.add(
      [](const Semaphore& semaphore) {
        require(!semaphore.try_acquire(), "none is there");
        require(!semaphore.try_acquire_for(0s), "nor in no time");
        require(!semaphore.try_acquire_for(-1h), "nor in less");
        const auto before = Clock::now();
        require(!semaphore.try_acquire_for(100ms), "nor in a while");
        require(Clock::now() - before >= 100ms, "not before its time");
      },
      Semaphore(0));
  children.join();
}

// behaviour: Semaphore/negative-start-error
TEST_F(SyncSemaphore, ANegativeFirstValueIsAnError) {
  EXPECT_THROW(Semaphore(-1), std::invalid_argument);
  EXPECT_THROW(BoundedSemaphore(-1), std::invalid_argument);
  EXPECT_THROW(Semaphore(INT64_MIN), std::invalid_argument);
}

// behaviour: Semaphore/default-one
TEST_F(SyncSemaphore, TheDefaultFirstValueIsOne) {
  Semaphore semaphore;
  EXPECT_EQ(semaphore.value(), 1);
  EXPECT_TRUE(semaphore.try_acquire());
  EXPECT_FALSE(semaphore.try_acquire());
  EXPECT_EQ(BoundedSemaphore().value(), 1);
}

// behaviour: Semaphore/destroy-held
TEST_F(SyncSemaphore, MayBeDestroyedWhilePartlyAcquired) {
  for (int i = 0; i < 100; ++i) {
    Semaphore semaphore(3);
    semaphore.acquire();
    semaphore.acquire();
  }
}

// behaviour: Semaphore/contended-exact
TEST_F(SyncSemaphore, AsManyGetOnAsUnitsWereReleased) {
  Semaphore semaphore(7);
  semaphore.acquire();
  std::atomic<unsigned> first{0}, second{0};
  Threads threads(10, [&](int) {
    semaphore.acquire();
    ++first;
    semaphore.acquire();
    ++second;
  });
  // The first six units and those that are released are all taken, and no others.
  unsigned units = 6;
  for (unsigned more : {0U, 7U, 6U}) {
    if (more > 0) semaphore.release(more);
    units += more;
    ASSERT_TRUE(eventually([&] { return first + second == units; }));
    EXPECT_EQ(semaphore.value(), 0);
  }
  EXPECT_TRUE(fall_asleep_here(1));
  EXPECT_EQ(first + second, 19U);
  semaphore.release();
  threads.join();
  EXPECT_EQ(first, 10U);
  EXPECT_EQ(second, 10U);
  EXPECT_FALSE(semaphore.try_acquire());
}

// behaviour: Semaphore/release-many
TEST_F(SyncSemaphore, OneReleaseOfManyUnitsWakesAsManyWaiters) {
  Semaphore semaphore(0);
  std::atomic<int> through{0};
  Threads threads(6, [&](int) {
    semaphore.acquire();
    ++through;
  });
  EXPECT_TRUE(fall_asleep_here(6));
  semaphore.release(4);
  EXPECT_TRUE(eventually([&] { return through == 4; }));
  EXPECT_TRUE(fall_asleep_here(2));
  EXPECT_EQ(through, 4);
  semaphore.release(2);
  threads.join();
  EXPECT_EQ(through, 6);
  EXPECT_THROW(semaphore.release(0), std::invalid_argument);
}

// behaviour: Semaphore/try-contended
TEST_F(SyncSemaphore, OfTenTriesForThreeUnitsThreeSucceed) {
  Semaphore semaphore(3);
  std::atomic<int> got{0};
  Threads threads(5, [&](int) {
    for (int i = 0; i < 2; ++i) got += semaphore.try_acquire() ? 1 : 0;
  });
  threads.join();
  EXPECT_EQ(got, 3);
}

// behaviour: Semaphore/timeout
TEST_F(SyncSemaphore, ATimedAcquireTakesWhatIsLeftAndElseFailsAfterItsTime) {
  Semaphore semaphore(2);
  EXPECT_TRUE(semaphore.try_acquire_for(5ms));
  EXPECT_TRUE(semaphore.try_acquire_until(Clock::now()));
  const auto before = Clock::now();
  EXPECT_FALSE(semaphore.try_acquire_for(100ms));
  EXPECT_GE(Clock::now() - before, 100ms);
  semaphore.release();
  EXPECT_TRUE(semaphore.try_acquire_for(5ms));
}

// behaviour: Semaphore/may-exceed-start
TEST_F(SyncSemaphore, TheUnboundedKindMayBeReleasedAboveItsFirstValue) {
  Semaphore semaphore(1);
  semaphore.release();
  semaphore.release(5);
  EXPECT_EQ(semaphore.value(), 7);
  for (int i = 0; i < 7; ++i) EXPECT_TRUE(semaphore.try_acquire());
  EXPECT_FALSE(semaphore.try_acquire());
}

template <class T>
std::string text_of(const T& value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

// behaviour: Semaphore/describe-value
TEST_F(SyncSemaphore, TheTextShowsTheValue) {
  Semaphore semaphore(3);
  EXPECT_EQ(text_of(semaphore), "<Semaphore value=3>");
  semaphore.acquire();
  EXPECT_EQ(text_of(semaphore), "<Semaphore value=2>");
}

// behaviour: BoundedSemaphore/describe-value
TEST_F(SyncSemaphore, TheTextOfABoundedOneShowsValueAndBound) {
  BoundedSemaphore semaphore(3);
  semaphore.acquire();
  EXPECT_EQ(text_of(semaphore), "<BoundedSemaphore value=2 of 3>");
}

// behaviour: BoundedSemaphore/over-release-after-threads
TEST_F(SyncSemaphore, AfterBalancedUseByManyThreadsOneReleaseMoreIsAnError) {
  for (int limit = 1; limit < 10; ++limit) {
    BoundedSemaphore semaphore(limit);
    Threads threads(limit, [&](int) {
      for (int i = 0; i < 200; ++i) {
        semaphore.acquire();
        semaphore.release();
      }
    });
    threads.join();
    Threads acquirers(limit, [&](int) { semaphore.acquire(); });
    acquirers.join();
    Threads releasers(limit, [&](int) { semaphore.release(); });
    releasers.join();
    EXPECT_THROW(semaphore.release(), std::overflow_error);
    EXPECT_EQ(semaphore.value(), limit);
  }
}

}  // namespace
