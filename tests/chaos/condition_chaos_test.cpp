// Conditions whose waiters, notifiers and lock owners are killed: at random instants, and at every
// step.
//
// What holds: a notification of a waiter that dies before it goes on is the next one's; of a holder
// that dies somebody is told, even when all others sleep; whoever lives goes on.
#include <mutex>
#include <random>

#include "sync_fixture.hpp"

namespace {

using namespace test;
using cohort::Condition;
using cohort::Lock;
using cohort::LockOwnerDied;

class ConditionChaos : public SyncTest {};

bool comes_to(const Condition& condition, std::size_t waiters) {
  return eventually([&] { return condition.waiters() == waiters; });
}

// Takes the lock; repairs nothing but the doubt, and counts such.
std::unique_lock<const Condition> locked(const Condition& condition, unsigned* doubts = nullptr) {
  if (condition.recover() && doubts) ++*doubts;
  return {condition, std::adopt_lock};
}

TEST_F(ConditionChaos, OfWaitersThatAreKilledNoNotificationIsLost) {
  constexpr unsigned kWaiters = 7, kKills = 3, kNotified = 3;
  std::mt19937 random(3);
  for (int round = 0; round < (kSanitized ? 30 : 250); ++round) {
    Condition condition;
    Cells cells(2);  // went on; found the lock in doubt
    std::vector<Process> waiters;
    for (unsigned i = 0; i < kWaiters; ++i) {
      waiters.push_back(Process::forked([&] {
        std::unique_lock guard(condition);
        try {
          condition.wait(guard);
        } catch (const LockOwnerDied&) {
          condition.recover();
          cells[1].fetch_add(1);
        }
        cells[0].fetch_add(1);
      }));
      waiters.back().start();
    }
    ASSERT_TRUE(comes_to(condition, kWaiters));
    std::shuffle(waiters.begin(), waiters.end(), random);
    std::thread killer([&, mine = std::mt19937(random())]() mutable {
      for (unsigned i = 0; i < kKills; ++i) {
        random_pause(mine, 150us);
        waiters[i].kill();
      }
    });
    unsigned doubts = 0;
    for (unsigned i = 0; i < kNotified; ++i) {
      auto guard = locked(condition, &doubts);
      condition.notify_one();
    }
    killer.join();
    // Who went on and died before it counted died with the lock, of which another was told.
    EXPECT_TRUE(eventually([&] { return cells[0] + cells[1] + doubts >= kNotified; }))
        << cells[0] << " went on, " << cells[1] << " found a doubt, and this thread " << doubts;
    while (eventually([&] { return condition.waiters() > 0; }, Clock::now() + 1ms)) {
      auto guard = locked(condition);
      condition.notify_all();
    }
    for (unsigned i = 0; i < kWaiters; ++i) {
      ASSERT_TRUE(waiters[i].join_for(kPatience)) << "it waits for ever";
      if (i >= kKills) {
        EXPECT_EQ(waiters[i].exitcode(), 0);
      }
    }
    EXPECT_EQ(condition.waiters(), 0U);
    ASSERT_FALSE(HasFailure()) << "in round " << round;
  }
}

// A buffer for one, so that a lost notification lets all sleep.
struct Buffer {
  Lock lock;
  Condition filled{lock};
  Condition emptied{lock};
  Cells cells{3};  // what is in it, twice; how many were consumed

  void set(std::uint32_t items) const {
    cells[0] = items;
    cells[1] = items;
  }
  // Of a dead holder it is not known what it did, nor whom it would have notified.
  void repair() const {
    if (!lock.recover()) return;
    set(cells[0]);
    filled.notify_all();
    emptied.notify_all();
  }
  bool holds(std::uint32_t items) const {
    if (cells[0] != cells[1]) ::_exit(42);
    return cells[0] == items;
  }
  void pass_one(bool produces) const {
    const Condition& mine = produces ? emptied : filled;
    std::unique_lock guard(lock, std::defer_lock);
    try {
      guard.lock();
    } catch (const LockOwnerDied&) {
      repair();
      guard = std::unique_lock(lock, std::adopt_lock);
    }
    while (!holds(produces ? 0 : 1)) {
      try {
        mine.wait(guard);
      } catch (const LockOwnerDied&) {
        repair();
      }
    }
    set(produces ? 1 : 0);
    if (!produces) cells[2].fetch_add(1);
    (produces ? filled : emptied).notify_one();
  }
};

TEST_F(ConditionChaos, ABufferIsFilledAndEmptiedWhileItsUsersAreKilled) {
  std::mt19937 random(5);
  const Buffer buffer;
  auto start = [&](std::size_t i) {
    Process process = Process::forked([&buffer, produces = i % 2 == 0] {
      for (;;) buffer.pass_one(produces);
    });
    process.start();
    return process;
  };
  std::vector<Process> users;
  for (std::size_t i = 0; i < 4; ++i) users.push_back(start(i));
  int kills = 0;
  const auto until = Clock::now() + 5s;
  for (; Clock::now() < until && kills < 3000; ++kills) {
    const std::uint32_t before = buffer.cells[2];
    const auto enough = 1 + random() % 10;
    ASSERT_TRUE(eventually([&] { return buffer.cells[2] - before >= enough; }))
        << "all sleep after " << kills << " kills";
    random_pause(random, 50us);
    const std::size_t i = random() % users.size();
    users[i].kill();
    users[i].join();
    ASSERT_EQ(users[i].exitcode(), -SIGKILL) << "it saw damage";
    users[i] = start(i);
  }
  for (auto& user : users) user.kill();
  EXPECT_GT(kills, kSanitized ? 50 : 500);
  std::printf("%d kills, %u consumed\n", kills, buffer.cells[2].load());
}

TEST_F(ConditionChaos, WhenTheHolderIsKilledAndAllOthersSleepOneIsTold) {
  for (int round = 0; round < 50; ++round) {
    Condition condition;
    Cells cells(1);
    Children sleepers;
    for (int i = 0; i < 3; ++i) {
      sleepers.fork([&] {
        std::unique_lock guard(condition);
        while (cells[0] == 0) {
          try {
            condition.wait(guard);
          } catch (const LockOwnerDied&) {
            condition.recover();
            cells[0].fetch_add(1);
            condition.notify_all();
          }
        }
      });
    }
    ASSERT_TRUE(comes_to(condition, 3));
    Process holder = Process::forked([&] {
      std::scoped_lock guard(condition);
      ::raise(SIGKILL);
    });
    holder.start();
    holder.join();
    sleepers.join();
    ASSERT_EQ(cells[0], 1U);
  }
}

std::string name_of(std::string step) {
  std::replace(step.begin(), step.end(), '.', '_');
  return step;
}

class KilledWaiter : public ConditionChaos, public testing::WithParamInterface<const char*> {};

// Two wait, the first to come dies on its way: the one notification is the other's.
TEST_P(KilledWaiter, LeavesItsNotificationToTheNext) {
  for (int times = 0; times < 10; ++times) {
    Condition condition;
    Cells cells(1);
    Process victim = Process::forked([&] {
      die_at(GetParam());
      std::unique_lock guard(condition);
      condition.wait(guard);
    });
    victim.start();
    // Where it dies before it sleeps it may die with the lock.
    if (eventually([&] { return condition.waiters() == 1 || !victim.is_alive(); }) &&
        !victim.is_alive()) {
      locked(condition);
    }
    Children next;
    next.fork([&] {
      auto guard = locked(condition);
      try {
        condition.wait(guard);
      } catch (const LockOwnerDied&) {
        condition.recover();
      }
      cells[0].fetch_add(1);
    });
    ASSERT_TRUE(eventually([&] { return sleepers_of(next[0].pid()) > 0; }));
    {
      auto guard = locked(condition);
      condition.notify_one();
    }
    next.join();
    EXPECT_EQ(cells[0], 1U);
    victim.join();
    ASSERT_EQ(victim.exitcode(), -SIGKILL) << "the step was never reached";
    EXPECT_EQ(condition.waiters(), 0U);
  }
}
INSTANTIATE_TEST_SUITE_P(Every, KilledWaiter,
                         testing::Values("condition.enlisted", "lock.releasing", "lock.released",
                                         "condition.unlocked", "condition.woken",
                                         "condition.locked"),
                         [](const testing::TestParamInfo<const char*>& step) {
                           return name_of(step.param);
                         });

struct NotifiersStep {
  const char* name;
  int most;  // how often a notifier of three comes to it
};
class KilledNotifier : public ConditionChaos, public testing::WithParamInterface<NotifiersStep> {};

TEST_P(KilledNotifier, LeavesTheRestToWhoRepairs) {
  const auto [step, most] = GetParam();
  for (int times = 1; times <= most; ++times) {
    Condition condition;
    Cells work(2);  // to be done; done
    Children workers;
    for (int i = 0; i < 3; ++i) {
      workers.fork([&] {
        std::unique_lock guard(condition);
        while (work[0] == 0) {
          try {
            condition.wait(guard);
          } catch (const LockOwnerDied&) {
            condition.recover();
            condition.notify_all();
          }
        }
        work[0].fetch_sub(1);
        work[1].fetch_add(1);
      });
    }
    ASSERT_TRUE(comes_to(condition, 3));
    Process notifier = Process::forked([&, step = step] {
      die_at(step, times);
      std::scoped_lock guard(condition);
      work[0] = 3;
      condition.notify(3);
    });
    notifier.start();
    notifier.join();
    ASSERT_EQ(notifier.exitcode(), -SIGKILL) << "the step was never reached";
    workers.join();
    EXPECT_EQ(work[1], 3U);
  }
}
INSTANTIATE_TEST_SUITE_P(Every, KilledNotifier,
                         testing::Values(NotifiersStep{"condition.told", 3},
                                         NotifiersStep{"lock.releasing", 1},
                                         NotifiersStep{"lock.released", 1}),
                         [](const testing::TestParamInfo<NotifiersStep>& step) {
                           return name_of(step.param.name);
                         });

TEST_F(ConditionChaos, WhoPassesANotificationOnAndIsKilledLosesItNot) {
  for (int round = 0; round < 10; ++round) {
    Condition condition;
    Cells cells(1);
    // The notified one dies without having gone on, and so does whoever buries it, by the way.
    Member victim([&] {
      die_at("condition.woken");
      std::unique_lock guard(condition);
      condition.wait(guard);
    });
    ASSERT_TRUE(comes_to(condition, 1));
    Children next;
    next.fork([&] {
      std::unique_lock guard(condition);
      condition.wait(guard);
      cells[0].fetch_add(1);
    });
    ASSERT_TRUE(comes_to(condition, 2));
    {
      std::scoped_lock guard(condition);
      condition.notify_one();
    }
    ASSERT_EQ(victim.wait(), -SIGKILL);
    Member undertaker([&] {
      die_at("condition.passed_on");
      Space::here().bury(victim.id());
      ::_exit(0);  // another was faster
    });
    undertaker.wait();
    EXPECT_TRUE(undertaker.bury());
    EXPECT_TRUE(victim.bury());
    next.join();
    EXPECT_EQ(cells[0], 1U);
  }
}

}  // namespace
