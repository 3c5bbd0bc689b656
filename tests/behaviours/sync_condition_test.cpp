#include <mutex>

#include "sync_fixture.hpp"

namespace {

using namespace test;
using cohort::Condition;
using cohort::InvalidStateError;
using cohort::Lock;
using cohort::RLock;

class MpCondition : public EachMethodSync {};
INSTANTIATE_TEST_SUITE_P(Methods, MpCondition, every_method(), method_name);
using SyncCondition = SyncTest;

// Sleeps once; counts those that were woken and those whose time was up.
void sleep_once(const Condition& condition, const Cells& cells,
                std::optional<std::chrono::milliseconds> limit) {
  std::unique_lock guard(condition);
  bool woken = true;
  if (limit) {
    woken = condition.wait_for(guard, *limit);
  } else {
    condition.wait(guard);
  }
  cells[woken ? 0 : 1].fetch_add(1);
}

// Three processes and three threads that sleep.
struct Sleepers {
  Sleepers(StartMethod method, const Condition& condition, const Cells& cells,
           std::optional<std::chrono::milliseconds> limit = std::nullopt)
      : children(method), threads(3, [=](int) { sleep_once(condition, cells, limit); }) {
    for (int i = 0; i < 3; ++i) children.add(sleep_once, condition, cells, limit);
  }
  void join() {
    children.join();
    threads.join();
  }
  Children children;
  Threads threads;
};

bool comes_to(const Condition& condition, std::size_t waiters) {
  return eventually([&] { return condition.waiters() == waiters; });
}
void notify(const Condition& condition, std::size_t count) {
  std::scoped_lock guard(condition);
  condition.notify(count);
}
bool reads(const Cells& cells, std::uint32_t woken) {
  return eventually([&] { return cells[0] == woken; });
}

// behaviour: MpCondition/notify-all
TEST_P(MpCondition, NotifyAllWakesThreeThreadsAndThreeProcesses) {
  Condition condition;
  Cells cells(2);
  Sleepers sleepers(GetParam(), condition, cells);
  ASSERT_TRUE(comes_to(condition, 6));
  EXPECT_EQ(cells[0], 0U);
  {
    std::scoped_lock guard(condition);
    condition.notify_all();
  }
  sleepers.join();
  EXPECT_EQ(cells[0], 6U);
}

// behaviour: MpCondition/timed-out-sleepers-leave-no-trace
TEST_P(MpCondition, SixWaitsThatTimedOutLeaveNoTrace) {
  Condition condition;
  Cells cells(2);
  Sleepers timed(GetParam(), condition, cells, 20ms);
  timed.join();
  EXPECT_EQ(cells[1], 6U);
  EXPECT_EQ(condition.waiters(), 0U);
  Sleepers sleepers(GetParam(), condition, cells);
  ASSERT_TRUE(comes_to(condition, 6));
  notify(condition, 6);
  sleepers.join();
  EXPECT_EQ(cells[0], 6U);
}

// behaviour: MpCondition/notify-n
TEST_P(MpCondition, NotifyWakesAsManyAsAskedAndKeepsNoSurplus) {
  Condition condition;
  Cells cells(2);
  Sleepers sleepers(GetParam(), condition, cells);
  ASSERT_TRUE(comes_to(condition, 6));
  notify(condition, 1);
  EXPECT_TRUE(reads(cells, 1));
  EXPECT_EQ(condition.waiters(), 5U);
  notify(condition, 2);
  EXPECT_TRUE(reads(cells, 3));
  EXPECT_EQ(condition.waiters(), 3U);
  notify(condition, 100);
  sleepers.join();
  EXPECT_EQ(cells[0], 6U);
  notify(condition, 3);
  sleep_once(condition, cells, 20ms);
  EXPECT_EQ(cells[1], 1U);
}

// behaviour: MpCondition/wait-timeout-false
TEST_P(MpCondition, AWaitThatTimesOutGivesFalseAfterThatTime) {
  Children children(GetParam());
  children.add(
      [](const Condition& condition) {
        std::unique_lock guard(condition);
        const auto before = Clock::now();
        require(!condition.wait_for(guard, 100ms), "nobody notified");
        require(Clock::now() - before >= 100ms, "not before its time");
        require(condition.owned(), "with the lock");
      },
      Condition());
  children.join();
}

template <class F>
bool refused(F&& call) {
  try {
    call();
  } catch (const InvalidStateError&) {
    return true;
  }
  return false;
}

// behaviour: MpCondition/unowned-use-error
TEST_P(MpCondition, WaitingOrNotifyingWithoutTheLockIsAnError) {
  Condition condition;
  std::scoped_lock ours(condition);
  Children children(GetParam());
  children.add(
      [](const Condition& theirs) {
        std::unique_lock guard(theirs, std::defer_lock);
        require(refused([&] { theirs.wait(guard); }), "wait");
        require(refused([&] { theirs.wait_for(guard, 1s); }), "wait_for");
        require(refused([&] { theirs.notify_one(); }), "notify_one");
        require(refused([&] { theirs.notify_all(); }), "notify_all");
      },
      condition);
  children.join();
}

// behaviour: Condition/default-recursive
TEST_F(SyncCondition, WithoutAGivenLockItCanBeAcquiredTwice) {
  Condition condition;
  std::scoped_lock once(condition);
  EXPECT_TRUE(condition.try_lock());
  EXPECT_TRUE(condition.mutex().recursive());
  condition.unlock();
  EXPECT_TRUE(condition.owned());
}

// behaviour: Condition/user-lock
TEST_F(SyncCondition, WithAUsersLockAcquiringEitherHoldsTheOther) {
  Lock lock;
  Condition condition(lock);
  {
    std::scoped_lock guard(condition);
    EXPECT_TRUE(lock.owned());
    EXPECT_FALSE(lock.try_lock());
  }
  std::scoped_lock guard(lock);
  EXPECT_TRUE(condition.owned());
  EXPECT_FALSE(condition.try_lock());
}

// behaviour: Condition/wait-unowned-error
TEST_F(SyncCondition, WaitingWithoutTheLockIsAnError) {
  Condition condition;
  std::unique_lock guard(condition, std::defer_lock);
  EXPECT_THROW(condition.wait(guard), InvalidStateError);
  EXPECT_THROW(condition.wait_for(guard, 1s), InvalidStateError);
}

// behaviour: Condition/notify-unowned-error
TEST_F(SyncCondition, NotifyingWithoutTheLockIsAnError) {
  Condition condition;
  EXPECT_THROW(condition.notify_one(), InvalidStateError);
  EXPECT_THROW(condition.notify_all(), InvalidStateError);
}

// behaviour: Condition/notify-n-and-all
TEST_F(SyncCondition, NotifyWakesTheNumberAskedAndNotifyAllTheRestTwice) {
  Condition condition;
  for (int round = 0; round < 2; ++round) {
    Cells cells(2);
    // Each waits twice; cells[1] counts the second waits that ended.
    Threads threads(5, [&](int) {
      std::unique_lock guard(condition);
      EXPECT_TRUE(condition.wait_for(guard, kPatience));
      cells[0].fetch_add(1);
      EXPECT_TRUE(condition.wait_for(guard, kPatience));
      cells[1].fetch_add(1);
    });
    ASSERT_TRUE(comes_to(condition, 5));
    notify(condition, 3);
    ASSERT_TRUE(reads(cells, 3));
    ASSERT_TRUE(comes_to(condition, 5));  // two for the first, three for the second time
    EXPECT_EQ(cells[0], 3U);
    EXPECT_EQ(cells[1], 0U);
    notify(condition, 5);
    ASSERT_TRUE(eventually([&] { return cells[0] == 5 && cells[1] == 3; }));
    ASSERT_TRUE(comes_to(condition, 2));
    EXPECT_EQ(cells[1], 3U);
    {
      std::scoped_lock guard(condition);
      condition.notify_all();
    }
    threads.join();
    EXPECT_EQ(cells[1], 5U);
  }
}

// behaviour: Condition/no-spurious-wakeup
TEST_F(SyncCondition, WhomNobodyNotifiesDoesNotComeBackEarly) {
  Condition condition;
  Threads threads(5, [&](int) {
    std::unique_lock guard(condition);
    const auto before = Clock::now();
    EXPECT_FALSE(condition.wait_for(guard, 300ms));
    EXPECT_GE(Clock::now() - before, 300ms);
  });
  threads.join();
}

// behaviour: Condition/wait-for
TEST_F(SyncCondition, WaitingForAPredicateEndsOnceItHolds) {
  Condition condition;
  int state = 0;
  bool result = false;
  std::thread waiter([&] {
    std::unique_lock guard(condition);
    result = condition.wait_for(guard, kPatience, [&] { return state == 4; });
    EXPECT_EQ(state, 4);
  });
  ASSERT_TRUE(comes_to(condition, 1));
  for (int i = 0; i < 4; ++i) {
    std::scoped_lock guard(condition);
    ++state;
    condition.notify_one();
  }
  waiter.join();
  EXPECT_TRUE(result);
}

// behaviour: Condition/wait-for-timeout
TEST_F(SyncCondition, WaitingForAPredicateCountsTimeOverAllWakeups) {
  Condition condition;
  std::atomic<bool> over{false};
  std::thread waiter([&] {
    std::unique_lock guard(condition);
    const auto before = Clock::now();
    EXPECT_FALSE(condition.wait_for(guard, 200ms, [] { return false; }));
    EXPECT_GE(Clock::now() - before, 200ms);
    over = true;
  });
  while (!over) {  // would go on for ever if each wake-up began anew
    notify(condition, 1);
    std::this_thread::yield();
  }
  waiter.join();
}

// behaviour: Condition/offers-lock-interface
TEST_F(SyncCondition, IsUsedLikeItsRecursiveLock) {
  Condition condition;
  EXPECT_FALSE(condition.locked() || condition.owned());
  EXPECT_THROW(condition.unlock(), InvalidStateError);
  condition.lock();
  EXPECT_TRUE(condition.try_lock());
  EXPECT_TRUE(condition.try_lock_for(1s));
  EXPECT_TRUE(condition.try_lock_until(Clock::now() + 1s));
  std::thread([&] {
    EXPECT_TRUE(condition.locked());
    EXPECT_FALSE(condition.owned());
    EXPECT_FALSE(condition.try_lock());
    EXPECT_THROW(condition.unlock(), InvalidStateError);
  }).join();
  for (int i = 0; i < 4; ++i) condition.unlock();
  EXPECT_FALSE(condition.locked());
  EXPECT_THROW(condition.unlock(), InvalidStateError);
}

}  // namespace
