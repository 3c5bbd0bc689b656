#include <gtest/gtest.h>

#include <atomic>
#include <new>
#include <thread>
#include <vector>

#include "arena/space.hpp"
#include "member.hpp"
#include "sync/doorbell.hpp"
#include "sync/robust_lock.hpp"

namespace {

using namespace cohort::arena;
using namespace cohort::sync;
using namespace std::chrono_literals;
using cohort::os::Clock;
using test::eventually;
using test::kSanitized;
using test::Member;
using test::soon;

// A zeroed cell in the arena, given back at the end.
template <class T>
class Cell {
 public:
  Cell() : place_(Space::here().allocate(sizeof(T))) { new (Space::here().at(place_)) T{}; }
  ~Cell() { Space::here().release(place_); }
  Cell(const Cell&) = delete;
  Cell& operator=(const Cell&) = delete;
  T& operator*() const { return Space::here().cell<T>(place_); }
  T* operator->() const { return &**this; }

 private:
  Offset place_;
};

struct Counter {
  RobustLock lock;
  std::uint64_t count;  // not atomic: only the lock makes it exact
  std::atomic<std::uint32_t> stage;
};

class RobustLockTest : public test::Watched {
 protected:
  Space& space = Space::here();
  Cell<Counter> cell;

  static void add(Space& space, Counter& counter, int times) {
    for (int i = 0; i < times; ++i) {
      Locked guard(counter.lock, space);
      ++counter.count;
    }
  }
  // A member that holds the lock until it is killed.
  Member holder() {
    Member member([this] {
      (void)cell->lock.lock(Space::here());
      cell->stage = 1;
      for (;;) ::pause();
    });
    EXPECT_TRUE(eventually([&] { return cell->stage == 1; }));
    return member;
  }
};

class DoorbellTest : public test::Watched {
 protected:
  Space& space = Space::here();
};

TEST_F(RobustLockTest, CountsExactlyBetweenThreads) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back([&] { add(space, *cell, 50'000); });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(cell->count, 200'000U);
  EXPECT_EQ(cell->lock.word.load() & ~(1U << 31), 0U);
}

TEST_F(RobustLockTest, CountsExactlyBetweenProcesses) {
  std::vector<Member> members;
  for (int i = 0; i < 4; ++i) members.emplace_back([&] { add(Space::here(), *cell, 50'000); });
  for (auto& member : members) EXPECT_EQ(member.wait(), 0);
  EXPECT_EQ(cell->count, 200'000U);
}

TEST_F(RobustLockTest, ADeadOwnerIsAnsweredOnceAndTheLockGoesOn) {
  for (int round = 0; round < 20; ++round) {
    cell->stage = 0;
    Member owner = holder();
    EXPECT_TRUE(owner.kill_and_bury());
    EXPECT_EQ(cell->lock.lock(space), RobustLock::Taken::owner_died);
    cell->lock.unlock(space);
    EXPECT_EQ(cell->lock.lock(space), RobustLock::Taken::clean);
    cell->lock.unlock(space);
  }
}

TEST_F(RobustLockTest, AWaiterFindsTheDeathByItselfWhenNobodySaysSo) {
  Member owner = holder();
  owner.kill();
  EXPECT_EQ(cell->lock.lock(space), RobustLock::Taken::owner_died);
  cell->lock.unlock(space);
}

TEST_F(RobustLockTest, SleepingWaitersWakeWhenTheOwnerDies) {
  Member owner = holder();
  std::vector<Member> waiters;
  for (int i = 0; i < 3; ++i) {
    waiters.emplace_back([&] {
      Space& mine = Space::here();
      bool died = cell->lock.lock(mine) == RobustLock::Taken::owner_died;
      cell->lock.unlock(mine);
      return died ? 1 : 0;
    });
  }
  for (auto& waiter : waiters) {
    auto& waits = space.members().slot(waiter.id()).waits;
    EXPECT_TRUE(eventually([&] { return waits[0].load() != 0; }));
  }
  EXPECT_TRUE(owner.kill_and_bury());
  int told = 0;
  for (auto& waiter : waiters) told += waiter.wait().value_or(100);
  EXPECT_EQ(told, 1);
}

TEST_F(RobustLockTest, AKilledWaiterLeavesTheOthersTheirTurn) {
  (void)cell->lock.lock(space);
  std::vector<Member> waiters;
  for (int i = 0; i < 4; ++i) waiters.emplace_back([&] { add(Space::here(), *cell, 1); });
  for (auto& waiter : waiters) {
    auto& waits = space.members().slot(waiter.id()).waits;
    EXPECT_TRUE(eventually([&] { return waits[0].load() != 0; }));
  }
  EXPECT_TRUE(waiters[0].kill_and_bury());
  EXPECT_TRUE(waiters[2].kill_and_bury());
  cell->lock.unlock(space);
  EXPECT_EQ(waiters[1].wait(), 0);
  EXPECT_EQ(waiters[3].wait(), 0);
  EXPECT_EQ(cell->count, 2U);
}

TEST_F(RobustLockTest, ALockTakenOverAtTheTimeOfAnUnlockIsNotLost) {
  // Waiters come and are killed at any moment while two others go on.
  std::vector<Member> steady;
  for (int i = 0; i < 2; ++i) {
    steady.emplace_back([&] {
      while (cell->stage == 0) add(Space::here(), *cell, 100);
    });
  }
  for (int i = 0; i < (kSanitized ? 40 : 200); ++i) {
    auto before = std::atomic_ref(cell->count).load();
    Member victim([&] { add(Space::here(), *cell, 1'000'000'000); });
    EXPECT_TRUE(eventually([&] { return std::atomic_ref(cell->count).load() > before + 1000; }));
    victim.kill();
    ASSERT_TRUE(victim.bury());
    before = std::atomic_ref(cell->count).load();
    ASSERT_TRUE(eventually([&] { return std::atomic_ref(cell->count).load() > before; }));
  }
  cell->stage = 1;
  for (auto& member : steady) EXPECT_EQ(member.wait(), 0);
}

struct Table {
  Doorbell bell;
  Doorbell answered;
  std::atomic<std::uint64_t> ball;
  std::atomic<std::uint32_t> passed;
};

TEST_F(DoorbellTest, WaitsToItsDeadlineAndTriesOnceWhenThatIsPast) {
  Cell<Table> table;
  auto until = Clock::now() + 30ms;
  EXPECT_FALSE(table->bell.wait(space, until, [] { return false; }));
  EXPECT_GE(Clock::now(), until);
  until = Clock::now() + 250ms;  // longer than one bounded sleep
  EXPECT_FALSE(table->bell.wait(space, until, [] { return false; }));
  EXPECT_GE(Clock::now(), until);
  int tries = 0;
  EXPECT_FALSE(table->bell.wait(space, Clock::time_point{}, [&] { return ++tries > 100; }));
  EXPECT_EQ(tries, 1);
  EXPECT_TRUE(table->bell.wait(space, Clock::time_point{}, [] { return true; }));
}

// One side of a game that stands still at the first lost wake-up (until the bound on sleeps).
void play(Space& space, Table& table, std::uint64_t side, std::uint64_t rounds) {
  Doorbell& mine = side == 0 ? table.bell : table.answered;
  Doorbell& theirs = side == 0 ? table.answered : table.bell;
  for (std::uint64_t round = 0; round < rounds; ++round) {
    mine.wait(space, std::nullopt, [&] { return table.ball.load() == 2 * round + side; });
    table.ball.fetch_add(1);
    theirs.ring();
  }
}

TEST_F(DoorbellTest, LosesNoWakeUpBetweenProcesses) {
  Cell<Table> table;
  constexpr std::uint64_t kRounds = 100'000;
  Member other([&] { play(Space::here(), *table, 1, kRounds); });
  auto before = Clock::now();
  play(space, *table, 0, kRounds);
  EXPECT_EQ(other.wait(), 0);
  EXPECT_EQ(table->ball.load(), 2 * kRounds);
  // Each lost one would cost a bounded sleep.
  EXPECT_LE(Clock::now() - before, 100s);  // and other programs cost some, too
}

TEST_F(DoorbellTest, LosesNoWakeUpBetweenThreads) {
  Cell<Table> table;
  constexpr std::uint64_t kRounds = 20'000;
  std::thread other([&] { play(space, *table, 1, kRounds); });
  play(space, *table, 0, kRounds);
  other.join();
  EXPECT_EQ(table->ball.load(), 2 * kRounds);
}

TEST_F(DoorbellTest, WakesAsManySleepersAsAsked) {
  Cell<Table> table;
  std::vector<Member> sleepers;
  for (int i = 0; i < 8; ++i) {
    sleepers.emplace_back([&] {
      table->bell.wait(Space::here(), soon(), [&] {
        auto left = table->ball.load();
        while (left > 0 && !table->ball.compare_exchange_weak(left, left - 1)) {
        }
        return left > 0;
      });
      table->passed.fetch_add(1);
    });
  }
  for (auto& sleeper : sleepers) {
    auto& waits = space.members().slot(sleeper.id()).waits;
    EXPECT_TRUE(eventually([&] { return waits[0].load() != 0; }));
  }
  table->ball.store(8);
  table->bell.ring(8);
  for (auto& sleeper : sleepers) EXPECT_EQ(sleeper.wait(), 0);
  EXPECT_EQ(table->passed.load(), 8U);
}

TEST_F(DoorbellTest, AKilledSleeperCostsLaterRingsNothing) {
  Cell<Table> table;
  Member sleeper([&] { table->bell.wait(Space::here(), std::nullopt, [] { return false; }); });
  auto& waits = space.members().slot(sleeper.id()).waits;
  EXPECT_TRUE(eventually([&] { return waits[0].load() != 0; }));
  EXPECT_TRUE(sleeper.kill_and_bury());
  table->bell.ring();
  EXPECT_EQ(table->bell.sleeping.load(), 0U);
  auto rings = table->bell.rings.load();
  table->bell.ring();
  EXPECT_EQ(table->bell.rings.load(), rings);  // no system call any more
}

TEST_F(DoorbellTest, ARingerKilledHalfwayDelaysNobodyForLong) {
  Cell<Table> table;
  std::vector<Member> sleepers;
  for (int i = 0; i < 3; ++i)
    sleepers.emplace_back([&] {
      table->bell.wait(Space::here(), std::nullopt, [&] { return table->ball.load() == 1; });
    });
  for (auto& sleeper : sleepers) {
    auto& waits = space.members().slot(sleeper.id()).waits;
    EXPECT_TRUE(eventually([&] { return waits[0].load() != 0; }));
  }
  Member ringer([&] {
    test::die_at("doorbell.flag_cleared");
    table->ball.store(1);
    table->bell.ring(3);
  });
  EXPECT_EQ(ringer.wait(), -SIGKILL);
  EXPECT_TRUE(ringer.bury());
  for (auto& sleeper : sleepers) EXPECT_EQ(sleeper.wait(Clock::now() + 5s), 0);
}

}  // namespace
