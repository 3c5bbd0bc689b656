#include <cohort/pool.hpp>
#include <limits>
#include <mutex>
#include <sstream>

#include "sync_fixture.hpp"

namespace {

using namespace test;
using cohort::Condition;
using cohort::InvalidStateError;
using cohort::Lock;
using cohort::LockOwnerDied;
using cohort::RLock;

using Guard = std::unique_lock<const Condition>;

using ConditionTest = SyncTest;
class ConditionByEachMethod : public EachMethodSync {};
INSTANTIATE_TEST_SUITE_P(Methods, ConditionByEachMethod, every_method(), method_name);

// Waits until so many wait.
bool comes_to(const Condition& condition, std::size_t waiters) {
  return eventually([&] { return condition.waiters() == waiters; });
}
void notify(const Condition& condition, std::size_t count) {
  std::scoped_lock guard(condition);
  condition.notify(count);
}

void wait_once(const Condition& condition, const Cells& woken) {
  std::unique_lock guard(condition);
  condition.wait(guard);
  woken[0].fetch_add(1);
}

TEST_F(ConditionTest, NotifiesWhoWaitsAndNobodyElse) {
  Condition condition;
  Cells woken(1);
  Threads threads(4, [&](int) { wait_once(condition, woken); });
  ASSERT_TRUE(comes_to(condition, 4));
  notify(condition, 0);
  EXPECT_EQ(condition.waiters(), 4U);
  notify(condition, 1);
  EXPECT_TRUE(eventually([&] { return woken[0] == 1; }));
  EXPECT_EQ(condition.waiters(), 3U);
  notify(condition, 2);
  EXPECT_TRUE(eventually([&] { return woken[0] == 3; }));
  EXPECT_EQ(condition.waiters(), 1U);
  notify(condition, std::numeric_limits<std::size_t>::max());
  threads.join();
  EXPECT_EQ(woken[0], 4U);
}

TEST_F(ConditionTest, ANotificationThatNobodyWaitsForIsNotKept) {
  Condition condition;
  notify(condition, 1);
  notify(condition, 100);
  std::unique_lock guard(condition);
  condition.notify_all();
  EXPECT_FALSE(condition.wait_for(guard, 10ms));
  EXPECT_TRUE(condition.owned());
}

TEST_F(ConditionTest, WaitersAreNotifiedInTheOrderInWhichTheyCame) {
  Condition condition;
  std::vector<int> order;  // under the condition's lock
  Threads threads;
  for (int i = 0; i < 8; ++i) {
    threads.add([&, i] {
      std::unique_lock guard(condition);
      condition.wait(guard);
      order.push_back(i);
    });
    ASSERT_TRUE(comes_to(condition, static_cast<std::size_t>(i) + 1));
  }
  for (std::size_t i = 1; i <= 8; ++i) {
    notify(condition, 1);
    ASSERT_TRUE(eventually([&] {
      std::scoped_lock guard(condition);
      return order.size() == i;
    }));
  }
  threads.join();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7}));
}

TEST_F(ConditionTest, AThousandThreadsWaitOnOne) {
  constexpr int kMany = kSanitized ? 200 : 1000;
  Condition condition;
  Cells woken(1);
  Threads threads(kMany, [&](int) { wait_once(condition, woken); });
  ASSERT_TRUE(comes_to(condition, kMany));
  notify(condition, 7);
  ASSERT_TRUE(eventually([&] { return woken[0] == 7; }));
  EXPECT_EQ(condition.waiters(), static_cast<std::size_t>(kMany - 7));
  {
    std::scoped_lock guard(condition);
    condition.notify_all();
  }
  threads.join();
  EXPECT_EQ(woken[0], static_cast<unsigned>(kMany));
  EXPECT_EQ(condition.waiters(), 0U);
}

TEST_F(ConditionTest, AHundredProcessesWaitOnOne) {
  Condition condition;
  Cells woken(1);
  Children children(StartMethod::forkserver);
  for (int i = 0; i < 100; ++i) children.add(wait_once, condition, woken);
  ASSERT_TRUE(comes_to(condition, 100));
  notify(condition, 40);
  ASSERT_TRUE(eventually([&] { return woken[0] == 40; }));
  EXPECT_EQ(condition.waiters(), 60U);
  notify(condition, 1000);
  children.join();
  EXPECT_EQ(woken[0], 100U);
}

TEST_F(ConditionTest, AWaitGivesARecursiveLockBackWhollyAndTakesItAsOften) {
  RLock lock;
  Condition condition(lock);
  std::atomic<bool> ready{false};
  std::thread waiter([&] {
    std::unique_lock one(lock);
    std::unique_lock two(lock);
    std::unique_lock three(condition);
    while (!ready) condition.wait(three);
    EXPECT_EQ(lock.depth(), 3U);
    EXPECT_FALSE(condition.wait_for(two, 1ms));
    EXPECT_EQ(lock.depth(), 3U);
  });
  ASSERT_TRUE(comes_to(condition, 1));
  {
    std::scoped_lock twice(lock, condition);
    EXPECT_EQ(lock.depth(), 2U);
    ready = true;
    condition.notify_one();
    EXPECT_EQ(condition.waiters(), 0U);
  }
  waiter.join();
  EXPECT_FALSE(lock.locked());
}

TEST_F(ConditionTest, OnAPlainLockItWaitsAsWell) {
  Lock lock;
  Condition condition(lock);
  Condition second(lock);
  EXPECT_TRUE(condition.mutex() == lock);
  Cells woken(1);
  std::thread waiter([&] {
    std::unique_lock guard(lock);
    condition.wait(guard);
    woken[0] = 1;
    EXPECT_EQ(lock.depth(), 1U);
  });
  ASSERT_TRUE(comes_to(condition, 1));
  {
    std::scoped_lock guard(second);  // another condition of the same lock
    second.notify_all();
    EXPECT_EQ(condition.waiters(), 1U);
    condition.notify_one();
  }
  waiter.join();
  EXPECT_EQ(woken[0], 1U);
}

TEST_F(ConditionTest, RefusesWhoDoesNotHoldItsLock) {
  RLock lock;
  Condition condition(lock);
  Condition other;
  Lock stranger;
  EXPECT_THROW(condition.notify_one(), InvalidStateError);
  EXPECT_THROW(condition.notify_all(), InvalidStateError);
  EXPECT_THROW(condition.notify(0), InvalidStateError);
  std::unique_lock not_taken(lock, std::defer_lock);
  EXPECT_THROW(condition.wait(not_taken), InvalidStateError);
  EXPECT_THROW(condition.wait_for(not_taken, 1s, [] { return true; }), InvalidStateError);
  std::unique_lock anothers(other);
  std::unique_lock strange(stranger);
  std::unique_lock<Lock> empty;
  EXPECT_THROW(condition.wait(anothers), InvalidStateError);
  EXPECT_THROW(condition.wait_for(strange, 1s), InvalidStateError);
  EXPECT_THROW(condition.wait(empty), InvalidStateError);
  EXPECT_THROW(condition.notify_one(), InvalidStateError);
  std::unique_lock guard(lock);
  std::thread([&] {
    EXPECT_THROW(condition.wait(guard), InvalidStateError);  // a guard of another thread
    EXPECT_THROW(condition.notify_one(), InvalidStateError);
  }).join();
  EXPECT_FALSE(condition.wait_for(guard, 1ms));
}

TEST_F(ConditionTest, PredicatesAreAskedBeforeTheFirstSleepAndAtTheEnd) {
  Condition condition;
  std::unique_lock guard(condition);
  condition.wait(guard, [] { return true; });
  EXPECT_TRUE(condition.wait_for(guard, -1s, [] { return true; }));
  EXPECT_FALSE(condition.wait_for(guard, -1s, [] { return false; }));
  EXPECT_FALSE(condition.wait_until(guard, Clock::now() + 5ms, [] { return false; }));
  int asked = 0;
  EXPECT_TRUE(condition.wait_for(guard, 5ms, [&] { return ++asked == 2; }));
  EXPECT_THROW(condition.wait(guard, []() -> bool { throw std::range_error("mine"); }),
               std::range_error);
  EXPECT_TRUE(guard.owns_lock() && condition.owned());
  EXPECT_EQ(condition.waiters(), 0U);
}

TEST_F(ConditionTest, LimitsAreKeptHoweverTheyAreGiven) {
  Condition condition;
  std::unique_lock guard(condition);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FALSE(condition.wait_for(guard, 0s));
  EXPECT_FALSE(condition.wait_for(guard, std::chrono::nanoseconds::min()));
  EXPECT_FALSE(condition.wait_for(guard, std::chrono::duration<double>(nan)));
  EXPECT_FALSE(condition.wait_until(guard, std::chrono::system_clock::time_point::min()));
  const auto before = Clock::now();
  EXPECT_FALSE(condition.wait_for(guard, std::chrono::duration<double>(0.03)));
  EXPECT_GE(Clock::now() - before, 30ms);
  std::thread notifier([&] {
    comes_to(condition, 1);
    notify(condition, 1);
    comes_to(condition, 1);
    notify(condition, 1);
  });
  EXPECT_TRUE(condition.wait_for(guard, std::chrono::hours::max()));
  EXPECT_TRUE(condition.wait_until(guard, std::chrono::system_clock::time_point::max()));
  guard.unlock();
  notifier.join();
}

TEST_F(ConditionTest, HandledSignalsWakeNobody) {
  static std::atomic<int> handled;
  handled = 0;
  struct sigaction action {};
  action.sa_handler = [](int) { ++handled; };
  struct sigaction before {};
  ::sigaction(SIGUSR1, &action, &before);
  Condition condition;
  std::atomic<bool> ended{false};
  std::thread waiter([&] {
    std::unique_lock guard(condition);
    const auto start = Clock::now();
    EXPECT_FALSE(condition.wait_for(guard, 150ms));
    EXPECT_GE(Clock::now() - start, 150ms);
    ended = true;
    condition.wait(guard);
  });
  while (!ended) {
    ::pthread_kill(waiter.native_handle(), SIGUSR1);
    ::usleep(200);
  }
  ASSERT_TRUE(comes_to(condition, 1));
  for (int before_these = handled; handled < before_these + 50;) {
    ::pthread_kill(waiter.native_handle(), SIGUSR1);
    ::usleep(100);
    ASSERT_EQ(condition.waiters(), 1U);
  }
  notify(condition, 1);
  waiter.join();
  ::sigaction(SIGUSR1, &before, nullptr);
}

TEST_F(ConditionTest, AMovedFromHandleThrows) {
  Condition condition;
  Condition kept = std::move(condition);
  // NOLINTBEGIN(bugprone-use-after-move)
  EXPECT_THROW(condition.lock(), cohort::Error);
  EXPECT_THROW(condition.notify_one(), cohort::Error);
  EXPECT_THROW(Guard{condition}, cohort::Error);
  std::unique_lock guard(kept);
  EXPECT_THROW(condition.wait(guard), cohort::Error);
  condition = kept;
  // NOLINTEND(bugprone-use-after-move)
  EXPECT_TRUE(condition == kept);
  EXPECT_FALSE(condition.wait_for(guard, 1ms));
}

TEST_F(ConditionTest, PrintsItsLockAndHowManyWait) {
  Condition condition(Lock({.name = "door"}));
  std::ostringstream out;
  out << condition;
  EXPECT_EQ(out.str(), "<Condition on <Lock name=door unlocked> waiters=0>");
}

// ---- deaths

TEST_F(ConditionTest, AWaitWhoseLocksOwnerDiedThrowsWithTheLockHeld) {
  for (bool recovers : {true, false}) {
    Condition condition;
    Children children;
    children.fork([&] {
      std::unique_lock guard(condition);
      condition.lock();  // twice
      bool told = false;
      try {
        condition.wait(guard);
      } catch (const LockOwnerDied&) {
        told = true;
      }
      require(told, "it is told");
      require(guard.owns_lock() && condition.owned() && condition.mutex().depth() == 2, "held");
      if (recovers) require(condition.recover(), "it has to repair");
      condition.unlock();
    });
    ASSERT_TRUE(comes_to(condition, 1));
    Process owner = Process::forked([&] {
      condition.lock();
      condition.notify_one();
      ::raise(SIGKILL);
    });
    owner.start();
    owner.join();
    children.join();
    if (!recovers) {
      EXPECT_THROW(condition.lock(), LockOwnerDied);
      EXPECT_TRUE(condition.recover());
      condition.unlock();
    }
    EXPECT_TRUE(condition.try_lock());
    condition.unlock();
  }
}

TEST_F(ConditionTest, ThoseWhoSleepAreToldWhenTheOwnerDiesBeforeItNotifies) {
  for (bool recovers : {true, false}) {
    Condition condition;
    Cells cells(2);  // whether there is work; how many were told
    Children children;
    for (int i = 0; i < 3; ++i) {
      children.fork([&] {
        std::unique_lock guard(condition);
        while (cells[0] == 0) {
          try {
            condition.wait(guard);
          } catch (const LockOwnerDied&) {
            cells[1].fetch_add(1);
            if (!recovers) return;  // the guard lets go of it as it is
            require(condition.recover(), "the one who is told has to repair");
            cells[0] = 1;
            condition.notify_all();
          }
        }
      });
    }
    ASSERT_TRUE(comes_to(condition, 3));
    Process owner = Process::forked([&] {
      condition.lock();
      ::raise(SIGKILL);
    });
    owner.start();
    owner.join();
    children.join();
    EXPECT_EQ(cells[1], recovers ? 1U : 3U);
    EXPECT_EQ(condition.recover(), !recovers);
    condition.unlock();
  }
}

TEST_F(ConditionTest, AWaiterWhomTheRepairerDoesNotNotifySleepsOn) {
  Condition condition;
  Cells cells(2);  // told; ended
  Children children;
  for (int i = 0; i < 4; ++i) {
    children.fork([&] {
      std::unique_lock guard(condition);
      try {
        condition.wait(guard);
      } catch (const LockOwnerDied&) {
        condition.recover();
        cells[0].fetch_add(1);
      }
      cells[1].fetch_add(1);
    });
  }
  ASSERT_TRUE(comes_to(condition, 4));
  Process owner = Process::forked([&] {
    condition.lock();
    ::raise(SIGKILL);
  });
  owner.start();
  owner.join();
  ASSERT_TRUE(eventually([&] { return cells[1] == 1 && !condition.locked(); }));
  EXPECT_TRUE(comes_to(condition, 3));
  notify(condition, 2);
  ASSERT_TRUE(eventually([&] { return cells[1] == 3; }));
  EXPECT_EQ(condition.waiters(), 1U);
  notify(condition, 1);
  children.join();
  EXPECT_EQ(cells[0], 1U);
}

TEST_F(ConditionTest, AWaitThatEndsByItsLimitIsToldOfTheDeathAsWell) {
  Lock lock;
  Condition condition(lock);
  std::unique_lock guard(lock);
  Children children;
  Cells taken(1);
  Process& owner = children.fork([&] {
    lock.lock();
    taken[0] = 1;
    for (;;) ::pause();
  });
  std::thread killer([&] {
    eventually([&] { return taken[0] == 1 && condition.waiters() == 0; });
    owner.kill();
  });
  // It has the lock while this waits, and never gives it back.
  auto wait = [&] {
    for (;;) condition.wait_for(guard, 20ms);
  };
  EXPECT_THROW(wait(), LockOwnerDied);
  killer.join();
  owner.join();
  EXPECT_TRUE(guard.owns_lock() && lock.owned());
  EXPECT_TRUE(lock.recover());
}

TEST_F(ConditionTest, AWaiterThatWasKilledCountsNotAndTakesNothing) {
  Condition condition;
  Cells woken(1);
  Children children;
  for (int i = 0; i < 4; ++i) {
    children.fork([&] { wait_once(condition, woken); });
    ASSERT_TRUE(comes_to(condition, static_cast<std::size_t>(i) + 1));
  }
  children.kill(0);  // the first in the queue
  children.kill(1);
  notify(condition, 2);
  children.join();
  EXPECT_EQ(woken[0], 2U);
  EXPECT_EQ(condition.waiters(), 0U);
}

TEST_F(ConditionTest, ANotifiedWaiterThatIsKilledBeforeItGoesOnPassesItOn) {
  for (const char* step : {"condition.woken", "condition.locked"}) {
    Condition condition;
    Cells woken(1);
    Process victim = Process::forked([&] {
      die_at(step);
      wait_once(condition, woken);
    });
    victim.start();
    ASSERT_TRUE(comes_to(condition, 1));
    Children next;
    next.fork([&] {
      try {
        wait_once(condition, woken);
      } catch (const LockOwnerDied&) {
        require(condition.recover(), "in doubt");
        condition.unlock();
        woken[0].fetch_add(1);
      }
    });
    ASSERT_TRUE(comes_to(condition, 2));
    notify(condition, 1);
    victim.join();
    EXPECT_EQ(victim.exitcode(), -SIGKILL);
    next.join();
    EXPECT_EQ(woken[0], 1U) << step;
  }
}

TEST_F(ConditionTest, AWaiterThatDiesWhileItIsLookedForLeavesItsTurnToTheNext) {
  Condition condition;
  Cells woken(1);
  static Process* victim;
  Process first = Process::forked([&] { wait_once(condition, woken); });
  victim = &first;
  first.start();
  ASSERT_TRUE(comes_to(condition, 1));
  Children next;
  next.fork([&] { wait_once(condition, woken); });
  ASSERT_TRUE(comes_to(condition, 2));
  // Between the look at who waits and the word to the first of them it is killed and buried.
  cohort::os::step_hook = [](const char* step) {
    if (std::strcmp(step, "condition.found") != 0) return;
    victim->kill();
    victim->join();
    Space::here().bury_the_dead();
  };
  notify(condition, 1);
  cohort::os::step_hook = nullptr;
  EXPECT_EQ(first.exitcode(), -SIGKILL);
  next.join();
  EXPECT_EQ(woken[0], 1U);
}

// ---- by each start method

struct Ball {
  Condition condition;
  Cells at;
};
void play(const Ball& ball, unsigned side, int rounds) {
  for (int i = 0; i < rounds; ++i) {
    std::unique_lock guard(ball.condition);
    ball.condition.wait(guard, [&] { return ball.at[0] == side; });
    ball.at[0] = 1 - side;
    ball.condition.notify_one();
  }
}

TEST_P(ConditionByEachMethod, TwoPassABallWithItsLockAsPartOfIt) {
  Ball ball{Condition(), Cells(1)};
  Children children(GetParam());
  children.add(play, ball, 1U, 1000);
  play(ball, 0, 1000);
  children.join();
  EXPECT_EQ(ball.at[0], 0U);
}

TEST_P(ConditionByEachMethod, ItsLockMeansTheSameLockThere) {
  Lock lock;
  std::vector<Condition> two{Condition(lock), Condition(lock)};
  Children children(GetParam());
  children.add(
      [](const std::vector<Condition>& conditions, const Lock& theirs) {
        require(conditions[0].mutex() == theirs && conditions[1].mutex() == theirs,
                "the same lock");
        require(!(conditions[0] == conditions[1]), "two conditions");
        std::unique_lock guard(theirs);
        conditions[1].wait(guard);
        require(conditions[0].owned(), "the lock is held");
      },
      two, lock);
  ASSERT_TRUE(comes_to(two[1], 1));
  notify(two[0], 5);
  EXPECT_EQ(two[1].waiters(), 1U);
  notify(two[1], 1);
  children.join();
}

TEST_P(ConditionByEachMethod, TasksOfAPoolMeetByIt) {
  cohort::PoolOptions options;
  options.processes = 2;
  options.start_method = GetParam();
  Ball ball{Condition(), Cells(1)};
  cohort::Pool pool(options);
  // Each waits until both are there.
  auto seen = pool.map(
      {.chunksize = 1},
      [](const Ball& met) {
        std::unique_lock guard(met.condition);
        met.at[0].fetch_add(1);
        met.condition.notify_all();
        return met.condition.wait_for(guard, kPatience, [&] { return met.at[0] == 2; });
      },
      std::vector<Ball>(2, ball));
  EXPECT_EQ(seen, (std::vector<bool>{true, true}));
}

}  // namespace
