// With COHORT_LOCK_CHECK=1 a wait for a lock that closes a circle throws, and says who is in it.
#include <cstdlib>
#include <mutex>
#include <random>

#include "sync_fixture.hpp"

namespace {

using namespace test;
using cohort::BasicLock;
using cohort::DeadlockError;
using cohort::Lock;
using cohort::RLock;

constexpr const char* kVariable = "COHORT_LOCK_CHECK";
// It is read at the first wait for a lock of each process.
[[maybe_unused]] const int set_for_all = ::setenv(kVariable, "1", 1);

using DeadlockTest = SyncTest;

struct Report {
  int from = 0;  // pid
  std::string text;
};

// A table of philosophers: each takes the fork to its left, then that to its right.
struct Table {
  std::vector<BasicLock> forks;
  Cells cells;  // how many hold one; how many have eaten
  Channel reports;

  static Table of(const std::vector<BasicLock>& forks) {
    return {forks, Cells(2), Channel::make()};
  }
  void dine(std::size_t seat) const {
    const BasicLock& left = forks[seat];
    const BasicLock& right = forks[(seat + 1) % forks.size()];
    std::unique_lock first(left);
    cells[0].fetch_add(1);
    if (!eventually([&] { return cells[0] >= forks.size(); })) ::_exit(3);
    try {
      std::unique_lock second(right);
      cells[1].fetch_add(1);
    } catch (const DeadlockError& error) {
      if (right.owned() || !left.owned()) ::_exit(4);
      reports.send(Report{::getpid(), error.what()});
    }
  }
  // Some were told, and gave way to all the others.
  std::vector<Report> reported() const {
    std::vector<Report> all;
    while (!reports.empty()) all.push_back(reports.receive<Report>());
    EXPECT_GE(all.size(), 1U);
    EXPECT_EQ(all.size() + cells[1].load(), forks.size());
    for (const BasicLock& fork : forks) EXPECT_FALSE(fork.locked());
    return all;
  }
};

std::vector<BasicLock> named_locks(std::size_t count) {
  std::vector<BasicLock> locks;
  for (std::size_t i = 0; i < count; ++i) {
    const std::string name = "fork " + std::to_string(i);
    if (i % 2 == 0) {
      locks.push_back(Lock({.name = name}));
    } else {
      locks.push_back(RLock({.name = name}));
    }
  }
  return locks;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class Circle : public EachMethodSync {
 protected:
  static void runs(std::size_t size) {
    const Table table = Table::of(named_locks(size));
    std::vector<Process> processes;
    std::vector<std::string> lines;
    for (std::size_t i = 0; i < size; ++i) {
      auto options = with({.name = "philosopher-" + std::to_string(i)});
      processes.emplace_back(options, &Table::dine, table, i);
      processes.back().start();
      auto label = [&](std::size_t at) {
        return std::string(at % 2 ? "RLock" : "Lock") + " 'fork " + std::to_string(at) + "'";
      };
      lines.push_back("process philosopher-" + std::to_string(i) + " (pid " +
                      std::to_string(processes.back().pid()) + ", thread " +
                      std::to_string(processes.back().pid()) + ") holds the " + label(i) +
                      " and waits for the " + label((i + 1) % size));
    }
    for (auto& process : processes) {
      process.join();
      EXPECT_EQ(process.exitcode(), 0);
    }
    for (const Report& report : table.reported()) {
      EXPECT_TRUE(contains(report.text, std::to_string(size) + " wait for each other"));
      for (const auto& line : lines) EXPECT_TRUE(contains(report.text, line)) << report.text;
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Methods, Circle, every_method(), method_name);

TEST_P(Circle, OfTwoProcessesIsReportedWithNamesPidsAndLocksAndOneGoesOn) { runs(2); }

TEST_P(Circle, OfFiveProcessesIsReportedWithNamesPidsAndLocksAndTheOthersGoOn) { runs(5); }

TEST_F(DeadlockTest, ACircleOfThreadsOfOneProcessIsReported) {
  for (std::size_t size : {std::size_t{2}, std::size_t{4}}) {
    const Table table = Table::of(named_locks(size));
    Threads threads(static_cast<int>(size),
                    [&](int seat) { table.dine(static_cast<std::size_t>(seat)); });
    threads.join();
    for (const Report& report : table.reported()) {
      EXPECT_TRUE(contains(report.text, "MainProcess (pid " + std::to_string(::getpid())));
    }
  }
}

TEST_F(DeadlockTest, ACircleThroughThreadsOfSeveralProcessesIsReported) {
  for (int round = 0; round < 20; ++round) {
    const Table table = Table::of(named_locks(6));
    Children children;
    for (std::size_t i = 0; i < 2; ++i) {
      children.fork([&, i] {
        std::thread other([&] { table.dine(2 * i); });
        table.dine(2 * i + 1);
        other.join();
      });
    }
    std::thread other([&] { table.dine(4); });
    table.dine(5);
    other.join();
    children.join();
    table.reported();
  }
}

TEST_F(DeadlockTest, RecursionIsNoCircle) {
  RLock lock;
  std::scoped_lock once(lock);
  std::scoped_lock again(lock);
  Children children;
  children.fork([&] { std::scoped_lock guard(lock); });
  EXPECT_TRUE(children.all_asleep());
  lock.unlock();
  lock.unlock();
  children.join();
  lock.lock();
  lock.lock();
}

TEST_F(DeadlockTest, ACircleOfRecoveriesIsReportedAsWell) {
  Lock a, b;
  Cells cells(2);
  const auto body = [&](const Lock& first, const Lock& second) {
    std::scoped_lock guard(first);
    cells[0].fetch_add(1);
    require(eventually([&] { return cells[0] == 2; }), "both hold one");
    try {
      second.recover();
      second.unlock();
    } catch (const DeadlockError&) {
      cells[1].fetch_add(1);
    }
  };
  Children children;
  children.fork([&] { body(a, b); });
  children.fork([&] { body(b, a); });
  children.join();
  EXPECT_GE(cells[1], 1U);
}

TEST_F(DeadlockTest, AWaitWithALimitEndsByItselfAndIsInNoReport) {
  Lock a, b;
  Cells held(1);
  Children children;
  children.fork([&] {
    std::scoped_lock guard(a);
    held[0].fetch_add(1);
    require(eventually([&] { return held[0] == 2; }), "both hold one");
    require(!b.try_lock_for(300ms), "it is held");
  });
  children.fork([&] {
    std::scoped_lock guard(b);
    held[0].fetch_add(1);
    require(eventually([&] { return held[0] == 2; }), "both hold one");
    std::scoped_lock second(a);
  });
  children.join();
}

TEST_F(DeadlockTest, AWaitOutsideOfACircleIsNotToldOfIt) {
  // One waits for a lock of a circle that is not its own.
  Lock a, b;
  Cells cells(3);  // who holds; reports; whether to go on
  Children children;
  const auto body = [&](const Lock& first, const Lock& second) {
    std::scoped_lock guard(first);
    cells[0].fetch_add(1);
    require(eventually([&] { return cells[0] == 2; }), "both hold one");
    try {
      if (cells[2] == 0) require(eventually([&] { return cells[2] == 1; }), "all are there");
      std::scoped_lock inner(second);
    } catch (const DeadlockError&) {
      cells[1].fetch_add(1);
    }
  };
  children.fork([&] { body(a, b); });
  children.fork([&] { body(b, a); });
  ASSERT_TRUE(eventually([&] { return cells[0] == 2; }));
  Process& third = children.fork([&] { std::scoped_lock guard(a); });
  EXPECT_TRUE(fall_asleep(third));
  cells[2] = 1;
  children.join();  // the third without an exception
  EXPECT_GE(cells[1], 1U);
}

// Takes locks in their order, and tries others with a limit.
void use_in_order(const std::vector<BasicLock>& locks, std::uint32_t seed, Deadline until) {
  std::mt19937 random(seed);
  while (Clock::now() < *until) {
    std::vector<std::unique_lock<const BasicLock>> held;
    for (const BasicLock& lock : locks) {
      if (random() % 3 == 0) held.emplace_back(lock);
    }
    const BasicLock& any = locks[random() % locks.size()];
    if (!any.owned() && any.try_lock_for(std::chrono::microseconds(random() % 500))) any.unlock();
    std::shuffle(held.begin(), held.end(), random);
    while (!held.empty()) held.pop_back();
  }
}

TEST_F(DeadlockTest, AnOrderedUseOfManyLocksIsNeverReported) {
  const std::vector<BasicLock> locks = named_locks(8);
  const auto until = Clock::now() + 2s;
  Children children;
  for (std::uint32_t i = 0; i < 6; ++i) {
    children.fork([&, i] {
      Threads threads(
          2, [&](int n) { use_in_order(locks, 10 * i + static_cast<std::uint32_t>(n), until); });
    });
  }
  use_in_order(locks, 1000, until);
  children.join();  // an exception would have ended its process
}

// In a spawned process, which reads the variable anew.
void two_threads_in_a_circle(const Table& table, const std::string& value) {
  ::setenv(kVariable, value.c_str(), 1);
  std::thread other([&] { table.dine(0); });
  table.dine(1);
  other.join();
}

TEST_F(DeadlockTest, TheCheckIsOffWhereTheVariableIsEmptyOrZero) {
  for (const char* value : {"", "0"}) {
    const Table table = Table::of(named_locks(2));
    Process process({.start_method = StartMethod::spawn}, two_threads_in_a_circle, table,
                    std::string(value));
    process.start();
    EXPECT_TRUE(fall_asleep(process, 2)) << value;
    EXPECT_TRUE(table.reports.empty());
    EXPECT_EQ(table.cells[1], 0U);
    process.kill();
    process.join();
    for (const BasicLock& lock : table.forks) EXPECT_THROW(lock.lock(), cohort::LockOwnerDied);
  }
}

}  // namespace
