// The future, wait and as_completed, by the table of behaviours.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cohort/futures.hpp>
#include <list>
#include <memory>
#include <ranges>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "member.hpp"

namespace {

using namespace test;
using cohort::futures::ALL_COMPLETED;
using cohort::futures::as_completed;
using cohort::futures::FIRST_COMPLETED;
using cohort::futures::FIRST_EXCEPTION;
using cohort::futures::Future;
using cohort::futures::Promise;

class FutureBehaviour : public Watched {};

// A call in each of the states that there are.
struct InEachState {
  Promise<int> pending;
  Promise<int> running;
  Promise<int> cancelled;  // nobody who runs it has noticed yet
  Promise<int> noticed;
  Promise<int> failed;
  Promise<int> successful;

  InEachState() {
    running.set_running();
    cancelled.future().cancel();
    noticed.future().cancel();
    noticed.set_running();
    failed.set_exception(std::out_of_range("far"));
    successful.set_value(42);
  }
};

// behaviour: Future/callback-with-result
TEST_F(FutureBehaviour, ACallbackGetsTheFutureWithItsResult) {
  Promise<int> promise;
  int result = 0;
  promise.future().add_done_callback([&](Future<int> future) { result = future.get(); });
  EXPECT_EQ(result, 0);
  promise.set_value(5);
  EXPECT_EQ(result, 5);
}

// behaviour: Future/callback-with-exception
TEST_F(FutureBehaviour, ACallbackOfAFailedFutureCanReadTheException) {
  Promise<int> promise;
  std::exception_ptr seen;
  promise.future().add_done_callback([&](Future<int> future) { seen = future.exception(); });
  promise.set_exception(std::domain_error("test"));
  ASSERT_TRUE(seen);
  EXPECT_THROW(std::rethrow_exception(seen), std::domain_error);
}

// behaviour: Future/callback-with-cancel
TEST_F(FutureBehaviour, CancellingRunsTheCallbacksWhichSeeIt) {
  Promise<int> promise;
  bool seen = false;
  promise.future().add_done_callback([&](Future<int> future) { seen = future.cancelled(); });
  EXPECT_TRUE(promise.future().cancel());
  EXPECT_TRUE(seen);
}

// behaviour: Future/callback-throws
TEST_F(FutureBehaviour, ACallbackThatThrowsIsReportedAndStopsNobody) {
  Promise<int> promise;
  int called = 0;
  promise.future().add_done_callback([&] { ++called; });
  promise.future().add_done_callback([] { throw std::runtime_error("doh!"); });
  promise.future().add_done_callback([&] { ++called; });
  testing::internal::CaptureStderr();
  EXPECT_NO_THROW(promise.set_value(5));
  std::string text = testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("doh!"), std::string::npos) << text;
  EXPECT_NE(text.find("std::runtime_error"), std::string::npos) << text;
  EXPECT_EQ(called, 2);
  EXPECT_EQ(promise.future().get(), 5);
}

// behaviour: Future/callback-added-late
TEST_F(FutureBehaviour, ACallbackAddedToADoneFutureRunsAtOnce) {
  InEachState calls;
  for (const auto& promise : {calls.successful, calls.failed, calls.cancelled, calls.noticed}) {
    bool ran = false;
    promise.future().add_done_callback([&](Future<int> future) { ran = future.done(); });
    EXPECT_TRUE(ran);
  }
  testing::internal::CaptureStderr();
  EXPECT_NO_THROW(
      calls.successful.future().add_done_callback([] { throw std::runtime_error("late doh!"); }));
  EXPECT_NE(testing::internal::GetCapturedStderr().find("late doh!"), std::string::npos);
}

// behaviour: Future/cancel-by-state
TEST_F(FutureBehaviour, OnlyAPendingCallCanBeCancelled) {
  InEachState calls;
  EXPECT_TRUE(calls.pending.future().cancel());
  EXPECT_TRUE(calls.pending.future().cancelled());
  EXPECT_FALSE(calls.running.future().cancel());
  EXPECT_TRUE(calls.running.future().running());
  EXPECT_TRUE(calls.cancelled.future().cancel());
  EXPECT_TRUE(calls.cancelled.future().cancelled());
  EXPECT_TRUE(calls.noticed.future().cancel());
  EXPECT_TRUE(calls.noticed.future().cancelled());
  EXPECT_FALSE(calls.failed.future().cancel());
  EXPECT_THROW(calls.failed.future().get(), std::out_of_range);
  EXPECT_FALSE(calls.successful.future().cancel());
  EXPECT_EQ(calls.successful.future().get(), 42);
}

// behaviour: Future/cancelled-query
TEST_F(FutureBehaviour, CancelledIsTrueOfCancelledCallsOnly) {
  InEachState calls;
  EXPECT_FALSE(calls.pending.future().cancelled());
  EXPECT_FALSE(calls.running.future().cancelled());
  EXPECT_TRUE(calls.cancelled.future().cancelled());
  EXPECT_TRUE(calls.noticed.future().cancelled());
  EXPECT_FALSE(calls.failed.future().cancelled());
  EXPECT_FALSE(calls.successful.future().cancelled());
}

// behaviour: Future/done-query
TEST_F(FutureBehaviour, DoneIsTrueOfCancelledAndFinishedCalls) {
  InEachState calls;
  EXPECT_FALSE(calls.pending.future().done());
  EXPECT_FALSE(calls.running.future().done());
  EXPECT_TRUE(calls.cancelled.future().done());
  EXPECT_TRUE(calls.noticed.future().done());
  EXPECT_TRUE(calls.failed.future().done());
  EXPECT_TRUE(calls.successful.future().done());
}

// behaviour: Future/running-query
TEST_F(FutureBehaviour, RunningIsTrueOfRunningCallsOnly) {
  InEachState calls;
  EXPECT_FALSE(calls.pending.future().running());
  EXPECT_TRUE(calls.running.future().running());
  EXPECT_FALSE(calls.cancelled.future().running());
  EXPECT_FALSE(calls.noticed.future().running());
  EXPECT_FALSE(calls.failed.future().running());
  EXPECT_FALSE(calls.successful.future().running());
}

// behaviour: Future/result-by-state
TEST_F(FutureBehaviour, TheResultIsAskedForByState) {
  InEachState calls;
  EXPECT_THROW(calls.pending.future().get(0s), cohort::TimeoutError);
  EXPECT_THROW(calls.running.future().get(0s), cohort::TimeoutError);
  EXPECT_THROW(calls.cancelled.future().get(0s), cohort::CancelledError);
  EXPECT_THROW(calls.noticed.future().get(0s), cohort::CancelledError);
  EXPECT_THROW(calls.failed.future().get(0s), std::out_of_range);
  EXPECT_EQ(calls.successful.future().get(0s), 42);
}

// behaviour: Future/result-waits
TEST_F(FutureBehaviour, AWaitingGetReturnsWhenTheValueIsSet) {
  Promise<int> promise;
  std::atomic<bool> waiting{false};
  std::thread setter([&] {
    EXPECT_TRUE(eventually([&] { return waiting.load(); }));
    promise.set_value(42);
  });
  waiting = true;
  EXPECT_EQ(promise.future().get(kPatience), 42);
  setter.join();
}

// behaviour: Future/result-woken-by-cancel
TEST_F(FutureBehaviour, AWaitingGetIsWokenByCancelling) {
  Promise<int> promise;
  std::atomic<bool> waiting{false};
  std::thread canceller([&] {
    EXPECT_TRUE(eventually([&] { return waiting.load(); }));
    EXPECT_TRUE(promise.future().cancel());
  });
  waiting = true;
  EXPECT_THROW(promise.future().get(kPatience), cohort::CancelledError);
  canceller.join();
}

// behaviour: Future/exception-by-state
TEST_F(FutureBehaviour, TheExceptionIsAskedForByState) {
  InEachState calls;
  EXPECT_THROW((void)calls.pending.future().exception(0s), cohort::TimeoutError);
  EXPECT_THROW((void)calls.running.future().exception(0s), cohort::TimeoutError);
  EXPECT_THROW((void)calls.cancelled.future().exception(0s), cohort::CancelledError);
  EXPECT_THROW((void)calls.noticed.future().exception(0s), cohort::CancelledError);
  auto error = calls.failed.future().exception(0s);
  ASSERT_TRUE(error);
  EXPECT_THROW(std::rethrow_exception(error), std::out_of_range);
  EXPECT_FALSE(calls.successful.future().exception(0s));
}

// behaviour: Future/set-exception-once
TEST_F(FutureBehaviour, ASecondExceptionIsRefusedAndLeavesTheFirst) {
  Promise<int> promise;
  promise.set_exception(std::invalid_argument("first"));
  EXPECT_THROW(promise.set_exception(std::out_of_range("second")), cohort::InvalidStateError);
  EXPECT_THROW(promise.future().get(), std::invalid_argument);
}

// behaviour: Future/snapshot
TEST_F(FutureBehaviour, ManyThreadsReadOneConsistentState) {
  for (int round = 0; round < 200; ++round) {
    Promise<std::string> promise;
    auto future = promise.future();
    std::vector<std::thread> readers;
    std::atomic<int> consistent{0};
    for (int i = 0; i < 4; ++i) {
      readers.emplace_back([&] {
        while (!future.done()) std::this_thread::yield();
        if (!future.cancelled() && !future.running() && !future.exception() &&
            future.get() == "whole")
          ++consistent;
      });
    }
    promise.set_running();
    promise.set_value("whole");
    for (auto& reader : readers) reader.join();
    ASSERT_EQ(consistent, 4);
  }
}

// ---- wait

std::set<int> numbers(const std::vector<Future<int>>& done) {
  std::set<int> result;
  for (const auto& future : done) result.insert(future.get());
  return result;
}

// behaviour: FuturesWait/duplicates
TEST_F(FutureBehaviour, WaitCountsAFutureThatIsGivenTwiceOnce) {
  Promise<int> promise;
  promise.set_value(1);
  std::vector futures{promise.future(), promise.future()};
  auto [done, not_done] = cohort::futures::wait(futures, {.return_when = ALL_COMPLETED});
  EXPECT_EQ(done.size(), 1U);
  EXPECT_TRUE(not_done.empty());
}

// behaviour: FuturesWait/first-completed
TEST_F(FutureBehaviour, WaitingForTheFirstEndsAtTheFirstThatFinishes) {
  InEachState calls;
  Promise<int> first;
  std::vector futures{calls.cancelled.future(), calls.pending.future(), first.future()};
  std::thread finisher([&] { first.set_value(1); });
  auto [done, not_done] =
      cohort::futures::wait(futures, {.timeout = kPatience, .return_when = FIRST_COMPLETED});
  finisher.join();
  EXPECT_EQ(numbers(done), (std::set{1}));
  EXPECT_EQ(not_done.size(), 2U);
}

// behaviour: FuturesWait/first-completed-already
TEST_F(FutureBehaviour, WaitingForTheFirstReturnsAtOnceWithThoseThatWereDone) {
  InEachState calls;
  std::vector futures{calls.noticed.future(), calls.successful.future(), calls.pending.future()};
  auto [done, not_done] = cohort::futures::wait(futures, {.return_when = FIRST_COMPLETED});
  EXPECT_EQ(done.size(), 2U);
  EXPECT_EQ(not_done.size(), 1U);
}

// behaviour: FuturesWait/first-exception
TEST_F(FutureBehaviour, WaitingForTheFirstExceptionGoesOnPastSuccesses) {
  Promise<int> success;
  Promise<int> failure;
  Promise<int> later;
  std::vector futures{success.future(), failure.future(), later.future()};
  std::thread finisher([&] {
    success.set_value(1);
    failure.set_exception(std::domain_error("division"));
  });
  auto [done, not_done] =
      cohort::futures::wait(futures, {.timeout = kPatience, .return_when = FIRST_EXCEPTION});
  finisher.join();
  EXPECT_EQ(done.size(), 2U);
  EXPECT_EQ(not_done.size(), 1U);
}

// behaviour: FuturesWait/first-exception-cancelled-ignored
TEST_F(FutureBehaviour, WaitingForTheFirstExceptionIgnoresCancelledCalls) {
  InEachState calls;
  Promise<int> failure;
  std::vector futures{calls.successful.future(), calls.cancelled.future(), calls.noticed.future(),
                      failure.future(), calls.pending.future()};
  auto early = cohort::futures::wait(futures, {.timeout = 0s, .return_when = FIRST_EXCEPTION});
  EXPECT_EQ(early.done.size(), 2U);
  std::thread finisher([&] { failure.set_exception(std::domain_error("division")); });
  auto [done, not_done] =
      cohort::futures::wait(futures, {.timeout = kPatience, .return_when = FIRST_EXCEPTION});
  finisher.join();
  EXPECT_EQ(done.size(), 3U);
  ASSERT_EQ(not_done.size(), 2U);
  EXPECT_TRUE(not_done[0].cancelled());
}

// behaviour: FuturesWait/all
TEST_F(FutureBehaviour, WaitingForAllEndsWhenEachIsDoneInItsWay) {
  InEachState calls;
  Promise<int> success;
  Promise<int> failure;
  std::vector futures{calls.failed.future(),  calls.noticed.future(), calls.cancelled.future(),
                      calls.running.future(), success.future(),       failure.future()};
  std::thread finisher([&] {
    success.set_value(1);
    calls.cancelled.set_running();
    failure.set_exception(std::domain_error("division"));
    calls.running.set_value(2);
  });
  auto [done, not_done] = cohort::futures::wait(futures, {.timeout = kPatience});
  finisher.join();
  EXPECT_EQ(done.size(), 6U);
  EXPECT_TRUE(not_done.empty());
}

// behaviour: FuturesWait/timeout
TEST_F(FutureBehaviour, AWaitThatTimesOutTellsDoneFromPending) {
  InEachState calls;
  std::vector futures{calls.successful.future(), calls.pending.future(), calls.failed.future()};
  auto [done, not_done] = cohort::futures::wait(futures, {.timeout = 1ms});
  EXPECT_EQ(done.size(), 2U);
  EXPECT_EQ(not_done.size(), 1U);
}

// ---- as_completed

// behaviour: AsCompleted/all
TEST_F(FutureBehaviour, AsCompletedGivesEachFutureAsItEnds) {
  InEachState calls;
  Promise<int> first;
  Promise<int> second;
  std::vector futures{second.future(), first.future(), calls.successful.future(),
                      calls.noticed.future()};
  std::vector<int> order;
  for (Future<int> future : as_completed(futures, kPatience)) {
    order.push_back(future.cancelled() ? -1 : future.get());
    if (order.size() == 2) first.set_value(1);
    if (order.size() == 3) second.set_value(2);
  }
  EXPECT_EQ(order, (std::vector{42, -1, 1, 2}));
}

// behaviour: AsCompleted/timeout
TEST_F(FutureBehaviour, AsCompletedGivesThoseInTimeAndThenThrows) {
  InEachState calls;
  std::vector futures{calls.noticed.future(), calls.pending.future(), calls.successful.future()};
  for (auto limit : {0ms, 5ms}) {
    std::size_t given = 0;
    auto take_all = [&] {
      for (auto&& future : as_completed(futures, limit)) given += future.done() ? 1U : 0U;
    };
    EXPECT_THROW(take_all(), cohort::TimeoutError);
    EXPECT_EQ(given, 2U);
  }
}

// behaviour: AsCompleted/duplicates
TEST_F(FutureBehaviour, AsCompletedGivesAFutureOnceFromAnyKindOfRange) {
  Promise<int> promise;
  promise.set_value(1);
  auto future = promise.future();
  auto count = [](auto&& range) {
    int given = 0;
    for ([[maybe_unused]] auto&& one : as_completed(range)) ++given;
    return given;
  };
  EXPECT_EQ(count(std::vector{future, future, future}), 1);
  EXPECT_EQ(count(std::list{future, future, future}), 1);
  EXPECT_EQ(count(std::views::iota(0, 3) | std::views::transform([&](int) { return future; })), 1);
  int braced = 0;
  for ([[maybe_unused]] auto&& one : as_completed({future, future, future})) ++braced;
  EXPECT_EQ(braced, 1);
}

// behaviour: AsCompleted/keeps-nothing
TEST_F(FutureBehaviour, AsCompletedKeepsNothingOfAFutureThatItGave) {
  auto token = std::make_shared<int>(1);
  std::vector<Promise<std::shared_ptr<int>>> promises(3);
  std::vector<Future<std::shared_ptr<int>>> futures;
  for (const auto& promise : promises) {
    promise.set_value(token);
    futures.push_back(promise.future());
  }
  promises.clear();
  auto ended = as_completed(std::exchange(futures, {}));
  long left = 3;
  EXPECT_EQ(token.use_count(), 1 + left);
  for (auto&& one : ended) {
    { Future<std::shared_ptr<int>> dropped = std::move(one); }
    EXPECT_EQ(token.use_count(), 1 + --left);
  }
  EXPECT_EQ(left, 0);
}

// behaviour: AsCompleted/timeout-message
TEST_F(FutureBehaviour, TheTimeoutOfAsCompletedSaysHowManyAreLeft) {
  std::vector<Promise<int>> promises(4);
  promises[0].set_value(0);
  promises[2].set_value(2);
  std::vector<Future<int>> futures;
  for (const auto& promise : promises) futures.push_back(promise.future());
  try {
    for ([[maybe_unused]] auto&& one : as_completed(futures, 0s)) {
    }
    FAIL() << "it did not time out";
  } catch (const cohort::TimeoutError& error) {
    EXPECT_STREQ(error.what(), "2 (of 4) futures unfinished");
  }
}

}  // namespace
