#include <mutex>
#include <sstream>

#include "sync_fixture.hpp"

namespace {

using namespace test;
using cohort::BasicLock;
using cohort::InvalidStateError;
using cohort::Lock;
using cohort::RLock;

class MpLock : public EachMethodSync {};
INSTANTIATE_TEST_SUITE_P(Methods, MpLock, every_method(), method_name);
using SyncLock = SyncTest;

std::string text_of(const BasicLock& lock) {
  std::ostringstream out;
  out << lock;
  return out.str();
}

void take(const BasicLock& lock, const Cells& stage) {
  lock.lock();
  stage[0] = 1;
  eventually([&] { return stage[0] == 2; });
}

// A child of this method takes the lock, and ends with it.
void is_seen_locked(Children children, const BasicLock& lock) {
  Cells stage(1);
  children.add(take, lock, stage);
  ASSERT_TRUE(eventually([&] { return stage[0] == 1; }));
  EXPECT_TRUE(lock.locked());
  EXPECT_FALSE(lock.owned());
  stage[0] = 2;
  children.join();
  EXPECT_TRUE(lock.locked());
}

// behaviour: MpLock/locked-seen-elsewhere
TEST_P(MpLock, ALockTakenByAChildReadsAsLockedHereAndStaysSoAfterItsEnd) {
  is_seen_locked(Children(GetParam()), Lock());
}

// behaviour: MpRLock/locked-seen-elsewhere
TEST_P(MpLock, ARecursiveLockTakenByAChildReadsAsLockedHere) {
  is_seen_locked(Children(GetParam()), RLock());
}

// behaviour: MpLock/scope-yields-true
TEST_P(MpLock, TheScopeOfALockReportsSuccess) {
  Children children(GetParam());
  children.add(
      [](const Lock& lock, const RLock& recursive) {
        std::unique_lock one(lock);
        std::unique_lock two(recursive);
        require(one && two, "both scopes have their lock");
      },
      Lock(), RLock());
  children.join();
}

// behaviour: MpRLock/recursive
TEST_P(MpLock, ARecursiveLockIsReleasedAsOftenAsItWasTaken) {
  const auto check = [](const RLock& lock) {
    for (int i = 0; i < 3; ++i) lock.lock();
    for (int i = 0; i < 2; ++i) {
      lock.unlock();
      require(lock.locked() && lock.owned(), "it is locked until the last release");
    }
    lock.unlock();
    require(!lock.locked(), "the last release frees it");
    try {
      lock.unlock();
    } catch (const InvalidStateError&) {
      return;
    }
    throw std::runtime_error("one release more than there is to release");
  };
  RLock lock;
  Children children(GetParam());
  children.add(check, lock);
  children.join();
  check(lock);
}

void release_fails(const BasicLock& lock) {
  try {
    lock.unlock();
  } catch (const InvalidStateError&) {
    require(lock.locked(), "still locked");
    return;
  }
  throw std::runtime_error("it released what another holds");
}

// behaviour: MpRLock/foreign-release-error
TEST_P(MpLock, ReleasingARecursiveLockOfAnotherIsAnError) {
  RLock lock;
  std::scoped_lock guard(lock);
  Children children(GetParam());
  children.add(release_fails, lock);
  children.join();
  std::thread([&] { release_fails(lock); }).join();
  EXPECT_EQ(lock.depth(), 1U);
}

// behaviour: MpRLock/describe-owner
TEST_P(MpLock, TheTextOfARecursiveLockNamesOwnerAndDepth) {
  RLock lock;
  EXPECT_EQ(text_of(lock), "<RLock unlocked>");
  std::scoped_lock guard(lock);
  std::scoped_lock again(lock);
  const std::string expected =
      "<RLock locked by MainProcess pid=" + std::to_string(::getpid()) + " depth=2>";
  EXPECT_EQ(text_of(lock), expected);
  Children children(GetParam());
  children.add(
      [](const RLock& theirs, const std::string& text) {
        std::ostringstream out;
        out << theirs;
        require(out.str() == text, "it reads the same elsewhere");
        require(theirs.depth() == 0, "as a depth of one's own");
      },
      lock, expected);
  children.join();
}

// behaviour: Lock/create-destroy
TEST_F(SyncLock, ALockIsMadeAndDestroyedAlsoWhileLocked) {
  { Lock lock; }
  {
    Lock lock;
    lock.lock();
    lock.unlock();
  }
  for (int i = 0; i < 100; ++i) {
    Lock lock;
    lock.lock();
    RLock recursive;
    recursive.lock();
  }
}

// behaviour: Lock/describe-state
TEST_F(SyncLock, TheTextSaysLockedOrUnlocked) {
  Lock lock;
  EXPECT_NE(text_of(lock).find("unlocked"), std::string::npos);
  std::scoped_lock guard(lock);
  EXPECT_NE(text_of(lock).find(" locked"), std::string::npos);
}

// behaviour: Lock/try-contended
TEST_F(SyncLock, ANonBlockingAcquireOfAHeldLockGivesFalse) {
  for (const BasicLock& lock : {BasicLock(Lock()), BasicLock(RLock())}) {
    std::scoped_lock guard(lock);
    std::thread([&] { EXPECT_FALSE(lock.try_lock()); }).join();
  }
}

// behaviour: Lock/contended-all-proceed
TEST_F(SyncLock, FiveBlockedThreadsAllGetThroughAfterOneRelease) {
  for (const BasicLock& lock : {BasicLock(Lock()), BasicLock(RLock())}) {
    std::atomic<int> through{0};
    lock.lock();
    Threads threads(5, [&](int) {
      std::scoped_lock guard(lock);
      ++through;
    });
    EXPECT_TRUE(fall_asleep_here(5));
    EXPECT_EQ(through, 0);
    lock.unlock();
    threads.join();
    EXPECT_EQ(through, 5);
  }
}

// behaviour: Lock/scope-releases-on-exception
TEST_F(SyncLock, LeavingTheScopeByAnExceptionReleasesTheLock) {
  Lock lock;
  const auto throws = [&] {
    std::scoped_lock guard(lock);
    throw std::range_error("out of the scope");
  };
  EXPECT_THROW(throws(), std::range_error);
  EXPECT_FALSE(lock.locked());
  std::thread([&] {
    EXPECT_TRUE(lock.try_lock());
    lock.unlock();
  }).join();
}

// behaviour: Lock/timeout-early-success
TEST_F(SyncLock, ATimedAcquireOfAFreeLockDoesNotWait) {
  Lock lock;
  const auto before = Clock::now();
  EXPECT_TRUE(lock.try_lock_for(1h));
  EXPECT_LT(Clock::now() - before, 10min);
  lock.unlock();
}

// behaviour: Lock/timeout-expires
TEST_F(SyncLock, ATimedAcquireOfAHeldLockGivesFalseAfterItsTime) {
  for (const BasicLock& lock : {BasicLock(Lock()), BasicLock(RLock())}) {
    std::scoped_lock guard(lock);
    std::thread([&] {
      const auto before = Clock::now();
      EXPECT_FALSE(lock.try_lock_for(120ms));
      EXPECT_GE(Clock::now() - before, 120ms);
    }).join();
  }
}

// behaviour: Lock/state-after-timeout
TEST_F(SyncLock, AfterAFailedTimedAcquireOneReleaseFreesTheLock) {
  Lock lock;
  lock.lock();
  std::thread([&] { EXPECT_FALSE(lock.try_lock_for(10ms)); }).join();
  lock.unlock();
  EXPECT_FALSE(lock.locked());
  EXPECT_TRUE(lock.try_lock());
  lock.unlock();
}

// behaviour: Lock/release-unheld-error
TEST_F(SyncLock, ReleasingAnUnheldLockIsAnError) {
  Lock lock;
  EXPECT_THROW(lock.unlock(), InvalidStateError);
  lock.lock();
  lock.unlock();
  EXPECT_THROW(lock.unlock(), InvalidStateError);
}

// behaviour: RLock/release-unheld-error
TEST_F(SyncLock, ReleasingARecursiveLockWithNothingHeldIsAnErrorAlsoAfterBalancedUse) {
  RLock lock;
  EXPECT_THROW(lock.unlock(), InvalidStateError);
  for (int i = 0; i < 3; ++i) lock.lock();
  for (int i = 0; i < 3; ++i) lock.unlock();
  EXPECT_THROW(lock.unlock(), InvalidStateError);
}

// behaviour: RLock/foreign-release-error
TEST_F(SyncLock, ReleasingARecursiveLockThatAnotherThreadHoldsIsAnError) {
  RLock lock;
  std::scoped_lock guard(lock);
  std::thread([&] { EXPECT_THROW(lock.unlock(), InvalidStateError); }).join();
  EXPECT_TRUE(lock.owned());
}

// behaviour: RLock/locked-until-last
TEST_F(SyncLock, LockedIsTrueUntilTheLastMatchingRelease) {
  RLock lock;
  EXPECT_FALSE(lock.locked());
  lock.lock();
  lock.lock();
  EXPECT_TRUE(lock.locked());
  lock.unlock();
  EXPECT_TRUE(lock.locked());
  lock.unlock();
  EXPECT_FALSE(lock.locked());
}

// behaviour: RLock/locked-by-other
TEST_F(SyncLock, LockedIsTrueForOthersAlsoAfterTheOwnerThreadEnded) {
  RLock lock;
  std::thread([&] {
    lock.lock();
    lock.lock();
  }).join();
  EXPECT_TRUE(lock.locked());
  EXPECT_FALSE(lock.owned());
  EXPECT_FALSE(lock.try_lock());
}

// behaviour: RLock/ownership-query
TEST_F(SyncLock, OwnedIsTrueForTheHolderAtAnyDepthAndFalseForOthers) {
  RLock lock;
  EXPECT_FALSE(lock.owned());
  for (std::size_t depth = 1; depth <= 3; ++depth) {
    lock.lock();
    EXPECT_TRUE(lock.owned());
    EXPECT_EQ(lock.depth(), depth);
    std::thread([&] { EXPECT_FALSE(lock.owned()); }).join();
  }
  for (int i = 0; i < 3; ++i) lock.unlock();
  EXPECT_FALSE(lock.owned());
}

// behaviour: RLock/full-release-unheld
TEST_F(SyncLock, TheFullReleaseOfAWaitFailsWhenNothingIsHeld) {
  RLock lock;
  cohort::Condition condition(lock);
  std::unique_lock guard(lock);
  lock.unlock();  // behind the guard's back
  EXPECT_THROW(condition.wait(guard), InvalidStateError);
  guard.release();
  EXPECT_FALSE(lock.locked());
}

// behaviour: SyncSignals/acquire-resumes
TEST_F(SyncLock, AnUntimedAcquireHitByHandledSignalsGoesOnWaitingAndSucceeds) {
  static std::atomic<int> handled;
  struct sigaction action {};
  action.sa_handler = [](int) { ++handled; };
  struct sigaction before {};
  ::sigaction(SIGUSR1, &action, &before);  // without SA_RESTART
  for (const BasicLock& lock : {BasicLock(Lock()), BasicLock(RLock())}) {
    handled = 0;
    std::atomic<bool> taken{false};
    lock.lock();
    std::thread waiter([&] {
      std::scoped_lock guard(lock);
      taken = true;
    });
    EXPECT_TRUE(fall_asleep_here(1));
    for (int sent = 1; sent <= 50; ++sent) {
      ::pthread_kill(waiter.native_handle(), SIGUSR1);
      ASSERT_TRUE(eventually([&] { return handled == sent; }));
      EXPECT_FALSE(taken);
    }
    EXPECT_TRUE(fall_asleep_here(1));
    lock.unlock();
    waiter.join();
    EXPECT_TRUE(taken);
  }
  ::sigaction(SIGUSR1, &before, nullptr);
}

}  // namespace
