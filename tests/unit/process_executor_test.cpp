#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cohort/futures.hpp>
#include <cohort/process_executor.hpp>
#include <cohort/shared.hpp>
#include <cohort/sync.hpp>
#include <cstddef>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <ranges>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "pool_fixture.hpp"

namespace {

using namespace pool_tests;
using cohort::Event;
using cohort::futures::Future;
using cohort::futures::ProcessPoolExecutor;
using cohort::futures::ProcessPoolOptions;

int square(int x) { return x * x; }
int held(const Event& entered, const Event& gate, int x) {
  entered.set();
  gate.wait();
  return x;
}

class ProcessExecutorUnit : public PoolTest {
 protected:
  ProcessPoolOptions options(int workers) const {
    ProcessPoolOptions made;
    made.max_workers = workers;
    made.start_method = GetParam();
    return made;
  }
};
INSTANTIATE_TEST_SUITE_P(Every, ProcessExecutorUnit, kEveryMethod, method_name);

TEST_P(ProcessExecutorUnit, NonsenseIsRefused) {
  auto refused = [&](auto&& change) {
    auto one = options(1);
    change(one);
    EXPECT_THROW((ProcessPoolExecutor(one)), std::invalid_argument);
  };
  refused([](ProcessPoolOptions& o) { o.max_workers = 0; });
  refused([](ProcessPoolOptions& o) { o.max_workers = -1; });
  refused([](ProcessPoolOptions& o) { o.max_workers = 1LL << 40; });
  refused([](ProcessPoolOptions& o) { o.max_tasks_per_child = 0; });
  refused([](ProcessPoolOptions& o) { o.task_timeout = -1s; });
  refused([](ProcessPoolOptions& o) { o.soft_timeout = -1s; });
  refused([](ProcessPoolOptions& o) { o.limits.memory = 0; });
  EXPECT_THROW(ProcessPoolExecutor(0), std::invalid_argument);
}

TEST_P(ProcessExecutorUnit, NothingIsStartedBeforeTheFirstCall) {
  ProcessPoolExecutor executor(options(4));
  EXPECT_TRUE(cohort::active_children().empty());
  for (const auto& one : executor.stats()) EXPECT_EQ(one.pid, 0);
  EXPECT_EQ(executor.stats().size(), 4U);
}

TEST_P(ProcessExecutorUnit, ARunningCallIsNotCancelledButAWaitingOneIs) {
  ProcessPoolExecutor executor(options(1));
  Event entered;
  Event gate;
  auto running = executor.submit(held, entered, gate, 1);
  ASSERT_TRUE(entered.wait_for(20s));
  auto waiting = executor.submit(square, 2);
  EXPECT_TRUE(running.running());
  EXPECT_FALSE(waiting.running());
  EXPECT_FALSE(running.cancel());
  std::atomic<int> told{0};
  waiting.add_done_callback([&](const Future<int>& future) { told += future.cancelled() ? 1 : 7; });
  EXPECT_TRUE(waiting.cancel());
  EXPECT_TRUE(eventually([&] { return told != 0; }));
  EXPECT_EQ(told, 1);
  EXPECT_TRUE(waiting.cancel());
  EXPECT_THROW(waiting.get(), cohort::CancelledError);
  EXPECT_THROW((void)waiting.exception(), cohort::CancelledError);
  gate.set();
  EXPECT_EQ(running.get(), 1);
  EXPECT_FALSE(running.running());
  EXPECT_FALSE(running.cancel());
}

TEST_P(ProcessExecutorUnit, AShutdownCancelsWhatHasNotBegunIfAsked) {
  ProcessPoolExecutor executor(options(1));
  Event entered;
  Event gate;
  auto running = executor.submit(held, entered, gate, 1);
  ASSERT_TRUE(entered.wait_for(20s));
  std::vector<Future<int>> waiting;
  for (int i = 0; i < 20; ++i) waiting.push_back(executor.submit(square, i));
  executor.shutdown({.wait = false, .cancel_futures = true});
  for (const auto& future : waiting) EXPECT_TRUE(future.cancelled());
  EXPECT_FALSE(running.done());
  gate.set();
  executor.shutdown();
  EXPECT_EQ(running.get(), 1);
}

TEST_P(ProcessExecutorUnit, DoneCallbacksRunThoughNobodyWaits) {
  std::atomic<int> sum{0};
  {
    ProcessPoolExecutor executor(options(2));
    for (int i = 0; i < 100; ++i) {
      executor.submit(square, i).add_done_callback(
          [&](const Future<int>& future) { sum += future.get(); });
    }
    EXPECT_TRUE(eventually([&] { return sum == 99 * 100 * 199 / 6; }));
    executor.submit(square, 2).add_done_callback([&] { ++sum; });
  }
  EXPECT_EQ(sum, 99 * 100 * 199 / 6 + 1);
}

TEST_P(ProcessExecutorUnit, AFutureCanBeCarriedOnInTheExecutor) {
  ProcessPoolExecutor executor(options(2));
  auto next =
      executor.submit(square, 3).then([](const Future<int>& future) { return future.get() + 1; });
  EXPECT_EQ(next.get(), 10);
}

TEST_P(ProcessExecutorUnit, FuturesCanBeWaitedForTogether) {
  using namespace cohort::futures;
  ProcessPoolExecutor executor(options(2));
  Event entered;
  Event gate;
  std::vector<Future<int>> futures{executor.submit(held, entered, gate, 1),
                                   executor.submit(square, 2)};
  auto first = wait(futures, {.timeout = 20s, .return_when = FIRST_COMPLETED});
  ASSERT_EQ(first.done.size(), 1U);
  EXPECT_EQ(first.done[0].get(), 4);
  EXPECT_EQ(wait(futures, {.timeout = 0s}).not_done.size(), 1U);
  gate.set();
  std::multiset<int> seen;
  for (auto&& future : as_completed(futures)) seen.insert(future.get());
  EXPECT_EQ(seen, (std::multiset{1, 4}));
}

TEST_P(ProcessExecutorUnit, ADeadWorkerFailsItsCallAloneAndIsReplaced) {
  ProcessPoolExecutor executor(options(2));
  std::vector<Future<int>> futures;
  auto visit = [](int x) {
    if (x % 10 == 5) ::raise(SIGKILL);
    return x;
  };
  for (int i = 0; i < 40; ++i) futures.push_back(executor.submit(visit, i));
  for (int i = 0; i < 40; ++i) {
    const auto& future = futures[static_cast<std::size_t>(i)];
    if (i % 10 == 5) {
      EXPECT_THROW(future.get(), cohort::WorkerDied);
    } else {
      EXPECT_EQ(future.get(), i);
    }
  }
}

TEST_P(ProcessExecutorUnit, RetriesAndTimeLimitsAreThoseOfThePool) {
  auto one = options(1);
  one.retries = 2;
  one.task_timeout = 1000s;
  ProcessPoolExecutor executor(one);
  cohort::Value<int> deaths(2);
  auto visit = [](const cohort::Value<int>& left, int x) {
    if (left.fetch_sub(1) > 0) ::raise(SIGKILL);
    return x;
  };
  EXPECT_EQ(executor.submit(visit, deaths, 7).get(), 7);
  EXPECT_TRUE(executor.submit([] { return cohort::deadline().has_value(); }).get());
  auto hasty = options(1);
  hasty.task_timeout = 30ms;
  ProcessPoolExecutor other(hasty);
  EXPECT_THROW(other.submit([] { ::pause(); }).get(), cohort::TimeoutError);
  EXPECT_EQ(other.submit(square, 3).get(), 9);
}

TEST_P(ProcessExecutorUnit, ChunksOfAMapFailItemByItem) {
  ProcessPoolExecutor executor(options(2));
  auto visit = [](int x) {
    if (x == 3) throw std::domain_error("three");
    if (x == 8) ::raise(SIGKILL);
    return x;
  };
  auto results = executor.map({.chunksize = 5}, visit, std::views::iota(0, 12));
  for (int x = 0; x < 12; ++x) {
    if (x == 3) {
      EXPECT_THROW(results.next(), std::domain_error);
    } else if (x == 8) {
      EXPECT_THROW(results.next(), cohort::WorkerDied);
    } else {
      EXPECT_EQ(results.next(), x);
    }
  }
  EXPECT_EQ(results.next(), std::nullopt);
}

TEST_P(ProcessExecutorUnit, AMovedExecutorWorksAndAnEmptyOneSaysSo) {
  ProcessPoolExecutor executor(options(1));
  ProcessPoolExecutor other = std::move(executor);
  EXPECT_EQ(other.submit(square, 2).get(), 4);
  EXPECT_THROW(executor.submit(square, 2), cohort::InvalidStateError);
  other = ProcessPoolExecutor(options(2));
  EXPECT_EQ(other.submit(square, 3).get(), 9);
}

TEST_P(ProcessExecutorUnit, TheCopyInAForkedChildIsInert) {
  auto executor = std::make_unique<ProcessPoolExecutor>(options(1));
  pid_t worker = executor->submit(::getpid).get();
  auto use = [&] {
    bool refused = false;
    try {
      executor->submit(square, 1);
    } catch (const cohort::InvalidStateError&) {
      refused = true;
    }
    executor.reset();
    return refused ? 0 : 1;
  };
  pid_t child = ::fork();  // the host's own
  if (child == 0) ::_exit(use());
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  auto forked = cohort::Process::forked([&] { std::exit(use()); });
  forked.start();
  forked.join();
  EXPECT_EQ(forked.exitcode(), 0);
  EXPECT_EQ(executor->submit(::getpid).get(), worker);
}

TEST_P(ProcessExecutorUnit, ATaskMayUseAnExecutorOfItsOwn) {
  ProcessPoolExecutor executor(options(2));
  auto inner = [](int n) {
    ProcessPoolExecutor nested(2);
    int sum = 0;
    auto results = nested.map(square, std::views::iota(0, n));
    while (auto x = results.next()) sum += *x;
    return sum;
  };
  EXPECT_EQ(executor.submit(inner, 4).get(), 14);
}

TEST_P(ProcessExecutorUnit, SeveralThreadsSubmitWhileAnotherShutsDown) {
  for (int round = 0; round < 5; ++round) {
    ProcessPoolExecutor executor(options(2));
    std::atomic<int> taken{0};
    std::vector<Future<int>> futures;
    std::mutex mutex;
    std::vector<std::jthread> threads;
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&] {
        try {
          for (int i = 0; i < 10'000; ++i) {
            auto future = executor.submit(square, 3);
            ++taken;
            std::lock_guard guard(mutex);
            futures.push_back(std::move(future));
          }
        } catch (const cohort::InvalidStateError&) {
        }
      });
    }
    EXPECT_TRUE(eventually([&] { return taken > 20; }));
    executor.shutdown();
    threads.clear();
    for (const auto& future : futures) ASSERT_EQ(future.get(), 9);
  }
}

}  // namespace
