// Waiting for several futures beyond the table of behaviours: what is left behind, empty ranges,
// many waiters.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cohort/futures.hpp>
#include <memory>
#include <ranges>
#include <span>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "member.hpp"

namespace {

using namespace test;
using namespace cohort::futures;

class FuturesWait : public Watched {};

static_assert(Executor<ThreadPoolExecutor>);
static_assert(!Executor<std::vector<int>>);
static_assert(std::ranges::input_range<AsCompleted<int>>);

TEST_F(FuturesWait, NothingToWaitForIsDoneAtOnce) {
  std::vector<Future<int>> none;
  for (auto when : {ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION}) {
    auto [done, not_done] = cohort::futures::wait(none, {.return_when = when});
    EXPECT_TRUE(done.empty());
    EXPECT_TRUE(not_done.empty());
  }
  for ([[maybe_unused]] auto&& one : as_completed(none)) FAIL();
}

TEST_F(FuturesWait, AnEmptyFutureAmongThemIsRefused) {
  std::vector<Future<int>> futures(1);
  EXPECT_THROW(cohort::futures::wait(futures), cohort::InvalidStateError);
  EXPECT_THROW(as_completed(futures), cohort::InvalidStateError);
}

TEST_F(FuturesWait, FuturesWithoutResultsCanBeWaitedFor) {
  std::array<Promise<void>, 2> promises;
  std::array futures{promises[0].future(), promises[1].future()};
  promises[1].set_value();
  auto first = cohort::futures::wait(std::span(futures), {.return_when = FIRST_COMPLETED});
  EXPECT_EQ(first.done.size(), 1U);
  promises[0].set_value();
  auto all = cohort::futures::wait({promises[0].future(), promises[1].future()});
  EXPECT_EQ(all.done.size(), 2U);
}

TEST_F(FuturesWait, TheSidesKeepTheOrderThatWasGiven) {
  std::vector<Promise<int>> promises(6);
  std::vector<Future<int>> futures;
  for (const auto& promise : promises) futures.push_back(promise.future());
  for (int i : {5, 1, 3}) promises[static_cast<std::size_t>(i)].set_value(i);
  auto [done, not_done] = cohort::futures::wait(futures, {.timeout = 0s});
  std::vector<int> order;
  for (const auto& future : done) order.push_back(future.get());
  EXPECT_EQ(order, (std::vector{1, 3, 5}));
  EXPECT_EQ(not_done.size(), 3U);
}

// Tells whether anybody still wanted to be called when it ended.
struct Observed final : cohort::detail::ResultState<int> {
  bool wanted = false;
  void callbacks_due() noexcept override { wanted = true; }
};

TEST_F(FuturesWait, AWaitThatTimedOutLeavesNothingBehind) {
  auto state = std::make_shared<Observed>();
  std::vector futures{Future<int>(state)};
  for (auto when : {ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION})
    cohort::futures::wait(futures, {.timeout = 1ms, .return_when = when});
  state->put_value(1);
  state->finish();
  EXPECT_FALSE(state->wanted);
}

TEST_F(FuturesWait, AsCompletedThatIsDroppedEarlyLeavesNothingBehind) {
  auto state = std::make_shared<Observed>();
  Promise<int> first;
  {
    auto ended = as_completed(std::vector{first.future(), Future<int>(state)});
    first.set_value(1);
    EXPECT_EQ((*ended.begin()).get(), 1);
  }
  state->put_value(1);
  state->finish();
  EXPECT_FALSE(state->wanted);
}

TEST_F(FuturesWait, AsCompletedCanBeAskedAgainAfterItsTimeout) {
  Promise<int> promise;
  auto ended = as_completed(std::vector{promise.future()}, 0s);
  EXPECT_THROW(ended.begin(), cohort::TimeoutError);
  EXPECT_THROW(++ended.begin(), cohort::TimeoutError);
}

TEST_F(FuturesWait, ManyThreadsMayWaitForTheSameCalls) {
  std::vector<Promise<int>> promises(50);
  std::vector<Future<int>> futures;
  for (const auto& promise : promises) futures.push_back(promise.future());
  std::atomic<int> sum{0};
  std::vector<std::thread> waiters;
  for (int i = 0; i < 4; ++i) {
    waiters.emplace_back([&] {
      for (auto&& future : as_completed(futures, kPatience)) sum += future.get();
      sum += static_cast<int>(cohort::futures::wait(futures).done.size());
    });
  }
  for (auto& promise : promises) promise.set_value(1);
  for (auto& waiter : waiters) waiter.join();
  EXPECT_EQ(sum, 4 * 100);
}

TEST_F(FuturesWait, ACancelledCallOfAnExecutorIsDoneOnceAWorkerCameUponIt) {
  Promise<void> gate;
  ThreadPoolExecutor executor(1);
  auto busy = executor.submit([&] { gate.future().wait(); });
  auto queued = executor.submit([] {});
  EXPECT_TRUE(queued.cancel());
  EXPECT_TRUE(queued.done());
  auto early = cohort::futures::wait({queued}, {.timeout = 0s});
  EXPECT_EQ(early.not_done.size(), 1U);
  gate.set_value();
  auto late = cohort::futures::wait({queued, busy}, {.timeout = kPatience});
  EXPECT_EQ(late.done.size(), 2U);
}

TEST_F(FuturesWait, ShutdownThatCancelsEndsWaitsForWhatItCancels) {
  Promise<void> gate;
  ThreadPoolExecutor executor(1);
  auto busy = executor.submit([&] { gate.future().wait(); });
  auto queued = executor.submit([] {});
  ASSERT_TRUE(eventually([&] { return busy.running(); }));
  executor.shutdown({.wait = false, .cancel_futures = true});
  EXPECT_EQ(cohort::futures::wait({queued}, {.timeout = kPatience}).done.size(), 1U);
  gate.set_value();
}

}  // namespace
