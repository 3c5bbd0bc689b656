// Futures and promises beyond the table of behaviours: continuations, coroutines, results of odd
// types, calls in processes of their own.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cohort/async.hpp>
#include <cohort/future.hpp>
#include <cohort/futures.hpp>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "coroutine.hpp"
#include "processes.hpp"

namespace {

using namespace test;
using cohort::futures::Future;
using cohort::futures::Promise;
using cohort::futures::ThreadPoolExecutor;

class FutureTest : public Watched {};

TEST_F(FutureTest, ResultsThatCannotBeCopiedAreGivenAwayOnce) {
  Promise<std::unique_ptr<int>> promise;
  promise.set_value(std::make_unique<int>(5));
  auto future = promise.future();
  EXPECT_EQ(*future.get(), 5);
  EXPECT_THROW(future.get(), cohort::InvalidStateError);
}

TEST_F(FutureTest, ResultsNeedNoDefaultConstructor) {
  struct Number {
    explicit Number(int n) : number(n) {}
    int number;
  };
  Promise<Number> promise;
  promise.set_value(3);
  EXPECT_EQ(promise.future().get().number, 3);
}

TEST_F(FutureTest, AVoidFutureSaysWhenItIsDone) {
  Promise<void> promise;
  auto future = promise.future();
  EXPECT_FALSE(future.done());
  promise.set_value();
  EXPECT_TRUE(future.done());
  EXPECT_NO_THROW(future.get());
}

TEST_F(FutureTest, APromiseThatIsDroppedFailsItsFuture) {
  Future<int> future;
  {
    Promise<int> promise;
    auto copy = promise;
    future = promise.future();
    EXPECT_FALSE(future.done());
  }
  EXPECT_THROW(future.get(), cohort::Error);
}

TEST_F(FutureTest, ASecondValueIsRefused) {
  Promise<int> promise;
  promise.set_value(1);
  EXPECT_THROW(promise.set_value(2), cohort::InvalidStateError);
  EXPECT_THROW(promise.set_running(), cohort::InvalidStateError);
  EXPECT_EQ(promise.future().get(), 1);
}

TEST_F(FutureTest, ACancelledPromiseTakesNoOutcome) {
  Promise<int> promise;
  EXPECT_TRUE(promise.future().cancel());
  EXPECT_FALSE(promise.set_running());
  EXPECT_THROW(promise.set_value(2), cohort::InvalidStateError);
  EXPECT_THROW(promise.set_exception(std::runtime_error("late")), cohort::InvalidStateError);
  EXPECT_THROW(promise.future().get(), cohort::CancelledError);
}

TEST_F(FutureTest, AValueThatThrowsWhenItIsPutLeavesThePromiseOpen) {
  struct Picky {
    explicit Picky(int n) {
      if (n < 0) throw std::invalid_argument("negative");
    }
  };
  Promise<Picky> promise;
  EXPECT_THROW(promise.set_value(-1), std::invalid_argument);
  EXPECT_FALSE(promise.future().done());
  promise.set_value(1);
  EXPECT_TRUE(promise.future().done());
}

TEST_F(FutureTest, ACallbackMayTakeTheFutureOrNothing) {
  Promise<int> promise;
  int seen = 0;
  promise.future().add_done_callback([&] { seen += 1; });
  promise.future().add_done_callback([&](Future<int> future) { seen += future.get(); });
  promise.future().add_done_callback(
      [&seen, owned = std::make_unique<int>(100)] { seen += *owned; });
  promise.set_value(10);
  EXPECT_EQ(seen, 111);
}

TEST_F(FutureTest, ACallbackDoesNotKeepACallAliveThatNobodyWillEnd) {
  auto token = std::make_shared<int>(1);
  {
    auto state = std::make_shared<cohort::detail::ResultState<int>>();
    Future<int>(state).add_done_callback([token](Future<int>) {});
    EXPECT_EQ(token.use_count(), 2);
  }
  EXPECT_EQ(token.use_count(), 1);
}

// ---- then

TEST_F(FutureTest, ThenGoesOnWithTheResult) {
  Promise<int> promise;
  Future<std::string> text =
      promise.future()
          .then([](Future<int> future) { return future.get() + 1; })
          .then([](Future<int> future) { return std::to_string(future.get()); });
  EXPECT_FALSE(text.done());
  promise.set_value(41);
  EXPECT_EQ(text.get(), "42");
}

TEST_F(FutureTest, ThenOfADoneFutureRunsAtOnce) {
  Promise<int> promise;
  promise.set_value(1);
  std::thread::id thread;
  promise.future().then([&] { thread = std::this_thread::get_id(); }).get();
  EXPECT_EQ(thread, std::this_thread::get_id());
}

TEST_F(FutureTest, AnExceptionGoesThroughThenUnlessItIsCaught) {
  Promise<int> promise;
  auto passed = promise.future().then([](Future<int> future) { return future.get(); });
  auto caught = passed.then([](Future<int> future) {
    try {
      return future.get();
    } catch (const std::out_of_range&) {
      return -1;
    }
  });
  promise.set_exception(std::out_of_range("far"));
  EXPECT_THROW(passed.get(), std::out_of_range);
  EXPECT_EQ(caught.get(), -1);
}

TEST_F(FutureTest, WhatThenThrowsIsItsOutcome) {
  Promise<int> promise;
  auto next = promise.future().then([]() -> int { throw std::domain_error("mine"); });
  promise.set_value(1);
  EXPECT_THROW(next.get(), std::domain_error);
}

TEST_F(FutureTest, ThenOfACancelledFutureGetsACancelledFuture) {
  Promise<int> promise;
  auto next = promise.future().then([](Future<int> future) { return future.cancelled(); });
  promise.future().cancel();
  EXPECT_TRUE(next.get());
}

TEST_F(FutureTest, ACancelledContinuationDoesNotRun) {
  Promise<int> promise;
  bool ran = false;
  auto next = promise.future().then([&] { ran = true; });
  EXPECT_TRUE(next.cancel());
  promise.set_value(1);
  EXPECT_FALSE(ran);
  EXPECT_THROW(next.get(), cohort::CancelledError);
}

TEST_F(FutureTest, AContinuationMayOnlyMove) {
  Promise<int> promise;
  auto next = promise.future().then(
      [owned = std::make_unique<int>(2)](Future<int> future) { return *owned * future.get(); });
  promise.set_value(4);
  EXPECT_EQ(next.get(), 8);
}

TEST_F(FutureTest, ThenRunsInTheExecutorThatItIsGiven) {
  ThreadPoolExecutor executor(1);
  auto worker = executor.submit([] { return std::this_thread::get_id(); }).get();
  Promise<int> promise;
  auto next = promise.future().then(
      executor, [](Future<int> f) { return std::pair(f.get(), std::this_thread::get_id()); });
  promise.set_value(7);
  EXPECT_EQ(next.get(), std::pair(7, worker));
}

TEST_F(FutureTest, ThenInAnExecutorThatWasShutDownFails) {
  ThreadPoolExecutor executor(1);
  executor.shutdown();
  Promise<int> promise;
  auto next = promise.future().then(executor, [] { return 1; });
  promise.set_value(7);
  EXPECT_THROW(next.get(), cohort::InvalidStateError);
}

TEST_F(FutureTest, ThenThatItsExecutorCancelsIsCancelled) {
  std::promise<void> gate;
  ThreadPoolExecutor executor(1);
  auto busy = executor.submit([&] { gate.get_future().wait(); });
  ASSERT_TRUE(eventually([&] { return busy.running(); }));
  Promise<int> promise;
  auto next = promise.future().then(executor, [] { return 1; });
  promise.set_value(7);
  executor.shutdown({.wait = false, .cancel_futures = true});
  EXPECT_TRUE(next.cancelled());
  gate.set_value();
}

// ---- coroutines

template <class R>
Coroutine add_to(Future<R> future, int& sum, std::exception_ptr& error) {
  try {
    sum += co_await future;
  } catch (...) {
    error = std::current_exception();
  }
}

TEST_F(FutureTest, CoAwaitGivesTheResult) {
  int sum = 0;
  std::exception_ptr error;
  Promise<int> done;
  done.set_value(1);
  add_to(done.future(), sum, error);
  EXPECT_EQ(sum, 1);
  Promise<int> later;
  add_to(later.future(), sum, error);
  EXPECT_EQ(sum, 1);
  later.set_value(5);
  EXPECT_EQ(sum, 6);
  EXPECT_FALSE(error);
}

TEST_F(FutureTest, CoAwaitThrowsWhatTheCallThrew) {
  int sum = 0;
  std::exception_ptr error;
  Promise<int> promise;
  add_to(promise.future(), sum, error);
  promise.set_exception(std::out_of_range("far"));
  ASSERT_TRUE(error);
  EXPECT_THROW(std::rethrow_exception(error), std::out_of_range);
}

Coroutine hop(Future<int> future, ThreadPoolExecutor& executor, Promise<std::thread::id> where) {
  try {
    co_await future.on(executor);
    where.set_value(std::this_thread::get_id());
  } catch (...) {
    where.set_exception(std::current_exception());
  }
}

TEST_F(FutureTest, CoAwaitOnAnExecutorResumesThere) {
  ThreadPoolExecutor executor(1);
  auto worker = executor.submit([] { return std::this_thread::get_id(); }).get();
  Promise<int> promise;
  Promise<std::thread::id> where;
  hop(promise.future(), executor, where);
  promise.set_value(1);
  EXPECT_EQ(where.future().get(kPatience), worker);
  Promise<std::thread::id> again;
  hop(promise.future(), executor, again);  // of one that is done
  EXPECT_EQ(again.future().get(kPatience), worker);
}

TEST_F(FutureTest, CoAwaitOnAnExecutorThatRefusesThrows) {
  ThreadPoolExecutor executor(1);
  executor.shutdown();
  Promise<int> promise;
  Promise<std::thread::id> where;
  hop(promise.future(), executor, where);
  promise.set_value(1);
  EXPECT_THROW(where.future().get(kPatience), cohort::InvalidStateError);
}

TEST_F(FutureTest, ACoroutineAwaitsCallAfterCall) {
  Promise<int> sum;
  ThreadPoolExecutor executor(2);
  auto count = [](ThreadPoolExecutor& ex, Promise<int> result) -> Coroutine {
    int total = 0;
    for (int i = 0; i < 1000; ++i) total += co_await ex.submit([i] { return i; });
    result.set_value(total);
  };
  count(executor, sum);
  EXPECT_EQ(sum.future().get(kPatience), 499500);
}

// ---- calls in a process of their own

TEST_F(FutureTest, CallbacksAndContinuationsWorkForACallInAProcess) {
  auto gate = Channel::make();
  auto future = cohort::async([](Channel& g) { return g.receive<int>(); }, gate);
  Promise<int> seen;
  future.add_done_callback([&](Future<int> f) { seen.set_value(f.get()); });
  auto next = future.then([](Future<int> f) { return f.get() * 2; });
  EXPECT_FALSE(next.done());
  gate.send(21);
  EXPECT_EQ(seen.future().get(kPatience), 21);
  EXPECT_EQ(next.get(kPatience), 42);
  EXPECT_EQ(future.get(), 21);
}

TEST_F(FutureTest, ACallInAProcessCanBeAwaited) {
  auto gate = Channel::make();
  Promise<int> sum;
  auto wait = [](Future<int> future, Promise<int> result) -> Coroutine {
    result.set_value(co_await future);
  };
  wait(cohort::async([](Channel& g) { return g.receive<int>(); }, gate), sum);
  gate.send(9);
  EXPECT_EQ(sum.future().get(kPatience), 9);
}

TEST_F(FutureTest, CancellingACallInAProcessRunsItsCallbacks) {
  auto gate = Channel::make();
  auto future = cohort::async([](Channel& g) { return g.receive<int>(); }, gate);
  Promise<bool> seen;
  future.add_done_callback([&](Future<int> f) { seen.set_value(f.cancelled()); });
  EXPECT_TRUE(future.cancel());
  EXPECT_TRUE(seen.future().get(kPatience));
}

TEST_F(FutureTest, CallsInProcessesCanBeWaitedForTogether) {
  auto gate = Channel::make();
  std::vector<Future<int>> calls{
      cohort::async([](Channel& g) { return g.receive<int>(); }, gate),
      cohort::async([] { return 1; }),
  };
  auto first = cohort::futures::wait(
      calls, {.timeout = kPatience, .return_when = cohort::futures::FIRST_COMPLETED});
  ASSERT_EQ(first.done.size(), 1U);
  EXPECT_EQ(first.done[0].get(), 1);
  gate.send(2);
  EXPECT_EQ(cohort::futures::wait(calls, {.timeout = kPatience}).done.size(), 2U);
  int sum = 0;
  for (auto&& call : cohort::futures::as_completed(calls, kPatience)) sum += call.get();
  EXPECT_EQ(sum, 3);
}

TEST_F(FutureTest, ADeadProcessCompletesItsCallForTheCallbacks) {
  auto future = cohort::async([] { std::exit(3); });
  auto code = future.then([](Future<void> f) {
    try {
      f.get();
      return 0;
    } catch (const cohort::WorkerDied& death) {
      return death.exitcode();
    }
  });
  EXPECT_EQ(code.get(kPatience), 3);
}

}  // namespace
