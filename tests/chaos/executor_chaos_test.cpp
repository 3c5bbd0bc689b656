// The executor of processes while its workers are killed: each future ends once, in its own way.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cohort/process_executor.hpp>
#include <cohort/value.hpp>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "chaos.hpp"
#include "effort.hpp"
#include "pool_fixture.hpp"
#include "worker_storm.hpp"

namespace {

using namespace pool_tests;
using cohort::futures::Future;
using cohort::futures::ProcessPoolExecutor;
using test::WorkerStorm;

int work(int x) {
  volatile int spin = x % 2000;
  while (spin > 0) spin = spin - 1;
  return 3 * x + 1;
}
std::string text_work(int x) { return std::to_string(work(x)) + std::string(x % 300, '-'); }
cohort::Value<int> handle_work(int x) { return cohort::Value<int>(work(x)); }
std::vector<int> large_work(int x) { return std::vector<int>(20'000, work(x)); }

std::vector<int> inputs(int count) {
  std::vector<int> numbers(static_cast<std::size_t>(count));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

bool enough(const WorkerStorm& storm) {
  const auto wanted = test::with_effort(std::chrono::nanoseconds(80)).count();
  return storm.kills() >= wanted || testing::Test::HasFailure();
}

// Ways to end that the threads of a test count.
struct Tally {
  std::atomic<std::size_t> right{0};
  std::atomic<std::size_t> died{0};
  std::atomic<std::size_t> cancelled{0};

  std::size_t all() const { return right + died + cancelled; }
  template <class Get>
  void count(Get&& get) {
    try {
      if (get()) {
        ++right;
      } else {
        ADD_FAILURE() << "a wrong result";
      }
    } catch (const cohort::WorkerDied& death) {
      EXPECT_EQ(death.signal(), SIGKILL);
      ++died;
    } catch (const cohort::CancelledError&) {
      ++cancelled;
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
    }
  }
};

class ExecutorChaos : public PoolTest {
 protected:
  ProcessPoolExecutor make(int workers, unsigned retries) const {
    return ProcessPoolExecutor(
        {.max_workers = workers, .retries = retries, .start_method = GetParam()});
  }
};
INSTANTIATE_TEST_SUITE_P(Every, ExecutorChaos, kEveryMethod, method_name);

TEST_P(ExecutorChaos, EveryFutureEndsOnceAndCallsBackOnce) {
  for (unsigned retries : {0U, 1000U}) {
    auto executor = make(3, retries);
    WorkerStorm storm(executor);
    Tally tally;
    std::size_t made = 0;
    do {
      constexpr std::size_t kCalls = 2000;
      std::vector<std::atomic<std::uint8_t>> called(kCalls);
      {
        std::vector<Future<std::string>> futures;
        for (std::size_t i = 0; i < kCalls; ++i) {
          futures.push_back(executor.submit(text_work, static_cast<int>(i)));
          futures.back().add_done_callback(
              [&called, i](const auto& ended) { called[i] += ended.done() ? 1 : 0; });
        }
        for (std::size_t i = 0; i < kCalls; ++i)
          tally.count([&] { return futures[i].get() == text_work(static_cast<int>(i)); });
        made += kCalls;
      }
      auto with = [&](int times) {
        return std::ranges::count_if(called, [&](const auto& count) { return count == times; });
      };
      EXPECT_TRUE(eventually([&] { return with(0) == 0; })) << with(0) << " were not called back";
      EXPECT_EQ(with(1), std::ssize(called)) << "some were called back twice";
    } while (!enough(storm));
    storm.stop();
    EXPECT_EQ(tally.right + tally.died, made);
    EXPECT_LE(tally.died, retries == 0 ? static_cast<std::size_t>(storm.kills()) : 0);
  }
}

TEST_P(ExecutorChaos, EveryItemOfAMapComesInItsPlace) {
  auto executor = make(3, 1000);
  WorkerStorm storm(executor);
  const auto numbers = inputs(1000);
  do {
    for (long long chunksize : {1, 20}) {
      auto at = numbers.begin();
      for (auto&& result :
           executor.map({.chunksize = chunksize, .buffersize = 50}, text_work, numbers)) {
        ASSERT_EQ(result, text_work(*at++));
      }
      EXPECT_EQ(at, numbers.end());
    }
  } while (!enough(storm));
  storm.stop();
}

TEST_P(ExecutorChaos, ThreadsThatSubmitCancelAndWaitGetOneOutcomeForEachCall) {
  auto executor = make(3, 0);
  WorkerStorm storm(executor);
  Tally tally;
  std::atomic<std::size_t> made{0};
  std::atomic<std::size_t> taken_back{0};
  std::vector<std::jthread> threads;
  for (unsigned t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      do {
        std::vector<Future<std::string>> texts;
        std::vector<Future<cohort::Value<int>>> handles;
        for (int i = 0; i < 100; ++i) {
          texts.push_back(executor.submit(text_work, i));
          handles.push_back(executor.submit(handle_work, i));
          if (random() % 4 == 0) taken_back += texts[random() % texts.size()].cancel() ? 1 : 0;
        }
        auto large = executor.submit(large_work, 7);
        for (int i = 0; i < 100; ++i) {
          const auto place = static_cast<std::size_t>(i);
          tally.count([&] { return texts[place].get() == text_work(i); });
          tally.count([&] { return handles[place].get().get() == work(i); });
        }
        tally.count([&] { return large.get() == large_work(7); });
        made += 201;
      } while (!enough(storm));
    });
  }
  threads.clear();
  storm.stop();
  EXPECT_EQ(tally.all(), made);
  // cancel() of one that is cancelled answers true again.
  EXPECT_LE(tally.cancelled, taken_back);
  EXPECT_LE(tally.died, static_cast<std::size_t>(storm.kills()));
}

TEST_P(ExecutorChaos, ShutdownInTheMiddleOfAStormGivesEveryFutureAnEnd) {
  std::mt19937 random(std::random_device{}());
  const auto rounds = test::with_effort(std::chrono::nanoseconds(8)).count();
  for (long round = 0; round < rounds; ++round) {
    auto executor = make(3, round % 2 ? 1000 : 0);
    std::vector<Future<int>> futures;
    WorkerStorm storm(executor, 1ms);
    for (int i = 0; i < 1000; ++i) futures.push_back(executor.submit(work, i));
    test::random_pause(random, 3ms);
    executor.shutdown({.wait = round % 4 < 2, .cancel_futures = round % 8 < 4});
    Tally tally;
    for (int i = 0; i < 1000; ++i)
      tally.count([&] { return futures[static_cast<std::size_t>(i)].get() == work(i); });
    storm.stop();
    EXPECT_EQ(tally.all(), 1000U);
  }
}

TEST_P(ExecutorChaos, WorkersKilledByRequestEndEveryFutureWithBrokenPool) {
  std::mt19937 random(std::random_device{}());
  const auto rounds = test::with_effort(std::chrono::nanoseconds(8)).count();
  for (long round = 0; round < rounds; ++round) {
    auto executor = make(3, 0);
    std::vector<Future<int>> futures;
    for (int i = 0; i < 1000; ++i) futures.push_back(executor.submit(work, i));
    test::random_pause(random, 3ms);
    executor.kill_workers();
    std::size_t ended = 0;
    for (int i = 0; i < 1000; ++i) {
      try {
        ended += futures[static_cast<std::size_t>(i)].get() == work(i) ? 1 : 0;
      } catch (const cohort::BrokenPool&) {
        ++ended;
      }
    }
    EXPECT_EQ(ended, 1000U);
  }
}

}  // namespace
