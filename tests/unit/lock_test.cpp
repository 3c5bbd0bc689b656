#include <sys/wait.h>

#include <cmath>
#include <cohort/pool.hpp>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <sstream>

#include "sync/lock_check.hpp"
#include "sync_fixture.hpp"

namespace {

using namespace test;
using cohort::DeadlockError;
using cohort::InvalidStateError;
using cohort::Lock;
using cohort::LockOwnerDied;
using cohort::RLock;

// Made before main, and so before init.
const Lock global_lock({.name = "global"});

using LockTest = SyncTest;
class LockByEachMethod : public EachMethodSync {};
INSTANTIATE_TEST_SUITE_P(Methods, LockByEachMethod, every_method(), method_name);

template <class T>
std::string text_of(const T& value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

template <class E, class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const E& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

// Not a read-modify-write: only the lock makes it exact.
void count_up(const Cells& cells, std::size_t at = 0) {
  cells[at].store(cells[at].load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}
void count_under(const cohort::BasicLock& lock, const Cells& cells, int times) {
  for (int i = 0; i < times; ++i) {
    std::scoped_lock guard(lock);
    count_up(cells);
  }
}

// A process that was killed while it held the lock.
void die_with(const cohort::BasicLock& lock) {
  Process owner = Process::forked([&] {
    lock.lock();
    ::raise(SIGKILL);
  });
  owner.start();
  owner.join();
  EXPECT_EQ(owner.exitcode(), -SIGKILL);
}

// ---- one thread

TEST_F(LockTest, IsTakenAndGivenBack) {
  Lock lock;
  EXPECT_FALSE(lock.locked());
  lock.lock();
  EXPECT_TRUE(lock.locked());
  EXPECT_TRUE(lock.owned());
  EXPECT_EQ(lock.depth(), 1U);
  lock.unlock();
  EXPECT_FALSE(lock.locked());
  EXPECT_FALSE(lock.owned());
  EXPECT_EQ(lock.depth(), 0U);
  EXPECT_FALSE(lock.recursive());
}

TEST_F(LockTest, EveryGuardOfTheStandardTakesIt) {
  Lock a;
  RLock b;
  {
    std::lock_guard one(a);
    std::unique_lock two(b, std::try_to_lock);
    EXPECT_TRUE(two.owns_lock());
    EXPECT_TRUE(a.owned() && b.owned());
  }
  {
    std::unique_lock one(a, 1s);
    EXPECT_TRUE(one.owns_lock());
    std::unique_lock two(b, std::defer_lock);
    EXPECT_TRUE(two.try_lock_until(std::chrono::system_clock::now() + 1s));
  }
  {
    std::scoped_lock both(a, b);
    EXPECT_TRUE(a.owned() && b.owned());
  }
  EXPECT_EQ(std::try_lock(a, b), -1);
  a.unlock();
  b.unlock();
  EXPECT_FALSE(a.locked() || b.locked());
}

TEST_F(LockTest, ASecondLockOfALockByItsOwnerIsADeadlockAndSaysSo) {
  Lock lock({.name = "ledger"});
  std::scoped_lock guard(lock);
  EXPECT_NE(message_of<DeadlockError>([&] { lock.lock(); }).find("'ledger'"), std::string::npos);
  EXPECT_FALSE(lock.try_lock());
  auto before = Clock::now();
  EXPECT_FALSE(lock.try_lock_for(20ms));
  EXPECT_GE(Clock::now() - before, 20ms);
  EXPECT_EQ(lock.depth(), 1U);
}

TEST_F(LockTest, AnRLockIsTakenAMillionTimesAndGivenBackAsOften) {
  RLock lock;
  constexpr std::size_t kTimes = std::size_t{1} << 20;
  for (std::size_t i = 0; i < kTimes; ++i) i % 2 ? lock.lock() : require(lock.try_lock(), "taken");
  EXPECT_EQ(lock.depth(), kTimes);
  for (std::size_t i = 1; i < kTimes; ++i) lock.unlock();
  EXPECT_EQ(lock.depth(), 1U);
  EXPECT_TRUE(lock.locked());
  EXPECT_TRUE(lock.recursive());
  lock.unlock();
  EXPECT_FALSE(lock.locked());
  EXPECT_THROW(lock.unlock(), InvalidStateError);
}

TEST_F(LockTest, ItsNameIsCutAtThirtyOneBytes) {
  EXPECT_EQ(Lock().name(), "");
  EXPECT_EQ(Lock({.name = "accounts"}).name(), "accounts");
  EXPECT_EQ(RLock({.name = std::string(31, 'x')}).name(), std::string(31, 'x'));
  EXPECT_EQ(Lock({.name = std::string(1000, 'x')}).name(), std::string(31, 'x'));
}

TEST_F(LockTest, PrintsItsNameAndItsOwner) {
  Lock lock({.name = "accounts"});
  RLock recursive;
  EXPECT_EQ(text_of(lock), "<Lock name=accounts unlocked>");
  EXPECT_EQ(text_of(recursive), "<RLock unlocked>");
  std::scoped_lock guard(lock, recursive, recursive);
  const std::string me = "MainProcess pid=" + std::to_string(::getpid());
  EXPECT_EQ(text_of(lock), "<Lock name=accounts locked by " + me + ">");
  EXPECT_EQ(text_of(recursive), "<RLock locked by " + me + " depth=2>");
}

TEST_F(LockTest, PrintsThatADeadProcessLeftIt) {
  Lock lock;
  die_with(lock);
  EXPECT_TRUE(eventually([&] { return text_of(lock) == "<Lock left by a dead process>"; }));
}

TEST_F(LockTest, CopiesAreTheSameLockAndOthersAreNot) {
  Lock lock;
  Lock copy = lock;  // NOLINT: that it is a copy is the point
  Lock other;
  EXPECT_TRUE(copy == lock);
  EXPECT_FALSE(other == lock);
  copy.lock();
  EXPECT_TRUE(lock.owned());
  lock.unlock();
  EXPECT_FALSE(copy.locked());
  other.lock();
  other = lock;  // the handle goes, locked as it is
  EXPECT_TRUE(other == copy);
  EXPECT_FALSE(other.locked());
}

TEST_F(LockTest, AMovedFromHandleThrowsAtEveryUse) {
  Lock lock;
  Lock kept = std::move(lock);
  // NOLINTBEGIN(bugprone-use-after-move)
  EXPECT_THROW(lock.lock(), cohort::Error);
  EXPECT_THROW(lock.try_lock(), cohort::Error);
  EXPECT_THROW(lock.try_lock_for(1s), cohort::Error);
  EXPECT_THROW(lock.unlock(), cohort::Error);
  EXPECT_THROW(lock.recover(), cohort::Error);
  EXPECT_THROW(lock.locked(), cohort::Error);
  EXPECT_THROW(lock.owned(), cohort::Error);
  EXPECT_THROW(lock.name(), cohort::Error);
  EXPECT_THROW(text_of(lock), cohort::Error);
  EXPECT_THROW(std::scoped_lock{lock}, cohort::Error);
  Lock copy = lock;
  EXPECT_THROW(copy.lock(), cohort::Error);
  EXPECT_FALSE(lock == kept);
  lock = kept;
  // NOLINTEND(bugprone-use-after-move)
  std::scoped_lock guard(lock);
  EXPECT_TRUE(kept.owned());
}

// ---- limits of waits

TEST_F(LockTest, ALimitOfZeroOrLessOrNoNumberAsksOnce) {
  Lock lock;
  RLock recursive;
  auto taken = [](auto& one, auto limit) {
    bool answer = one.try_lock_for(limit);
    if (answer) one.unlock();
    return answer;
  };
  auto ask_all = [&](auto& one, bool expected) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const double infinity = std::numeric_limits<double>::infinity();
    EXPECT_EQ(taken(one, 0s), expected);
    EXPECT_EQ(taken(one, -1s), expected);
    EXPECT_EQ(taken(one, std::chrono::nanoseconds::min()), expected);
    EXPECT_EQ(taken(one, std::chrono::hours::min()), expected);
    EXPECT_EQ(taken(one, std::chrono::duration<double>(nan)), expected);
    EXPECT_EQ(taken(one, std::chrono::duration<double>(-infinity)), expected);
    EXPECT_EQ(one.try_lock_until(Clock::time_point::min()), expected);
    if (expected) one.unlock();
    EXPECT_EQ(one.try_lock_until(std::chrono::system_clock::time_point{}), expected);
    if (expected) one.unlock();
  };
  ask_all(lock, true);
  ask_all(recursive, true);
  std::scoped_lock both(lock, recursive);
  std::thread([&] {
    ask_all(lock, false);
    ask_all(recursive, false);
  }).join();
}

TEST_F(LockTest, AHugeLimitWaitsUntilTheLockIsFree) {
  const auto wait_with = [](auto limit) {
    Lock lock;
    lock.lock();
    std::atomic<bool> taken{false};
    std::thread waiter([&] {
      taken = lock.try_lock_for(limit);
      if (taken) lock.unlock();
    });
    EXPECT_TRUE(fall_asleep_here(1));
    EXPECT_FALSE(taken);
    lock.unlock();
    waiter.join();
    EXPECT_TRUE(taken);
  };
  wait_with(std::chrono::hours::max());
  wait_with(std::chrono::nanoseconds::max());
  wait_with(std::chrono::duration<double>(std::numeric_limits<double>::infinity()));
  wait_with(std::chrono::duration<double>(1e300));
  wait_with(std::chrono::duration<float, std::ratio<86400 * 365>>(1e9F));
}

TEST_F(LockTest, HandledSignalsEndNoWaitAndShortenNoLimit) {
  static std::atomic<int> handled;
  handled = 0;
  struct sigaction action {};
  action.sa_handler = [](int) { ++handled; };
  struct sigaction before {};
  ::sigaction(SIGUSR1, &action, &before);  // without SA_RESTART
  Lock lock;
  RLock recursive;
  std::scoped_lock guard(lock, recursive);
  std::atomic<bool> ended{false};
  std::thread waiter([&] {
    const auto start = Clock::now();
    EXPECT_FALSE(lock.try_lock_for(200ms));
    EXPECT_GE(Clock::now() - start, 200ms);
    ended = true;
  });
  while (!ended) {
    ::pthread_kill(waiter.native_handle(), SIGUSR1);
    ::usleep(200);
  }
  waiter.join();
  EXPECT_GT(handled, 10);
  ::sigaction(SIGUSR1, &before, nullptr);
}

// ---- threads and processes

TEST_F(LockTest, CountsExactlyBetweenThreadsOfSeveralProcesses) {
  Lock lock;
  Cells cells(1);
  Children children;
  for (int i = 0; i < 3; ++i) {
    children.fork([&] { Threads threads(3, [&](int) { count_under(lock, cells, 3000); }); });
  }
  Threads threads(3, [&](int) { count_under(lock, cells, 3000); });
  threads.join();
  children.join();
  EXPECT_EQ(cells[0], 12U * 3000U);
}

TEST_F(LockTest, AnRLockCountsExactlyBetweenThreadsOfSeveralProcesses) {
  RLock lock;
  Cells cells(1);
  auto body = [&](int) {
    for (int i = 0; i < 2000; ++i) {
      std::scoped_lock outer(lock);
      std::scoped_lock inner(lock);
      count_up(cells);
      require(lock.depth() == 2, "taken twice");
    }
  };
  Children children;
  for (int i = 0; i < 3; ++i) children.fork([&] { Threads threads(2, body); });
  Threads threads(2, body);
  threads.join();
  children.join();
  EXPECT_EQ(cells[0], 8U * 2000U);
}

TEST_F(LockTest, StdLockOfThreeLocksInAnyOrderEndsInEveryProcess) {
  Lock a, b;
  RLock c;
  Cells cells(1);
  Children children;
  for (int i = 0; i < 4; ++i) {
    children.fork([&, i] {
      for (int round = 0; round < 500; ++round) {
        switch ((i + round) % 3) {
          case 0:
            std::lock(a, b, c);
            break;
          case 1:
            std::lock(c, a, b);
            break;
          default:
            std::lock(b, c, a);
        }
        count_up(cells);
        a.unlock();
        c.unlock();
        b.unlock();
      }
    });
  }
  children.join();
  EXPECT_EQ(cells[0], 2000U);
}

TEST_F(LockTest, WhatIsNotHeldByThisThreadIsNotUnlocked) {
  const auto refuses = [](const cohort::BasicLock& lock) {
    EXPECT_THROW(lock.unlock(), InvalidStateError);  // nobody's
    {
      std::scoped_lock guard(lock);
      // Another thread; then a process, forked by the owner itself, or by another thread of it.
      const auto foreign = [&] {
        require(!lock.owned() && lock.locked() && lock.depth() == 0, "it is another's");
        try {
          lock.unlock();
        } catch (const InvalidStateError&) {
          require(lock.locked() && !lock.try_lock(), "still locked");
          return;
        }
        throw std::runtime_error("another's lock was unlocked");
      };
      std::thread(foreign).join();
      Children children;
      children.fork(foreign);
      std::thread([&] { children.fork(foreign); }).join();
      children.join();
      EXPECT_TRUE(lock.owned());
    }
    EXPECT_THROW(lock.unlock(), InvalidStateError);  // once was enough
    EXPECT_FALSE(lock.locked());
  };
  refuses(Lock());
  refuses(RLock());
}

TEST_F(LockTest, AForkedChildOfTheOwnerWaitsAsAnyOther) {
  Lock lock;
  Children children;
  {
    std::scoped_lock guard(lock);
    children.fork([&] {
      std::scoped_lock inner(lock);  // as if its copy of the owner were not there
      require(lock.owned(), "taken");
    });
    EXPECT_TRUE(children.all_asleep());
  }
  children.join();
}

TEST_F(LockTest, AChildThatTheHostForkedIsToldThatItIsNoMember) {
  Lock lock;
  std::scoped_lock guard(lock);
  const auto throws = [](auto&& call) {
    try {
      call();
    } catch (const cohort::Error& error) {
      return std::string(error.what()).find("Process::forked") != std::string::npos;
    }
    return false;
  };
  const pid_t child = ::fork();
  if (child == 0) {
    bool all = throws([&] { lock.unlock(); }) && throws([&] { lock.lock(); }) &&
               throws([&] { lock.try_lock(); }) && throws([&] { lock.recover(); });
    Lock own;  // it may found a family of its own
    own.lock();
    own.unlock();
    ::_exit(all ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(lock.owned());
}

TEST_F(LockTest, AThreadThatEndsLeavesItLockedAsLongAsItsProcessLives) {
  RLock lock;
  Children children;
  Cells cells(1);
  Process& owner = children.fork([&] {
    std::thread([&] {
      lock.lock();
      lock.lock();
    }).join();
    cells[0] = 1;
    for (;;) ::pause();
  });
  ASSERT_TRUE(eventually([&] { return cells[0] == 1; }));
  EXPECT_TRUE(lock.locked());
  EXPECT_FALSE(lock.try_lock_for(20ms));
  owner.kill();
  EXPECT_THROW(lock.lock(), LockOwnerDied);
  EXPECT_TRUE(lock.recover());
  EXPECT_EQ(lock.depth(), 1U);
  lock.unlock();
  owner.join();
}

TEST_F(LockTest, AThreadThatEndsWhileItHoldsItIsFollowedByNoOther) {
  // Threads to come do not take over what an ended one of the same stack or number held.
  Lock lock;
  std::thread([&] { lock.lock(); }).join();
  for (int i = 0; i < 100; ++i) {
    std::thread([&] {
      EXPECT_FALSE(lock.owned());
      EXPECT_THROW(lock.unlock(), InvalidStateError);
    }).join();
  }
  EXPECT_TRUE(lock.locked());
}

// ---- the owner dies

TEST_F(LockTest, EveryLockerIsToldThatTheOwnerDiedUntilSomebodyRecovers) {
  for (const cohort::BasicLock& lock : {cohort::BasicLock(Lock({.name = "ledger"})),
                                        cohort::BasicLock(RLock({.name = "ledger"}))}) {
    Process owner = Process::forked([&] {
      lock.lock();
      ::raise(SIGKILL);
    });
    owner.start();
    ASSERT_TRUE(eventually([&] { return lock.locked(); }));
    const std::string told = message_of<LockOwnerDied>([&] { lock.lock(); });
    EXPECT_NE(told.find("process " + std::to_string(owner.pid())), std::string::npos) << told;
    owner.join();
    EXPECT_NE(told.find("ledger"), std::string::npos) << told;
    EXPECT_NE(told.find("recover"), std::string::npos) << told;
    for (int i = 0; i < 3; ++i) {
      EXPECT_THROW(lock.lock(), LockOwnerDied);
      EXPECT_THROW(lock.try_lock(), LockOwnerDied);
      EXPECT_THROW(lock.try_lock_for(-1s), LockOwnerDied);
      EXPECT_THROW(lock.try_lock_for(1h), LockOwnerDied);
      EXPECT_THROW(std::scoped_lock{lock}, LockOwnerDied);
      EXPECT_THROW(lock.unlock(), InvalidStateError);
      EXPECT_TRUE(lock.locked());
      EXPECT_FALSE(lock.owned());
    }
    Children others;
    others.fork([&] {
      try {
        lock.lock();
      } catch (const LockOwnerDied&) {
        return;
      }
      throw std::runtime_error("it was not told");
    });
    others.join();
    EXPECT_TRUE(lock.recover());
    EXPECT_TRUE(lock.owned());
    EXPECT_EQ(lock.depth(), 1U);
    EXPECT_FALSE(lock.recover());  // held, and whole
    EXPECT_EQ(lock.depth(), 1U);
    lock.unlock();
    EXPECT_FALSE(lock.locked());
    std::scoped_lock guard(lock);
  }
}

TEST_F(LockTest, AnOwnerThatEndsByItselfLeavesItInDoubtAsWell) {
  for (const std::string how : {"returns", "exits", "_exits", "throws"}) {
    Lock lock;
    Process owner = Process::forked([&] {
      lock.lock();
      if (how == "exits") std::exit(3);
      if (how == "_exits") ::_exit(3);
      if (how == "throws") {
        ::close(2);  // its traceback
        throw std::runtime_error("it holds a lock");
      }
    });
    owner.start();
    owner.join();
    EXPECT_EQ(owner.exitcode(), how == "returns" ? 0 : how == "throws" ? 1 : 3);
    EXPECT_THROW(lock.lock(), LockOwnerDied) << how;
    EXPECT_TRUE(lock.recover()) << how;
    lock.unlock();
  }
}

TEST_F(LockTest, AGuardLeftByAnExceptionLeavesNoDoubt) {
  Lock lock;
  Process owner = Process::forked([&] {
    ::close(2);
    std::scoped_lock guard(lock);
    throw std::runtime_error("an error, not a death");
  });
  owner.start();
  owner.join();
  EXPECT_EQ(owner.exitcode(), 1);
  EXPECT_TRUE(lock.try_lock());
  lock.unlock();
}

TEST_F(LockTest, TheDeathOfWhoOnlyWaitedOrWasDoneLeavesNoDoubt) {
  Lock lock;
  Children children;
  {
    std::scoped_lock guard(lock);
    for (int i = 0; i < 3; ++i) children.fork([&] { lock.lock(); });
    EXPECT_TRUE(children.all_asleep());
    while (children.size() > 0) children.kill(0);
  }
  std::scoped_lock guard(lock);
  EXPECT_FALSE(lock.recover());
}

TEST_F(LockTest, ASleepingLockerIsToldWhenTheOwnerIsKilled) {
  Lock lock;
  Cells held(1);
  Process owner = Process::forked([&] {
    lock.lock();
    held[0] = 1;
    for (;;) ::pause();
  });
  owner.start();
  ASSERT_TRUE(eventually([&] { return held[0] == 1; }));
  Children waiters;
  for (int i = 0; i < 4; ++i) {
    waiters.fork([&, i] {
      try {
        i % 2 ? lock.lock() : require(lock.try_lock_for(1h), "taken in an hour");
      } catch (const LockOwnerDied&) {
        return;
      }
      throw std::runtime_error("it was not told");
    });
  }
  EXPECT_TRUE(waiters.all_asleep());
  owner.kill();
  waiters.join();
  owner.join();
  EXPECT_TRUE(lock.recover());
  lock.unlock();
}

TEST_F(LockTest, WithoutTheCheckACircleWaitsUntilOneOfItDies) {
  if (cohort::sync::LockCheck::enabled()) GTEST_SKIP() << "COHORT_LOCK_CHECK is set";
  Lock a, b;
  Cells held(1);
  const auto close_circle = [&](const Lock& first, const Lock& second) {
    std::scoped_lock guard(first);
    held[0].fetch_add(1);
    require(eventually([&] { return held[0] == 2; }), "both hold one");
    try {
      second.lock();
    } catch (const LockOwnerDied&) {
      second.recover();
    }
    second.unlock();
  };
  Children children;
  children.fork([&] { close_circle(a, b); });
  children.fork([&] { close_circle(b, a); });
  EXPECT_TRUE(children.all_asleep());
  children.kill(0);
  children.join();
  EXPECT_FALSE(a.locked() || b.locked());
}

TEST_F(LockTest, OfManyThatRecoverAtOnceOneHasToRepair) {
  for (int round = 0; round < 20; ++round) {
    Lock lock;
    die_with(lock);
    Cells cells(2);
    Children children;
    const auto body = [&](int) {
      if (lock.recover()) cells[0].fetch_add(1);
      count_up(cells, 1);
      lock.unlock();
    };
    for (int i = 0; i < 3; ++i) children.fork([&] { Threads threads(2, body); });
    Threads threads(2, body);
    threads.join();
    children.join();
    ASSERT_EQ(cells[0], 1U);
    ASSERT_EQ(cells[1], 8U);
  }
}

TEST_F(LockTest, RecoverTakesAFreeLockAndWaitsForAHeldOne) {
  Lock lock;
  EXPECT_FALSE(lock.recover());
  EXPECT_TRUE(lock.owned());
  std::atomic<bool> in_doubt{true};
  std::thread waiter([&] {
    in_doubt = lock.recover();
    lock.unlock();
  });
  EXPECT_TRUE(fall_asleep_here(1));
  lock.unlock();
  waiter.join();
  EXPECT_FALSE(in_doubt);
}

TEST_F(LockTest, ARepairerThatIsKilledLeavesTheDoubtToTheNext) {
  RLock lock;
  die_with(lock);
  for (int i = 0; i < 5; ++i) {
    Process repairer = Process::forked([&] {
      if (!lock.recover()) ::_exit(1);
      lock.lock();
      ::raise(SIGKILL);
    });
    repairer.start();
    repairer.join();
    EXPECT_EQ(repairer.exitcode(), -SIGKILL);
    EXPECT_THROW(lock.lock(), LockOwnerDied);
  }
  EXPECT_TRUE(lock.recover());
  EXPECT_EQ(lock.depth(), 1U);
  lock.unlock();
}

TEST_F(LockTest, TheDeadOwnersThreadIsNotTakenForOneOfTheNextOwners) {
  // All processes number their threads alike: the main thread looks while another thread is about
  // to put itself in the place of the dead owner, a main thread as well.
  for (const cohort::BasicLock& lock : {cohort::BasicLock(Lock()), cohort::BasicLock(RLock())}) {
    die_with(lock);
    Children next;
    next.fork([&] {
      static std::atomic<int> stage;
      stage = 0;
      std::thread taker([&] {
        cohort::os::step_hook = [](const char* step) {
          if (std::strcmp(step, "lock.taken") != 0) return;
          stage = 1;
          eventually([&] { return stage == 2; });
        };
        lock.recover();
        cohort::os::step_hook = nullptr;
        lock.unlock();
      });
      const bool reached = eventually([&] { return stage == 1; });
      const bool mine = lock.owned();
      stage = 2;
      taker.join();
      require(reached && !mine, "it is the other thread's");
    });
    next.join();
  }
}

// ---- as arguments

struct Desk {
  Lock lock;
  std::optional<RLock> drawer;
  std::map<std::string, Lock> keys;
};

void work_at(const Desk& desk, const std::vector<Lock>& more, const Cells& cells) {
  for (int i = 0; i < 300; ++i) {
    std::scoped_lock all(desk.lock, *desk.drawer, desk.keys.at("b"), more.at(1));
    count_up(cells);
  }
}

TEST_P(LockByEachMethod, IsAnArgumentInAnyContainer) {
  Desk desk;
  desk.drawer.emplace();
  desk.keys.emplace("a", Lock());
  desk.keys.emplace("b", Lock());
  std::vector<Lock> more(3);
  Cells cells(1);
  Children children(GetParam());
  for (int i = 0; i < 3; ++i) children.add(work_at, desk, more, cells);
  work_at(desk, more, cells);
  children.join();
  EXPECT_EQ(cells[0], 4U * 300U);
}

TEST_P(LockByEachMethod, AGlobalOneMadeBeforeInitIsAnArgumentLikeOthers) {
  Cells cells(1);
  Children children(GetParam());
  for (int i = 0; i < 3; ++i) children.add(count_under, global_lock, cells, 500);
  count_under(global_lock, cells, 500);
  children.join();
  EXPECT_EQ(cells[0], 2000U);
}

struct Chore {
  Lock lock;
  Cells cells;
};
int do_chore(const Chore& chore) {
  std::scoped_lock guard(chore.lock);
  count_up(chore.cells);
  return static_cast<int>(chore.cells[0].load());
}

TEST_P(LockByEachMethod, IsPartOfATaskOfAPool) {
  cohort::PoolOptions options;
  options.processes = 3;
  options.start_method = GetParam();
  Chore chore{Lock(), Cells(1)};
  {
    cohort::Pool pool(options);
    std::vector<int> seen = pool.map(do_chore, std::vector<Chore>(200, chore));
    std::sort(seen.begin(), seen.end());
    for (int i = 0; i < 200; ++i) EXPECT_EQ(seen[static_cast<std::size_t>(i)], i + 1);
  }
  EXPECT_FALSE(chore.lock.locked());
}

TEST_P(LockByEachMethod, ItsOwnersDeathIsToldByEachMethod) {
  Lock lock;
  Process owner(
      with(),
      [](const Lock& mine) {
        mine.lock();
        ::raise(SIGKILL);
      },
      lock);
  owner.start();
  owner.join();
  Children others(GetParam());
  others.add(
      [](const Lock& theirs) {
        try {
          theirs.lock();
        } catch (const LockOwnerDied&) {
          require(theirs.recover(), "in doubt");
          theirs.unlock();
          return;
        }
        throw std::runtime_error("it was not told");
      },
      lock);
  others.join();
  EXPECT_TRUE(lock.try_lock());
  lock.unlock();
}

TEST_F(LockTest, ManyOfThemComeAndGo) {
  for (int round = 0; round < 3; ++round) {
    std::vector<Lock> locks(20'000);
    for (auto& lock : locks) lock.lock();
    for (std::size_t i = 0; i < locks.size(); i += 2) locks[i].unlock();
  }  // half of them locked
}

}  // namespace
