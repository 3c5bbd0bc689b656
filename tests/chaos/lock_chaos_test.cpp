// Locks whose owners and waiters are killed: at random instants, and at every step.
//
// What holds: nobody is inside with another; whoever comes after a dead owner is told so before it
// sees the data, and one of all gets them to repair; whoever lives goes on.
#include <array>
#include <mutex>
#include <random>

#include "sync_fixture.hpp"

namespace {

using namespace test;
using cohort::BasicLock;
using cohort::Lock;
using cohort::LockOwnerDied;
using cohort::RLock;

class LockChaos : public SyncTest {};

constexpr std::size_t kAccounts = 4;  // of them, every second has an RLock
constexpr int kDamage = 42;

// What a lock protects: nothing of it is changed by one instruction.
struct Account {
  std::atomic<std::uint32_t> inside;  // the pid of who is
  std::atomic<std::uint64_t> first;   // equal, unless somebody is inside or died there
  std::atomic<std::uint64_t> second;
};
struct Bank {
  std::array<Account, kAccounts> accounts;
  std::atomic<std::uint64_t> done;
  std::atomic<std::uint64_t> repaired;
};

struct Teller {
  const std::vector<BasicLock>& locks;
  Bank& bank;
  std::mt19937 random;

  static void add(std::atomic<std::uint64_t>& count) {
    count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  // Under the lock.
  void book(std::size_t at) const {
    Account& account = bank.accounts[at];
    if (account.inside.load() != 0 || account.first.load() != account.second.load())
      ::_exit(kDamage);
    account.inside = static_cast<std::uint32_t>(::getpid());
    add(account.first);
    add(account.second);
    if (account.inside.load() != static_cast<std::uint32_t>(::getpid())) ::_exit(kDamage);
    account.inside = 0;
  }
  void repair(std::size_t at) const {
    if (locks[at].recover()) {
      Account& account = bank.accounts[at];
      account.second.store(account.first.load());
      account.inside = 0;
      bank.repaired.fetch_add(1);
    }
    locks[at].unlock();
  }
  void nested(std::size_t at) const {
    std::scoped_lock outer(locks[at]);
    book(at);
    if (!locks[at].recursive()) return;
    std::scoped_lock inner(locks[at]);
    book(at);
  }
  void once() {
    const std::size_t at = random() % kAccounts;
    switch (random() % 4) {
      case 0:
        nested(at);
        break;
      case 1:
        if (locks[at].try_lock_for(std::chrono::microseconds(random() % 300))) {
          std::unique_lock guard(locks[at], std::adopt_lock);
          book(at);
        }
        break;
      case 2: {
        std::scoped_lock all(locks[0], locks[1], locks[2]);
        for (std::size_t i = 0; i < 3; ++i) book(i);
        break;
      }
      default:
        if (locks[at].try_lock()) {
          std::unique_lock guard(locks[at], std::adopt_lock);
          book(at);
        }
    }
    bank.done.fetch_add(1);
  }
  void work() {
    for (;;) {
      try {
        once();
      } catch (const LockOwnerDied&) {
        for (std::size_t i = 0; i < kAccounts; ++i) repair(i);
      }
    }
  }
};

TEST_F(LockChaos, ThousandsOfKillsAtRandomInstantsDamageNothingAndStopNobody) {
  std::mt19937 random(7);
  Shared<Bank> bank;
  std::vector<BasicLock> locks;
  for (std::size_t i = 0; i < kAccounts; ++i) {
    if (i % 2 == 0) {
      locks.push_back(Lock());
    } else {
      locks.push_back(RLock());
    }
  }
  std::uint32_t seed = 0;
  auto start = [&] {
    Process process = Process::forked([&, mine = ++seed] {
      Teller{locks, *bank, std::mt19937(mine)}.work();
    });
    process.start();
    return process;
  };
  std::vector<Process> tellers;
  for (int i = 0; i < 3; ++i) tellers.push_back(start());
  int kills = 0;
  const auto until = Clock::now() + 7s;
  while (Clock::now() < until && kills < 6000) {
    const auto enough = bank->done.load() + random() % 40;
    ASSERT_TRUE(eventually([&] { return bank->done.load() >= enough; })) << "nobody goes on";
    random_pause(random, 100us);
    Process& victim = tellers[random() % tellers.size()];
    victim.kill();
    victim.join();
    ASSERT_EQ(victim.exitcode(), -SIGKILL) << "it saw damage";
    victim = start();
    ++kills;
  }
  for (auto& teller : tellers) teller.kill();
  for (auto& teller : tellers) {
    teller.join();
    EXPECT_EQ(teller.exitcode(), -SIGKILL);
  }
  Teller last{locks, *bank, std::mt19937(0)};
  for (std::size_t i = 0; i < kAccounts; ++i) {
    last.repair(i);
    std::scoped_lock guard(locks[i]);
    last.book(i);
  }
  EXPECT_GT(kills, kSanitized ? 100 : 1000);
  EXPECT_GT(bank->repaired.load(), 10U);
  std::printf("%d kills, %llu bookings, %llu repairs\n", kills,
              static_cast<unsigned long long>(bank->done.load()),
              static_cast<unsigned long long>(bank->repaired.load()));
}

TEST_F(LockChaos, ThreadsOfKilledProcessesLeaveOthersTheSame) {
  std::mt19937 random(8);
  Shared<Bank> bank;
  std::vector<BasicLock> locks;
  for (std::size_t i = 0; i < kAccounts; ++i) locks.push_back(RLock());
  std::uint32_t seed = 0;
  auto start = [&] {
    Process process = Process::forked([&, mine = ++seed] {
      for (std::uint32_t i = 1; i < 3; ++i) {
        std::thread([&, i] {
          Teller{locks, *bank, std::mt19937(mine + i * 1000)}.work();
        }).detach();
      }
      Teller{locks, *bank, std::mt19937(mine)}.work();
    });
    process.start();
    return process;
  };
  std::vector<Process> tellers;
  for (int i = 0; i < 2; ++i) tellers.push_back(start());
  for (int kills = 0; kills < (kSanitized ? 50 : 300); ++kills) {
    const auto enough = bank->done.load() + random() % 20;
    ASSERT_TRUE(eventually([&] { return bank->done.load() >= enough; })) << "nobody goes on";
    random_pause(random, 100us);
    Process& victim = tellers[random() % tellers.size()];
    victim.kill();
    victim.join();
    ASSERT_EQ(victim.exitcode(), -SIGKILL) << "it saw damage";
    victim = start();
  }
  for (auto& teller : tellers) teller.kill();
}

TEST_F(LockChaos, TenThousandLocksOfOneDeadProcessAreAllInDoubt) {
  const std::vector<Lock> locks(10'000);
  Cells seen(1);
  Process owner = Process::forked([&] {
    for (const Lock& lock : locks) lock.lock();
    seen[0] = 1;
    for (;;) ::pause();
  });
  owner.start();
  ASSERT_TRUE(eventually([&] { return seen[0] == 1; }));
  for (const Lock& lock : locks) ASSERT_FALSE(lock.try_lock());
  owner.kill();
  EXPECT_THROW(locks[5000].lock(), LockOwnerDied);  // waits for the death to be seen
  for (const Lock& lock : locks) {
    ASSERT_THROW(lock.try_lock(), LockOwnerDied);
    ASSERT_TRUE(lock.recover());
    lock.unlock();
    ASSERT_TRUE(lock.try_lock());
  }
  owner.join();
}

struct Step {
  const char* name;
  bool in_doubt;  // after a kill there
};
std::string step_name(const testing::TestParamInfo<Step>& step) {
  std::string name = step.param.name;
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

class KilledLocker : public LockChaos, public testing::WithParamInterface<Step> {};

TEST_P(KilledLocker, LeavesALockThatOthersGoOnWith) {
  const auto [step, in_doubt] = GetParam();
  for (const BasicLock& lock : {BasicLock(Lock()), BasicLock(RLock())}) {
    for (int sleepers : {0, 3}) {
      Cells cells(3);  // victim may begin; clean; recovered
      lock.lock();
      Process victim = Process::forked([&] {
        die_at(step);
        lock.lock();  // it is held until this sleeps
        eventually([&] { return cells[0] == 1; });
        lock.unlock();
      });
      victim.start();
      if (std::string_view(step) == "lock.waiting") {
        victim.join();
      } else {
        ASSERT_TRUE(fall_asleep(victim));
      }
      Children others;
      for (int i = 0; i < sleepers; ++i) {
        others.fork([&] {
          try {
            lock.lock();
            cells[1].fetch_add(1);
          } catch (const LockOwnerDied&) {
            cells[lock.recover() ? 2 : 1].fetch_add(1);
          }
          lock.unlock();
        });
      }
      EXPECT_TRUE(others.all_asleep());
      cells[0] = 1;
      lock.unlock();
      victim.join();
      ASSERT_EQ(victim.exitcode(), -SIGKILL) << "the step was never reached";
      others.join();
      if (sleepers == 0 && in_doubt) {
        EXPECT_THROW(lock.lock(), LockOwnerDied);
      }
      // One is told; this thread, should the victim have been the last to get the lock.
      if (lock.recover()) cells[2].fetch_add(1);
      lock.unlock();
      EXPECT_EQ(cells[2], in_doubt ? 1U : 0U);
      lock.lock();
      EXPECT_FALSE(lock.recover());
      lock.unlock();
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Every, KilledLocker,
                         testing::Values(Step{"lock.taken", true}, Step{"lock.waiting", false},
                                         Step{"lock.releasing", true},
                                         Step{"lock.released", false}),
                         step_name);

TEST_F(LockChaos, WhoFindsTheDeathAndIsKilledLeavesTheFindToTheOthers) {
  Lock lock;
  Cells cells(1);
  Process owner = Process::forked([&] {
    lock.lock();
    for (;;) ::pause();
  });
  owner.start();
  ASSERT_TRUE(eventually([&] { return lock.locked(); }));
  Process finder = Process::forked([&] {
    die_at("lock.in_doubt");
    lock.lock();
  });
  finder.start();
  ASSERT_TRUE(fall_asleep(finder));
  owner.kill();
  finder.join();
  ASSERT_EQ(finder.exitcode(), -SIGKILL) << "the step was never reached";
  Children others;
  for (int i = 0; i < 3; ++i) {
    others.fork([&] {
      if (lock.recover()) cells[0].fetch_add(1);
      lock.unlock();
    });
  }
  others.join();
  EXPECT_EQ(cells[0], 1U);
  owner.join();
}

TEST_F(LockChaos, ARepairerKilledAtEachStepLeavesTheDoubt) {
  for (const char* step : {"lock.taken", "lock.releasing"}) {
    Lock lock;
    for (int i = 0; i < 20; ++i) {
      Process repairer = Process::forked([&] {
        die_at(step);
        lock.recover();
        lock.unlock();
      });
      repairer.start();
      repairer.join();
      ASSERT_EQ(repairer.exitcode(), -SIGKILL);
      ASSERT_THROW(lock.try_lock(), LockOwnerDied);
    }
    EXPECT_TRUE(lock.recover());
    lock.unlock();
  }
}

}  // namespace
