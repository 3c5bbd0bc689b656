// Locks and their like when a process is stopped, when descriptors have run out, and at the end of
// a process.
#include <sys/resource.h>

#include <cohort/sync.hpp>
#include <cstring>
#include <functional>
#include <mutex>

#include "sync/lock.hpp"
#include "sync_fixture.hpp"

namespace {

using namespace test;
using cohort::Barrier;
using cohort::BrokenBarrier;
using cohort::Condition;
using cohort::Event;
using cohort::Lock;
using cohort::LockOwnerDied;
using cohort::Semaphore;

using SyncFailures = SyncTest;
class SyncFailuresByEachMethod : public EachMethodSync {};
INSTANTIATE_TEST_SUITE_P(Methods, SyncFailuresByEachMethod, every_method(), method_name);

// ---- at the end of a process

void expect_turns(const std::vector<std::string>& arguments, std::string expected) {
  auto outcome = run_program("waits_at_exit", arguments);
  EXPECT_EQ(outcome.code, 0) << outcome;
  EXPECT_EQ(outcome.out, expected);
  EXPECT_EQ(outcome.err, "");
}

TEST_F(SyncFailures, AStaticObjectsDestructorMayWaitAndNotify) {
  expect_turns({"static"}, "main: notified, notified\nstatic: notified, notified\n");
}

TEST_P(SyncFailuresByEachMethod, WhatRunsAtTheEndOfAProcessMayWaitAndNotify) {
  for (std::string how : {"finalizer", "at_exit"}) {
    const std::string turns = "main: notified, notified\n" + how + ": notified, notified\n";
    expect_turns({how, std::string(cohort::to_string(GetParam()))}, turns + turns);
  }
}

// ---- helpers that are stopped

bool comes_to_a_stop(pid_t pid) {
  return eventually([&] { return stat_of(pid).state == 'T'; });
}

// The fork server and its standby, stopped until the end of the test: nobody but those who wait
// notices a death.
class StoppedHelpers {
 public:
  StoppedHelpers() {
    EXPECT_TRUE(eventually([] { return janitor_pid(0) && standby_pid(); }));
    pids_ = {janitor_pid(0).value_or(0), standby_pid().value_or(0)};
    for (pid_t pid : pids_) EXPECT_TRUE(send(pid, SIGSTOP) && comes_to_a_stop(pid));
  }
  ~StoppedHelpers() { go_on(); }
  StoppedHelpers(const StoppedHelpers&) = delete;
  StoppedHelpers& operator=(const StoppedHelpers&) = delete;

  void go_on() {
    for (pid_t pid : pids_) send(pid, SIGCONT);
    pids_.clear();
  }

 private:
  std::vector<pid_t> pids_;
};

void hold_for_ever(const Semaphore& semaphore, const Event& holds) {
  const auto permit = semaphore.hold();
  holds.set();
  for (;;) ::pause();
}

TEST_P(SyncFailuresByEachMethod, APermitComesBackWhileTheHelpersAreStopped) {
  const Semaphore semaphore(1);
  const Event holds;
  Process holder(with(), hold_for_ever, semaphore, holds);
  holder.start();
  ASSERT_TRUE(holds.wait_for(kPatience));
  const StoppedHelpers stopped;
  holder.kill();
  EXPECT_TRUE(semaphore.try_acquire_for(kPatience));
}

void come_and_wait(const Barrier& barrier) { barrier.wait(); }

TEST_P(SyncFailuresByEachMethod, ABarrierBreaksWhileTheHelpersAreStopped) {
  const Barrier barrier(3);
  Process party(with(), come_and_wait, barrier);
  party.start();
  ASSERT_TRUE(eventually([&] { return barrier.n_waiting() == 1; }));
  bool told = false;
  Threads waiting(1, [&](int) {
    try {
      barrier.wait();
    } catch (const BrokenBarrier&) {
      told = true;
    }
  });
  EXPECT_TRUE(eventually([&] { return barrier.n_waiting() == 2; }));
  const StoppedHelpers stopped;
  party.kill();
  EXPECT_TRUE(eventually([&] { return barrier.broken(); }));
  barrier.abort();  // for the thread's sake, should it not be
  waiting.join();
  EXPECT_TRUE(told);
}

void lock_for_ever(const Condition& condition, const Event& holds) {
  condition.lock();
  holds.set();
  for (;;) ::pause();
}

TEST_P(SyncFailuresByEachMethod, AConditionsWaiterIsToldOfTheOwnersDeathWhileTheHelpersAreStopped) {
  const Condition condition;
  const Event holds;
  bool told = false;
  Threads waiting(1, [&](int) {
    std::unique_lock guard(condition);
    try {
      condition.wait_for(guard, kPatience);
    } catch (const LockOwnerDied&) {
      told = condition.recover();
    }
  });
  ASSERT_TRUE(eventually([&] { return condition.waiters() == 1; }));
  Process owner(with(), lock_for_ever, condition, holds);
  owner.start();
  EXPECT_TRUE(holds.wait_for(kPatience));
  const StoppedHelpers stopped;
  owner.kill();
  waiting.join();
  EXPECT_TRUE(told);
}

// ---- a process that is stopped in the middle of a change

MemberId member_of(pid_t pid) {
  auto& members = Space::here().members();
  for (std::uint32_t i = 0; i < members.used(); ++i) {
    if (auto id = members.at(i); id && members.slot(id).pid.load() == pid) return id;
  }
  return {};
}

void stop_while_taking(const Semaphore& semaphore) {
  cohort::os::step_hook = [](const char* name) {
    if (std::strcmp(name, "semaphore.noted") != 0) return;
    cohort::os::step_hook = nullptr;
    ::raise(SIGSTOP);
  };
  const auto permit = semaphore.hold();
}

// Lets a stopped process go on after all, should what is done meanwhile hang for it.
class Rescue {
 public:
  explicit Rescue(pid_t stopped)
      : thread_([this, stopped] {
          if (!over_.wait_for(kPatience)) send(stopped, SIGCONT);
        }) {}
  ~Rescue() {
    over_.set();
    thread_.join();
  }
  Rescue(const Rescue&) = delete;
  Rescue& operator=(const Rescue&) = delete;

 private:
  Event over_;
  std::thread thread_;
};

TEST_P(SyncFailuresByEachMethod, AProcessStoppedAmidAPermitsChangeKeepsNobodyFromStarting) {
  const Semaphore semaphore(5);
  const Event holds;
  Process holder(with(), hold_for_ever, semaphore, holds);
  Process stopped(with(), stop_while_taking, semaphore);
  holder.start();
  ASSERT_TRUE(holds.wait_for(kPatience));
  stopped.start();
  ASSERT_TRUE(comes_to_a_stop(stopped.pid()));
  auto& members = Space::here().members();
  const auto id = member_of(holder.pid());
  {
    const Rescue rescue(stopped.pid());
    holder.kill();
    ASSERT_TRUE(eventually([&] { return members.is_dead(id); }));
    for (int i = 0; i < 3; ++i) {
      Process other(with({.start_method = StartMethod::forkserver}), [] {});
      other.start();
      other.join();
      EXPECT_EQ(other.exitcode(), 0);
    }
    EXPECT_EQ(stat_of(stopped.pid()).state, 'T') << "the others waited for it";
  }
  send(stopped.pid(), SIGCONT);
  ASSERT_TRUE(stopped.join_for(kPatience));
  EXPECT_EQ(stopped.exitcode(), 0);
  EXPECT_TRUE(eventually([&] { return semaphore.value() == 5; })) << semaphore;
}

// ---- without descriptors

class NoDescriptors {
 public:
  NoDescriptors() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    rlimit none{3, before_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
    EXPECT_EQ(::dup(1), -1);
  }
  ~NoDescriptors() { EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &before_), 0); }
  NoDescriptors(const NoDescriptors&) = delete;
  NoDescriptors& operator=(const NoDescriptors&) = delete;

 private:
  rlimit before_{};
};

void idle(const Event& runs) {
  runs.set();
  for (;;) ::pause();
}

// Has a daemon: whoever buries it needs a descriptor to end that.
void hold_with_a_daemon(const Semaphore& semaphore, const Event& holds) {
  const auto permit = semaphore.hold();
  const Event runs;
  Process daemon({.daemon = true}, idle, runs);
  daemon.start();
  runs.wait();
  holds.set();
  for (;;) ::pause();
}

// How often this process has tried to return what a dead one held.
std::atomic<int> tries = 0;
class CountedTries {
 public:
  CountedTries() {
    tries = 0;
    cohort::os::step_hook = [](const char* name) {
      if (std::strcmp(name, "space.reclaimed") == 0) ++tries;
    };
  }
  ~CountedTries() { cohort::os::step_hook = nullptr; }
  CountedTries(const CountedTries&) = delete;
  CountedTries& operator=(const CountedTries&) = delete;
};

TEST_F(SyncFailures, WaitsOutliveALackOfDescriptorsAndThePermitComesBackAfterIt) {
  const Semaphore semaphore(1);
  const Condition condition;
  const Event holds;
  Process holder(hold_with_a_daemon, semaphore, holds);
  holder.start();
  ASSERT_TRUE(holds.wait_for(kPatience));
  const auto id = member_of(holder.pid());
  const StoppedHelpers stopped;
  holder.kill();
  ASSERT_TRUE(ends(holder));
  // As they leave it who started it, without telling the fork server, and who noticed its death,
  // both killed at once.
  Space::here().members().slot(id).watched.store(0);
  Space::here().members().mark_dead(id);
  {
    const CountedTries counted;
    const NoDescriptors none;
    std::unique_lock guard(condition);
    const auto deadline = soon();
    while (tries < 2 && Clock::now() < *deadline) {
      EXPECT_NO_THROW(EXPECT_FALSE(semaphore.try_acquire_for(200ms)));
      EXPECT_NO_THROW(EXPECT_FALSE(condition.wait_for(guard, 200ms)));
      ASSERT_TRUE(guard.owns_lock() && condition.owned());
      if (HasFailure()) break;
    }
    EXPECT_GE(tries, 2);
  }
  EXPECT_TRUE(semaphore.try_acquire_for(kPatience));
}

// ---- a waiter that gives up

// What happens between the release of a lock and the wake-up of those who wait for it.
thread_local std::function<void()>* upon_release = nullptr;

TEST_F(SyncFailures, AWaiterWhoseTimeIsUpLeavesTheMarkOfWaitersOnTheLock) {
  const Lock lock;
  auto& word = cohort::LockAccess::cell(lock).word;
  bool looked = false, marked = false;
  cohort::os::step_hook = [](const char* name) {
    if (upon_release && std::strcmp(name, "lock.released") == 0)
      (*std::exchange(upon_release, nullptr))();
  };
  const auto deadline = soon();
  while (!looked && Clock::now() < *deadline) {
    lock.lock();
    std::atomic<bool> gave_up = false;
    Threads waiting(1, [&](int) {
      if (lock.try_lock_for(80ms)) lock.unlock();
      gave_up = true;
    });
    while (!gave_up && sleepers_of(::getpid()) == 0) ::sched_yield();
    // Taken again at once, by one who knows of nobody that waits.
    std::function<void()> take_again = [&] {
      EXPECT_TRUE(lock.try_lock());
      if (sleepers_of(::getpid()) != 1) return;  // it was slow: once more
      EXPECT_TRUE(eventually([&] { return gave_up.load(); }));
      looked = true;
      marked = (word.load() & cohort::sync::LockCell::kWaiters) != 0;
    };
    upon_release = &take_again;
    lock.unlock();
    lock.unlock();
  }
  cohort::os::step_hook = nullptr;
  EXPECT_TRUE(looked);
  EXPECT_TRUE(marked) << "others that wait would not be woken";
}

}  // namespace
