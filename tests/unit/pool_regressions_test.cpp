// Faults of pools and executors that were found once, each with the program that showed it.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cohort/pool.hpp>
#include <cohort/process_executor.hpp>
#include <numeric>
#include <thread>
#include <vector>

#include "pool_fixture.hpp"

namespace {

using namespace pool_tests;
using cohort::Pool;

class PoolRegressions : public PoolTest {};
INSTANTIATE_TEST_SUITE_P(Every, PoolRegressions, kEveryMethod, method_name);

enum class Reading { well, dies, hangs };

// A callable that ends its worker, or holds it up, as it is read there.
struct Callable {
  Reading how = Reading::well;
  template <class Archive>
  void save(Archive& archive) const {
    archive(how);
  }
  template <class Archive>
  void load(Archive& archive) {
    archive(how);
    if (how == Reading::dies) ::raise(SIGKILL);
    if (how == Reading::hangs) std::this_thread::sleep_for(100s);
  }
  int operator()(int x) const { return x + 1; }
};

int square(int x) { return x * x; }
int minus_one(int) { return -1; }

TEST_P(PoolRegressions, ACallableThatKillsWhoeverReadsItFailsItsCall) {
  Pool pool(options(2));
  EXPECT_THROW(pool.map(Callable{Reading::dies}, {1, 2, 3}), cohort::WorkerDied);
  EXPECT_THROW(pool.map_async(Callable{Reading::dies}, {1, 2, 3}).get(20s), cohort::WorkerDied);
  EXPECT_EQ(pool.map(Callable{}, {1, 2, 3}), (std::vector{2, 3, 4}));
}

TEST_P(PoolRegressions, ACallableThatIsReadTooLongFailsItsCall) {
  Pool pool(options(2));
  cohort::MapOptions brief{.timeout = 100ms};
  EXPECT_THROW(pool.map(brief, Callable{Reading::hangs}, std::vector{1, 2, 3}),
               cohort::TimeoutError);
  EXPECT_EQ(pool.map(Callable{}, {1, 2, 3}), (std::vector{2, 3, 4}));
}

TEST_P(PoolRegressions, AForkedHostsCopyOfAResultIsNotItsToGiveBack) {
  Pool pool(options(2));
  std::vector<int> items(5000);
  std::iota(items.begin(), items.end(), 0);
  auto squares = pool.map_async(square, items);
  squares.wait();
  pid_t child = ::fork();
  if (child == 0) {
    squares = {};
    ::_exit(0);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  pool.map_async(minus_one, items).wait();
  auto got = squares.get();
  for (int i = 0; i < 5000; ++i) ASSERT_EQ(got[static_cast<std::size_t>(i)], i * i);
}

TEST_P(PoolRegressions, AContinuationOfAFutureThatNobodyKeepsRuns) {
  cohort::futures::ProcessPoolExecutor executor({.max_workers = 1, .start_method = GetParam()});
  for (int i = 0; i < 50; ++i) {
    auto next = executor.submit(square, i).then([](auto first) { return first.get() + 1; });
    ASSERT_EQ(next.get(20s), i * i + 1);
  }
}

TEST_P(PoolRegressions, ItemsOfCallsThatReturnNothingAreTrue) {
  Pool pool(options(1));
  int count = 0;
  for (bool done : pool.imap(+[](int) {}, {1, 2, 3})) {
    EXPECT_TRUE(done);
    ++count;
  }
  EXPECT_EQ(count, 3);
}

void map_for_long(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

// The end of a program terminates the pool of a thread that maps, which then drops it.
void end_beside_a_pool() {
  std::atomic<bool> begun{false};
  std::thread([&] {
    Pool pool(2);
    begun = true;
    try {
      pool.map(map_for_long, std::vector<int>(100, 20));
    } catch (const cohort::Error&) {
      // Cancelled, or refused as the pool is closed.
    }
  }).detach();
  while (!begun) std::this_thread::sleep_for(1ms);
}

TEST_P(PoolRegressions, AProgramMayEndWhileAThreadOfItsUsesAPool) {
  for (int i = 0; i < 8; ++i) {
    cohort::Process program({.start_method = GetParam()}, end_beside_a_pool);
    program.start();
    ASSERT_TRUE(program.join_for(30s));
    EXPECT_EQ(program.exitcode(), 0);
  }
}

}  // namespace
