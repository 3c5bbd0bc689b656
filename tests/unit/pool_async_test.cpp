#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cohort/pool.hpp>
#include <cohort/shared.hpp>
#include <cohort/sync.hpp>
#include <cstddef>
#include <exception>
#include <numeric>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "pool_fixture.hpp"

namespace {

using namespace pool_tests;
using cohort::AsyncResult;
using cohort::Event;
using cohort::Pool;

int square(int x) { return x * x; }
void hang() {
  for (;;) ::pause();
}
// Says that it runs, and waits to be let go.
int held(const Event& entered, const Event& gate, int x) {
  entered.set();
  gate.wait();
  return x;
}
void fail() { throw std::domain_error("as asked"); }
std::optional<std::chrono::nanoseconds> left() {
  auto deadline = cohort::deadline();
  if (!deadline) return std::nullopt;
  return *deadline - std::chrono::steady_clock::now();
}
// Kills its worker as long as there are deaths left to die.
int die_some_times(const cohort::Value<int>& deaths, int x) {
  if (deaths.fetch_sub(1) > 0) ::raise(SIGKILL);
  return x;
}

template <class E>
bool is(const std::exception_ptr& error) {
  try {
    if (error) std::rethrow_exception(error);
  } catch (const E&) {
    return true;
  } catch (...) {
  }
  return false;
}

class PoolAsync : public PoolTest {};
INSTANTIATE_TEST_SUITE_P(Every, PoolAsync, kEveryMethod, method_name);

// ---- callbacks

TEST_P(PoolAsync, CallbacksRunOneAtATimeOnAnotherThread) {
  Pool pool(options(4));
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
  std::vector<int> seen;
  std::set<std::thread::id> threads;
  std::vector<AsyncResult<int>> results;
  for (int i = 0; i < 200; ++i) {
    results.push_back(pool.apply_async({.callback =
                                            [&](const int& x) {
                                              most = std::max(most.load(), ++inside);
                                              threads.insert(std::this_thread::get_id());
                                              seen.push_back(x);
                                              std::this_thread::yield();
                                              --inside;
                                            }},
                                       square, i));
  }
  for (const auto& result : results) result.wait();
  EXPECT_EQ(most, 1);
  EXPECT_EQ(seen.size(), 200U);
  EXPECT_FALSE(threads.contains(std::this_thread::get_id()));
}

TEST_P(PoolAsync, TheCallbackHasRunWhenTheResultIsThere) {
  Pool pool(options(2));
  for (int i = 0; i < 50; ++i) {
    bool told = false;
    auto result =
        pool.apply_async({.callback = [&](const int& x) { told = x == i * i; }}, square, i);
    switch (i % 3) {
      case 0:
        result.wait();
        break;
      case 1:
        EXPECT_EQ(result.get(), i * i);
        break;
      default:
        EXPECT_TRUE(eventually([&] { return result.ready(); }));
    }
    ASSERT_TRUE(told);
  }
}

TEST_P(PoolAsync, OnlyTheCallbackThatFitsIsCalled) {
  Pool pool(options(1));
  int results = 0;
  std::exception_ptr error;
  auto good = pool.apply_async(
      {.callback = [&] { ++results; }, .error_callback = [&](std::exception_ptr e) { error = e; }},
      +[] {});
  good.wait();
  EXPECT_EQ(results, 1);
  EXPECT_FALSE(error);
  auto bad = pool.apply_async(
      {.callback = [&] { ++results; }, .error_callback = [&](std::exception_ptr e) { error = e; }},
      fail);
  bad.wait();
  EXPECT_EQ(results, 1);
  EXPECT_TRUE(is<std::domain_error>(error));
  EXPECT_THROW(bad.get(), std::domain_error);
}

TEST_P(PoolAsync, WhatACallbackThrowsIsReportedAndTheCallIsDone) {
  Pool pool(options(1));
  testing::internal::CaptureStderr();
  auto result = pool.apply_async(
      {.callback = [](const int&) { throw std::runtime_error("thrown by a callback"); }}, square,
      3);
  EXPECT_EQ(result.get(), 9);
  auto failed = pool.apply_async(
      {.error_callback = [](std::exception_ptr) { throw std::runtime_error("and by another"); }},
      fail);
  EXPECT_THROW(failed.get(), std::domain_error);
  std::string text = testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("thrown by a callback"), std::string::npos) << text;
  EXPECT_NE(text.find("and by another"), std::string::npos) << text;
  int later = 0;
  pool.apply_async({.callback = [&](const int& x) { later = x; }}, square, 4).wait();
  EXPECT_EQ(later, 16);
}

TEST_P(PoolAsync, ACallbackMaySubmitAndWait) {
  Pool pool(options(1));
  int sum = 0;
  auto result = pool.apply_async({.callback =
                                      [&](const int& x) {
                                        sum += pool.apply(square, x);
                                        sum += pool.apply_async(square, x).get();
                                        for (int y : pool.map(square, {1, 2})) sum += y;
                                      }},
                                 square, 2);
  result.wait();
  EXPECT_EQ(sum, 16 + 16 + 1 + 4);
}

TEST_P(PoolAsync, ACallbackMaySubmitTheNextCall) {
  Pool pool(options(1));
  std::atomic<int> rounds{0};
  std::function<void(const int&)> next = [&](const int& x) {
    if (++rounds < 20) pool.apply_async({.callback = next}, square, x % 100);
  };
  pool.apply_async({.callback = next}, square, 2);
  EXPECT_TRUE(eventually([&] { return rounds == 20; }));
  pool.close();
  pool.join();
}

TEST_P(PoolAsync, AJoinWaitsForTheCallbacks) {
  Pool pool(options(2));
  int told = 0;
  for (int i = 0; i < 30; ++i) {
    pool.apply_async({.callback =
                          [&](const int&) {
                            std::this_thread::yield();
                            ++told;
                          }},
                     square, i);
  }
  pool.close();
  pool.join();
  EXPECT_EQ(told, 30);
}

TEST_P(PoolAsync, CallbacksOfAnEndedPoolLearnOfTheEnd) {
  std::exception_ptr error;
  {
    Pool pool(options(1));
    Event entered;
    Event gate;
    pool.apply_async({.error_callback = [&](std::exception_ptr e) { error = e; }}, held, entered,
                     gate, 1);
    ASSERT_TRUE(entered.wait_for(20s));
  }
  EXPECT_TRUE(is<cohort::CancelledError>(error));
}

// ---- limits of time

TEST_P(PoolAsync, ACallPastItsLimitFailsAloneAndItsWorkerIsReplaced) {
  Pool pool(options(2));
  Event entered;
  Event gate;
  auto other = pool.apply_async(held, entered, gate, 5);
  ASSERT_TRUE(entered.wait_for(20s));
  pid_t before = pool.apply(::getpid);
  auto late = pool.apply_async({.timeout = 20ms}, hang);
  EXPECT_THROW(late.get(), cohort::TimeoutError);
  EXPECT_FALSE(late.successful());
  EXPECT_FALSE(other.ready());
  EXPECT_NE(pool.apply(::getpid), before);
  gate.set();
  EXPECT_EQ(other.get(), 5);
}

TEST_P(PoolAsync, ACallsOwnLimitReplacesThePools) {
  auto one = options(1);
  one.task_timeout = 50ms;
  Pool pool(one);
  EXPECT_THROW(pool.apply(hang), cohort::TimeoutError);
  // No limit, until 100 ms after the pool's.
  auto waits = [] {
    ::usleep(150'000);
    return 1;
  };
  EXPECT_EQ(pool.apply_async({.timeout = 0ms}, waits).get(), 1);
  EXPECT_EQ(pool.apply_async({.timeout = 20s}, waits).get(), 1);
  EXPECT_THROW(pool.apply_async(hang).get(), cohort::TimeoutError);
}

TEST_P(PoolAsync, AWorkerThatWasStoppedPastItsLimitIsKilled) {
  Pool pool(options(1));
  auto late = pool.apply_async({.timeout = 20ms}, [] { ::raise(SIGSTOP); });
  EXPECT_THROW(late.get(), cohort::TimeoutError);
  EXPECT_EQ(pool.apply(square, 3), 9);
}

TEST_P(PoolAsync, WhatRanTooLongIsNotRunAgain) {
  Pool pool(options(1));
  cohort::Value<int> runs(0);
  auto count = [](const cohort::Value<int>& value) {
    value.fetch_add(1);
    hang();
  };
  auto late = pool.apply_async({.timeout = 20ms, .retries = 5}, count, runs);
  EXPECT_THROW(late.get(), cohort::TimeoutError);
  EXPECT_EQ(runs.get(), 1);
}

TEST_P(PoolAsync, ATaskKnowsItsDeadline) {
  EXPECT_FALSE(cohort::deadline());
  auto one = options(1);
  one.soft_timeout = 500s;
  Pool pool(one);
  auto by_pool = pool.apply(left);
  ASSERT_TRUE(by_pool);
  EXPECT_LE(*by_pool, 500s);
  EXPECT_GT(*by_pool, 400s);
  auto soft = pool.apply_async({.timeout = 1000s, .soft_timeout = 200s}, left).get();
  ASSERT_TRUE(soft);
  EXPECT_LE(*soft, 200s);
  EXPECT_GT(*soft, 100s);
  auto hard = pool.apply_async({.timeout = 300s, .soft_timeout = 0s}, left).get();
  ASSERT_TRUE(hard);
  EXPECT_LE(*hard, 300s);
  EXPECT_GT(*hard, 200s);
  EXPECT_FALSE(pool.apply_async({.soft_timeout = 0s}, left).get());
}

TEST_P(PoolAsync, ASoftLimitIsNotEnforced) {
  Pool pool(options(1));
  auto overstay = [] {
    while (std::chrono::steady_clock::now() < *cohort::deadline() + 20ms) ::usleep(1000);
    return ::getpid();
  };
  pid_t worker = pool.apply(::getpid);
  EXPECT_EQ(pool.apply_async({.soft_timeout = 1ms}, overstay).get(), worker);
}

TEST_P(PoolAsync, EachItemOfAMapHasTheWholeLimit) {
  Pool pool(options(1));
  // Together they take longer than one may.
  auto each = [](int x) {
    ::usleep(20'000);
    return left().value() > 0ms ? x : -1;
  };
  std::vector<int> numbers(20);
  std::iota(numbers.begin(), numbers.end(), 0);
  EXPECT_EQ(pool.map({.chunksize = 20, .timeout = 350ms}, each, numbers), numbers);
}

TEST_P(PoolAsync, NegativeLimitsAreRefused) {
  Pool pool(options(1));
  EXPECT_THROW(pool.apply_async({.timeout = -1s}, square, 1), std::invalid_argument);
  EXPECT_THROW(pool.apply_async({.soft_timeout = -1s}, square, 1), std::invalid_argument);
  EXPECT_THROW(pool.map({.timeout = -1s}, square, {1}), std::invalid_argument);
  EXPECT_EQ(pool.apply(square, 3), 9);
}

TEST_P(PoolAsync, ACallHasItsOwnRetries) {
  Pool pool(options(1));
  cohort::Value<int> deaths(2);
  EXPECT_EQ(pool.apply_async({.retries = 2}, die_some_times, deaths, 7).get(), 7);
  deaths.set(2);
  EXPECT_THROW(pool.apply_async({.retries = 1}, die_some_times, deaths, 7).get(),
               cohort::WorkerDied);
  deaths.set(1);
  EXPECT_THROW(pool.apply_async(die_some_times, deaths, 7).get(), cohort::WorkerDied);
  EXPECT_EQ(pool.map_async({.retries = 1}, square, {1, 2}).get(), (std::vector{1, 4}));
}

// ---- cancelling

TEST_P(PoolAsync, AWaitingCallCanBeCancelled) {
  Pool pool(options(1));
  Event entered;
  Event gate;
  auto running = pool.apply_async(held, entered, gate, 5);
  ASSERT_TRUE(entered.wait_for(20s));
  pid_t worker = pool.stats()[0].pid;
  Event never;
  auto waiting = pool.apply_async(held, never, gate, 6);
  auto last = pool.apply_async(square, 3);
  EXPECT_FALSE(waiting.cancelled());
  EXPECT_TRUE(waiting.cancel());
  EXPECT_TRUE(waiting.cancelled());
  EXPECT_TRUE(waiting.ready());
  EXPECT_FALSE(waiting.successful());
  EXPECT_TRUE(waiting.cancel());
  EXPECT_THROW(waiting.get(), cohort::CancelledError);
  gate.set();
  EXPECT_EQ(running.get(), 5);
  EXPECT_EQ(last.get(), 9);
  EXPECT_FALSE(never.is_set());
  EXPECT_EQ(pool.stats()[0].pid, worker);
  EXPECT_EQ(pool.stats()[0].restarts, 0U);
}

TEST_P(PoolAsync, ARunningCallIsCancelledWithItsWorkerAndNoOther) {
  Pool pool(options(2));
  Event entered[2];
  Event gate;
  auto first = pool.apply_async(held, entered[0], gate, 5);
  auto second = pool.apply_async(held, entered[1], gate, 6);
  for (const auto& one : entered) ASSERT_TRUE(one.wait_for(20s));
  EXPECT_TRUE(first.cancel());
  EXPECT_THROW(first.get(), cohort::CancelledError);
  EXPECT_EQ(pool.apply(square, 3), 9);
  EXPECT_FALSE(second.ready());
  gate.set();
  EXPECT_EQ(second.get(), 6);
  EXPECT_TRUE(eventually([&] {
    auto workers = pool.stats();
    return workers[0].restarts + workers[1].restarts == 1 && workers[0].pid && workers[1].pid;
  }));
}

TEST_P(PoolAsync, WhatHasEndedCannotBeCancelled) {
  Pool pool(options(1));
  auto good = pool.apply_async(square, 3);
  good.wait();
  EXPECT_FALSE(good.cancel());
  EXPECT_FALSE(good.cancelled());
  EXPECT_EQ(good.get(), 9);
  auto bad = pool.apply_async(fail);
  bad.wait();
  EXPECT_FALSE(bad.cancel());
  EXPECT_THROW(bad.get(), std::domain_error);
}

TEST_P(PoolAsync, ACancelledMapLeavesOtherCallsAlone) {
  Pool pool(options(2));
  Event entered;
  Event gate;
  auto blocked = pool.map_async({.chunksize = 1}, cohort::bind(held, entered, gate),
                                std::vector<int>(1000, 1));
  auto other = pool.map_async({.chunksize = 1}, square, {1, 2, 3});
  ASSERT_TRUE(entered.wait_for(20s));
  EXPECT_TRUE(blocked.cancel());
  EXPECT_THROW(blocked.get(), cohort::CancelledError);
  EXPECT_EQ(other.get(), (std::vector{1, 4, 9}));
}

TEST_P(PoolAsync, ACancelWakesWhoeverWaits) {
  Pool pool(options(1));
  Event entered;
  Event gate;
  auto result = pool.apply_async(held, entered, gate, 5);
  std::atomic<int> told{0};
  std::vector<std::jthread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      try {
        result.get();
      } catch (const cohort::CancelledError&) {
        ++told;
      }
    });
  }
  ASSERT_TRUE(entered.wait_for(20s));
  EXPECT_TRUE(result.cancel());
  threads.clear();
  EXPECT_EQ(told, 3);
}

TEST_P(PoolAsync, CancellingAtAnyMomentIsEitherInTimeOrTooLate) {
  Pool pool(options(2));
  int cancelled = 0;
  for (int i = 0; i < 100; ++i) {
    auto result = pool.apply_async(square, i);
    for (volatile int spin = i * 500; spin > 0;) spin = spin - 1;
    if (result.cancel()) {
      ++cancelled;
      EXPECT_THROW(result.get(), cohort::CancelledError);
    } else {
      EXPECT_EQ(result.get(), i * i);
    }
  }
  EXPECT_EQ(pool.apply(square, 3), 9);
  RecordProperty("cancelled", cancelled);
}

// ---- results

TEST_P(PoolAsync, CopiesOfAResultMeanTheSameCall) {
  Pool pool(options(1));
  auto result = pool.apply_async(square, 4);
  auto copy = result;
  EXPECT_EQ(copy.get(), 16);
  EXPECT_EQ(result.get(), 16);
  EXPECT_EQ(result.get(1s), 16);
  AsyncResult<int> empty;
  EXPECT_THROW(empty.get(), cohort::InvalidStateError);
  EXPECT_THROW((void)empty.ready(), cohort::InvalidStateError);
}

TEST_P(PoolAsync, AResultThatCannotBeCopiedIsGivenAwayOnce) {
  Pool pool(options(1));
  auto result = pool.apply_async([](int x) { return std::make_unique<int>(x); }, 8);
  EXPECT_EQ(*result.get(), 8);
  EXPECT_THROW(result.get(), cohort::InvalidStateError);
}

TEST_P(PoolAsync, ResultsOutliveTheirPool) {
  std::vector<AsyncResult<std::string>> done;
  AsyncResult<int> running;
  AsyncResult<int> waiting;
  {
    Pool pool(options(1));
    for (std::size_t size : {1, 1000, 100'000})
      done.push_back(pool.apply_async([](std::size_t n) { return std::string(n, 'x'); }, size));
    for (const auto& one : done) one.wait();
    Event entered;
    Event gate;
    running = pool.apply_async(held, entered, gate, 5);
    waiting = pool.apply_async(held, entered, gate, 6);
    ASSERT_TRUE(entered.wait_for(20s));
  }
  EXPECT_EQ(done[0].get(), "x");
  EXPECT_EQ(done[1].get(), std::string(1000, 'x'));
  EXPECT_EQ(done[2].get(), std::string(100'000, 'x'));
  for (const auto& one : {running, waiting}) {
    EXPECT_TRUE(one.ready());
    EXPECT_THROW(one.get(), cohort::CancelledError);
    EXPECT_THROW(one.get(1s), cohort::CancelledError);
    EXPECT_FALSE(one.successful());
    one.cancel();
  }
}

TEST_P(PoolAsync, ResultsThatNobodyAsksForAreGivenBack) {
  Pool pool(options(2));
  for (int i = 0; i < 200; ++i)
    pool.apply_async([](std::size_t n) { return std::string(n, 'x'); }, std::size_t{10'000});
  pool.close();
  pool.join();
}

TEST_P(PoolAsync, AResultIsOfNoUseInAForkedChild) {
  Pool pool(options(1));
  Event entered;
  Event gate;
  auto running = pool.apply_async(held, entered, gate, 5);
  ASSERT_TRUE(entered.wait_for(20s));
  auto waiting = pool.apply_async(square, 3);
  auto throws = [](auto&& what) {
    try {
      what();
    } catch (const cohort::InvalidStateError&) {
      return true;
    }
    return false;
  };
  auto in_child = [&] {
    int refused = 0;
    for (auto& result : {running, waiting}) {
      refused += throws([&] { result.get(); });
      refused += throws([&] { result.wait_for(1ms); });
      refused += throws([&] { (void)result.ready(); });
      refused += result.cancel() ? 0 : 1;
    }
    return refused;
  };
  pid_t child = ::fork();  // the host's own
  if (child == 0) ::_exit(in_child());
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 8);
  auto forked = cohort::Process::forked([&] { std::exit(in_child()); });
  forked.start();
  forked.join();
  EXPECT_EQ(forked.exitcode(), 8);
  gate.set();
  EXPECT_EQ(running.get(20s), 5);
  EXPECT_EQ(waiting.get(20s), 9);
}

TEST_P(PoolAsync, AForkedChildThatDropsAResultLeavesItWhole) {
  Pool pool(options(1));
  auto make = [](std::size_t n) { return std::string(n, 'x'); };
  auto result =
      std::make_unique<AsyncResult<std::string>>(pool.apply_async(make, std::size_t{100'000}));
  result->wait();
  auto forked = cohort::Process::forked([&] { result.reset(); });
  forked.start();
  forked.join();
  EXPECT_EQ(forked.exitcode(), 0);
  pid_t child = ::fork();  // the host's own
  if (child == 0) {
    result.reset();
    ::_exit(0);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  auto others = pool.apply_async(make, std::size_t{100'000});
  others.wait();
  EXPECT_EQ(result->get(), std::string(100'000, 'x'));
}

// ---- many calls

TEST_P(PoolAsync, SubmittersWaitWhileTooManyCallsAreOutstanding) {
  constexpr int kMost = 16'384;
  constexpr int kAll = kMost + 200;
  Pool pool(options(1));
  Event entered;
  Event gate;
  auto blocker = pool.apply_async(held, entered, gate, 5);
  ASSERT_TRUE(entered.wait_for(20s));
  std::atomic<int> submitted{1};
  std::vector<AsyncResult<int>> results;
  results.reserve(kAll);
  std::jthread submitter([&] {
    for (int i = 1; i < kAll; ++i) {
      results.push_back(pool.apply_async(square, i % 100));
      ++submitted;
    }
  });
  EXPECT_TRUE(eventually([&] { return submitted == kMost; }));
  // Another pool is not concerned.
  EXPECT_EQ(Pool(options(1)).apply(square, 3), 9);
  EXPECT_EQ(submitted, kMost);
  gate.set();
  submitter.join();
  EXPECT_EQ(blocker.get(), 5);
  for (int i = 1; i < kAll; ++i)
    ASSERT_EQ(results[static_cast<std::size_t>(i) - 1].get(), (i % 100) * (i % 100));
}

TEST_P(PoolAsync, ASubmitterThatWaitsIsWokenByTheEndOfThePool) {
  Pool pool(options(1));
  Event entered;
  Event gate;
  auto blocker = pool.apply_async(held, entered, gate, 5);
  ASSERT_TRUE(entered.wait_for(20s));
  std::atomic<int> submitted{0};
  bool refused = false;
  std::vector<AsyncResult<int>> results;
  std::jthread submitter([&] {
    try {
      for (;; ++submitted) results.push_back(pool.apply_async(square, 1));
    } catch (const cohort::InvalidStateError&) {
      refused = true;
    }
  });
  EXPECT_TRUE(eventually([&] { return submitted >= 16'383; }));
  pool.terminate();
  submitter.join();
  pool.join();
  EXPECT_TRUE(refused);
  for (const auto& result : results) ASSERT_THROW(result.get(), cohort::CancelledError);
}

TEST(PoolAsyncMany, AHundredThousandCallsLeaveNothing) {
  ::alarm(250);
  Pool pool({.processes = 2, .start_method = cohort::StartMethod::fork});
  auto work = [&](int calls) {
    std::vector<AsyncResult<int>> results;
    results.reserve(static_cast<std::size_t>(calls));
    for (int i = 0; i < calls; ++i) results.push_back(pool.apply_async(square, i % 1000));
    for (int i = 0; i < calls; ++i)
      ASSERT_EQ(results[static_cast<std::size_t>(i)].get(), (i % 1000) * (i % 1000));
  };
  work(100);
  std::size_t before = blocks_held();
  work(100'000);
  EXPECT_TRUE(eventually([&] { return blocks_held() <= before; }))
      << blocks_held() << " blocks are held, before: " << before;
  ::alarm(0);
}

TEST_P(PoolAsync, ManyThreadsSubmitAndWait) {
  Pool pool(options(2));
  std::atomic<int> right{0};
  std::atomic<int> told{0};
  std::vector<std::jthread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      std::vector<AsyncResult<int>> results;
      for (int i = 0; i < 200; ++i) {
        results.push_back(
            i % 2 ? pool.apply_async(square, i)
                  : pool.apply_async({.callback = [&](const int&) { ++told; }}, square, i));
      }
      for (int i = 0; i < 200; ++i) {
        const auto& one = results[static_cast<std::size_t>((i + 25 * t) % 200)];
        one.wait();
      }
      for (int i = 0; i < 200; ++i)
        right += results[static_cast<std::size_t>(i)].get() == i * i ? 1 : 0;
    });
  }
  threads.clear();
  EXPECT_EQ(right, 1600);
  EXPECT_EQ(told, 800);
}

}  // namespace
