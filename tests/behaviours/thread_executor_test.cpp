// Executors of threads, by the table of behaviours.
#include <gtest/gtest.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
#endif
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cohort/finalize.hpp>
#include <cohort/futures.hpp>
#include <cohort/process.hpp>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <ranges>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "processes.hpp"

namespace {

using namespace test;
using cohort::futures::Future;
using cohort::futures::Promise;
using cohort::futures::ThreadPoolExecutor;

// ThreadSanitizer knows no threads in a fork of a process that had several.
#ifdef __SANITIZE_THREAD__
constexpr bool kThreadsAfterFork = false;
#else
constexpr bool kThreadsAfterFork = true;
#endif

// Blocks the calls that wait for it.
class Gate {
 public:
  void open() {
    if (!opened_.exchange(true)) promise_.set_value();
  }
  void pass() const { promise_.future().wait(); }

 private:
  Promise<void> promise_;
  std::atomic<bool> opened_{false};
};

class ThreadExecutor : public Watched {
 protected:
  void TearDown() override {
    gate.open();
    Watched::TearDown();
  }
  Gate gate;  // outlives the calls that pass it
  ThreadPoolExecutor executor{5};
};

template <class Results>
auto all_of(Results&& results) {
  std::vector<std::decay_t<decltype(*results.begin())>> all;
  for (auto&& x : results) all.push_back(std::move(x));
  return all;
}

std::string own_name() {
  char name[16] = {};
  ::pthread_getname_np(::pthread_self(), name, sizeof name);
  return name;
}

int power(int base, int exponent) {
  int result = 1;
  for (int i = 0; i < exponent; ++i) result *= base;
  return result;
}

// ---- submit and map

// behaviour: Executor/submit
TEST_F(ThreadExecutor, SubmitRunsTheCallableWithItsArguments) {
  EXPECT_EQ(executor.submit(power, 2, 8).get(), 256);
  EXPECT_EQ(executor.submit([](std::string a, const char* b) { return a + b; }, "x", "y").get(),
            "xy");
  EXPECT_NO_THROW(executor.submit([] {}).get());
}

// behaviour: Executor/map-order
TEST_F(ThreadExecutor, MapOverSeveralInputsGivesResultsInOrder) {
  auto bases = std::views::iota(0, 10);
  std::vector exponents(10, 2);
  std::vector<int> squares;
  for (int i : bases) squares.push_back(i * i);
  EXPECT_EQ(all_of(executor.map(power, bases, exponents)), squares);
  EXPECT_EQ(all_of(executor.map({.chunksize = 3}, power, bases, exponents)), squares);
  EXPECT_EQ(all_of(executor.map(power, bases, std::vector{2, 2})), (std::vector{0, 1}));
  EXPECT_EQ(all_of(executor.map([](int x) { return -x; }, {1, 2})), (std::vector{-1, -2}));
}

// behaviour: Executor/map-exception-in-turn
// behaviour: Executor/map-continues-after-exception
TEST_F(ThreadExecutor, MapThrowsWhenTheFailingItemsTurnComesAndGoesOn) {
  auto divide = [](int x) {
    if (x == 0) throw std::domain_error("division by zero");
    return 12 / x;
  };
  for (long long chunksize : {1, 2, 10}) {
    auto results = executor.map({.chunksize = chunksize}, divide, {1, 2, 0, 3});
    EXPECT_EQ(results.next(), 12);
    EXPECT_EQ(results.next(), 6);
    EXPECT_THROW(results.next(), std::domain_error);
    EXPECT_EQ(results.next(), 4);
    EXPECT_FALSE(results.next());
  }
}

// behaviour: Executor/map-timeout
TEST_F(ThreadExecutor, MapGivesWhatIsInTimeAndThenItsTimeout) {
  auto wait = [&](int x) {
    if (x == 2) gate.pass();
    return x;
  };
  for (auto limit : {0ms, 5ms}) {
    auto results = executor.map({.timeout = limit}, wait, {2});
    EXPECT_THROW(results.next(), cohort::TimeoutError);
    EXPECT_FALSE(results.next());
  }
  std::atomic<bool> stuck{false};
  ThreadPoolExecutor one(1);
  auto results = one.map({.timeout = 1ms},
                         [&](int x) {
                           if (x == 2) stuck = true;
                           return wait(x);
                         },
                         {0, 1, 2});
  ASSERT_TRUE(eventually([&] { return stuck.load(); }));  // so the two before it are done
  EXPECT_EQ(results.next(), 0);
  EXPECT_EQ(results.next(), 1);
  EXPECT_THROW(results.next(), cohort::TimeoutError);
  gate.open();
}

// behaviour: Executor/map-timeout-thrown-by-callable
TEST_F(ThreadExecutor, ATimeoutErrorOfTheCallableIsJustThatItems) {
  auto call = [](int x) {
    if (x == 1) throw cohort::TimeoutError("of the callable");
    return x;
  };
  auto results = executor.map({.timeout = kPatience}, call, {0, 1, 2});
  EXPECT_EQ(results.next(), 0);
  try {
    results.next();
    FAIL();
  } catch (const cohort::TimeoutError& error) {
    EXPECT_STREQ(error.what(), "of the callable");
  }
  EXPECT_EQ(results.next(), 2);
}

// behaviour: Executor/map-close
TEST_F(ThreadExecutor, AMapThatIsClosedIsAtItsEnd) {
  for (long long chunksize : {1, 3}) {
    auto results = executor.map(
        {.chunksize = chunksize}, [](int x) { return x; }, std::views::iota(0, 10));
    EXPECT_EQ(results.next(), 0);
    results.close();
    EXPECT_FALSE(results.next());
    EXPECT_EQ(results.begin(), results.end());
  }
}

// behaviour: Executor/map-buffersize-value
TEST_F(ThreadExecutor, ABuffersizeOfZeroOrLessIsRefused) {
  auto same = [](int x) { return x; };
  EXPECT_THROW(executor.map({.buffersize = 0}, same, {1}), std::invalid_argument);
  EXPECT_THROW(executor.map({.buffersize = -1}, same, {1}), std::invalid_argument);
  EXPECT_THROW(executor.map({.chunksize = 0}, same, {1}), std::invalid_argument);
  EXPECT_THROW(executor.map({.chunksize = -1}, same, {1}), std::invalid_argument);
}

// behaviour: Executor/map-buffersize-results
TEST_F(ThreadExecutor, AnyBuffersizeGivesAllResultsInOrder) {
  std::vector<int> items{0, 1, 2, 3};
  for (long long buffersize : {1, 2, 4, 5}) {
    EXPECT_EQ(all_of(executor.map(
                  {.buffersize = buffersize}, [](int x) { return x * 10; }, items)),
              (std::vector{0, 10, 20, 30}));
  }
}

// behaviour: Executor/map-buffersize-several-inputs
TEST_F(ThreadExecutor, AnyBuffersizeServesSeveralInputs) {
  std::vector<int> items{0, 1, 2, 3};
  for (long long buffersize : {1, 2, 4, 5}) {
    EXPECT_EQ(all_of(executor.map({.buffersize = buffersize}, std::plus<>(), items, items)),
              (std::vector{0, 2, 4, 6}));
  }
}

// behaviour: Executor/map-buffersize-infinite
TEST_F(ThreadExecutor, AnEndlessInputIsMappedLazily) {
  auto results = executor.map(
      {.buffersize = 2}, [](int x) { return -x; }, std::views::iota(0));
  for (int i = 0; i < 100; ++i) EXPECT_EQ(results.next(), -i);
}

// behaviour: Executor/map-buffersize-infinite-several
TEST_F(ThreadExecutor, SeveralEndlessInputsAreMappedTogether) {
  auto results =
      executor.map({.buffersize = 2}, std::plus<>(), std::views::iota(0), std::views::iota(10));
  for (int i = 0; i < 100; ++i) EXPECT_EQ(results.next(), 10 + 2 * i);
}

// behaviour: Executor/map-buffersize-empty
TEST_F(ThreadExecutor, AnEmptyInputOrNoneGivesNothing) {
  auto same = [](int x) { return x; };
  for (std::optional<long long> buffersize : {std::optional<long long>(), {1}, {5}}) {
    std::vector<int> none;
    EXPECT_FALSE(executor.map({.buffersize = buffersize}, same, none).next());
    EXPECT_FALSE(executor.map({.buffersize = buffersize}, same).next());
  }
}

// behaviour: Executor/map-buffersize-fetches-no-more
TEST_F(ThreadExecutor, NoMoreIsFetchedThanTheBufferHolds) {
  for (long long buffersize : {1, 3}) {
    int fetched = 0;
    auto input = std::views::iota(0, 10) | std::views::transform([&](int x) {
                   ++fetched;
                   return x;
                 });
    auto results = executor.map(
        {.buffersize = buffersize}, [](int x) { return x; }, input);
    EXPECT_EQ(fetched, buffersize);
    EXPECT_EQ(results.next(), 0);
    EXPECT_EQ(fetched, buffersize + 1);
  }
}

// behaviour: Executor/shutdown-right-after-map
TEST_F(ThreadExecutor, ShutdownRightAfterAMapDoesNotHang) {
  std::atomic<int> ran{0};
  auto results = executor.map([&](int) { return ++ran; }, std::views::iota(0, 100));
  executor.shutdown();
  EXPECT_EQ(ran, 100);
}

// behaviour: Executor/releases-submitted
TEST_F(ThreadExecutor, CallableAndArgumentsAreReleasedAfterTheRun) {
  auto callable = std::make_shared<int>(1);
  auto argument = std::make_shared<int>(2);
  auto future = executor.submit([callable](const std::shared_ptr<int>& x) { return *x; }, argument);
  EXPECT_EQ(future.get(), 2);
  EXPECT_EQ(callable.use_count(), 1);
  EXPECT_EQ(argument.use_count(), 1);
  executor.submit([callable](const std::shared_ptr<int>& x) { return *x; }, argument);
  EXPECT_TRUE(eventually([&] { return callable.use_count() + argument.use_count() == 2; }));
}

// behaviour: Executor/releases-yielded-results
TEST_F(ThreadExecutor, AMapKeepsNothingOfResultsThatItGave) {
  for (long long chunksize : {1, 4}) {
    std::vector<std::weak_ptr<int>> given;
    auto results = executor.map(
        {.chunksize = chunksize}, [](int x) { return std::make_shared<int>(x); },
        std::views::iota(0, 8));
    for (std::shared_ptr<int> one : results) {
      EXPECT_TRUE(given.empty() || given.back().expired());
      given.emplace_back(one);
    }
    EXPECT_EQ(given.size(), 8U);
  }
}

// ---- shutdown

// behaviour: ExecutorShutdown/submit-after
TEST_F(ThreadExecutor, SubmittingAfterShutdownIsRefused) {
  executor.shutdown();
  EXPECT_THROW(executor.submit([] {}), cohort::InvalidStateError);
  EXPECT_THROW(executor.map([](int x) { return x; }, {1}), cohort::InvalidStateError);
  EXPECT_NO_THROW(executor.shutdown());
}

// behaviour: ExecutorShutdown/submit-during-program-end
TEST_F(ThreadExecutor, SubmittingWhenTheProgramEndsIsRefused) {
  for (bool used : {false, true}) {
    auto child = Process::forked([used] {
      auto* mine = new ThreadPoolExecutor(2);  // static objects go before exit hooks run
      if (used && kThreadsAfterFork) mine->submit([] {}).get();
      cohort::at_exit([mine] {
        try {
          mine->submit([] {});
        } catch (const cohort::InvalidStateError&) {
          ::_exit(7);
        }
      });
    });
    child.start();
    child.join();
    EXPECT_EQ(child.exitcode(), 7);
  }
}

// behaviour: ExecutorShutdown/pending-work-finishes
TEST_F(ThreadExecutor, WhatWasSubmittedHasResultsAfterShutdown) {
  std::vector<Future<int>> futures;
  for (int i = 0; i < 50; ++i) {
    futures.push_back(executor.submit([this, i] {
      gate.pass();
      return i;
    }));
  }
  gate.open();
  executor.shutdown();
  for (int i = 0; i < 50; ++i) {
    auto& future = futures[static_cast<std::size_t>(i)];
    ASSERT_TRUE(future.done());
    EXPECT_EQ(future.get(), i);
  }
}

// behaviour: ExecutorShutdown/cancel-just-before
TEST_F(ThreadExecutor, CancellingRightBeforeShutdownDoesNotHang) {
  ThreadPoolExecutor small(3);
  std::vector<Future<void>> futures;
  for (int i = 0; i < 6; ++i) futures.push_back(small.submit([this] { gate.pass(); }));
  EXPECT_TRUE(futures.back().cancel());
  gate.open();
  small.shutdown();
  EXPECT_TRUE(futures.back().cancelled());
  EXPECT_NO_THROW(futures.front().get());
}

// behaviour: ExecutorShutdown/scope
TEST_F(ThreadExecutor, LeavingTheScopeWaitsForTheWork) {
  std::atomic<int> ran{0};
  std::vector<Future<int>> futures;
  {
    ThreadPoolExecutor inner(2);
    for (int i = 0; i < 20; ++i) futures.push_back(inner.submit([&] { return ++ran; }));
  }
  EXPECT_EQ(ran, 20);
  for (const auto& future : futures) EXPECT_TRUE(future.done());
}

// Names of `count` threads at work at the same time.
std::set<std::string> names_of(ThreadPoolExecutor& pool, int count) {
  std::atomic<int> running{0};
  std::vector<Future<std::string>> futures;
  for (int i = 0; i < count; ++i) {
    futures.push_back(pool.submit([&] {
      ++running;
      EXPECT_TRUE(eventually([&] { return running == count; }));
      return own_name();
    }));
  }
  std::set<std::string> names;
  for (const auto& future : futures) names.insert(future.get());
  return names;
}

// behaviour: ExecutorShutdown/thread-names
TEST_F(ThreadExecutor, ThreadsAreCalledByThePrefixAndANumber) {
  ThreadPoolExecutor named({.max_workers = 3, .thread_name_prefix = "special"});
  EXPECT_EQ(names_of(named, 3), (std::set<std::string>{"special_0", "special_1", "special_2"}));
  ThreadPoolExecutor long_name({.max_workers = 1, .thread_name_prefix = "a-prefix-too-long"});
  EXPECT_EQ(names_of(long_name, 1), (std::set<std::string>{"a-prefix-too-_0"}));
  ThreadPoolExecutor one({.max_workers = 1});
  ThreadPoolExecutor other({.max_workers = 1});
  EXPECT_NE(names_of(one, 1), names_of(other, 1));
}

// ---- threads

// behaviour: ThreadPool/map-submits-eagerly
TEST_F(ThreadExecutor, MapSubmitsEverythingAtTheCall) {
  std::mutex mutex;
  std::vector<int> seen;
  auto record = [&](int x) {
    std::lock_guard guard(mutex);
    seen.push_back(x);
  };
  {
    ThreadPoolExecutor inner(2);
    auto results = inner.map(record, std::views::iota(0, 10));
    inner.shutdown();
  }
  std::ranges::sort(seen);
  EXPECT_TRUE(std::ranges::equal(seen, std::views::iota(0, 10)));
}

// behaviour: ThreadPool/default-size
TEST_F(ThreadExecutor, TheDefaultIsFourMoreThanTheCpusAndAtMostThirtyTwo) {
  ThreadPoolExecutor standard;
  EXPECT_EQ(standard.max_workers(), std::min<std::size_t>(32, cohort::cpu_count() + 4));
}

// behaviour: ThreadPool/idle-reuse
TEST_F(ThreadExecutor, OneIdleThreadServesCallAfterCall) {
  std::set<std::thread::id> threads;
  for (int i = 0; i < 200; ++i)
    threads.insert(executor.submit([] { return std::this_thread::get_id(); }).get());
  EXPECT_EQ(threads.size(), 1U);
}

// Submits itself again until it shall stop.
struct Restless {
  ThreadPoolExecutor& executor;
  const std::atomic<bool>& stop;
  void operator()() const {
    if (!stop) executor.submit(*this);
  }
};

// behaviour: ThreadPool/fork-while-busy
TEST_F(ThreadExecutor, ForkingWhileThreadsSubmitHangsNoChild) {
  std::atomic<bool> stop{false};
  ThreadPoolExecutor busy(2);
  busy.submit(Restless{busy, stop});
  std::vector<Process> children;
  for (int i = 0; i < 50; ++i) {
    children.push_back(Process::forked([&busy] {
      EXPECT_THROW(busy.submit([] {}), cohort::InvalidStateError);
      if (!kThreadsAfterFork) std::exit(testing::Test::HasFailure() ? 1 : 5);
      ThreadPoolExecutor own(1);
      int answer = own.submit([] { return testing::Test::HasFailure() ? 1 : 5; }).get();
      std::exit(answer);
    }));
    children.back().start();
  }
  for (auto& child : children) {
    EXPECT_TRUE(child.join_for(kPatience));
    EXPECT_EQ(child.exitcode(), 5);
  }
  stop = true;
}

// What the stacks of other threads refer to is no leak of a child that was forked without them.
class NoLeaksOfOthers {
 public:
#if defined(__SANITIZE_ADDRESS__)
  NoLeaksOfOthers() { __lsan_disable(); }
  ~NoLeaksOfOthers() { __lsan_enable(); }
#else
  NoLeaksOfOthers() {}
#endif
  NoLeaksOfOthers(const NoLeaksOfOthers&) = delete;
  NoLeaksOfOthers& operator=(const NoLeaksOfOthers&) = delete;
};

// behaviour: ThreadPool/fork-from-worker
TEST_F(ThreadExecutor, AProcessForkedByAWorkerEndsWell) {
  NoLeaksOfOthers no_leaks;
  auto code = executor.submit([this] {
    auto child = Process::forked([this] { executor.shutdown(); });
    child.start();
    child.join();
    return child.exitcode();
  });
  EXPECT_EQ(code.get(kPatience), 0);
  auto plain = executor.submit([] {
    pid_t pid = ::fork();
    if (pid == 0) std::exit(0);
    int status = -1;
    ::waitpid(pid, &status, 0);
    return status;
  });
  EXPECT_EQ(plain.get(kPatience), 0);
}

// ---- initializers

// behaviour: ExecutorInit/failure-breaks
// behaviour: ExecutorInit/failure-logged
TEST_F(ThreadExecutor, AnInitializerThatThrowsBreaksTheExecutor) {
  testing::internal::CaptureStderr();
  {
    ThreadPoolExecutor broken(
        {.max_workers = 2, .initializer = [] { throw std::domain_error("not today"); }});
    try {
      auto future = broken.submit([] { return 1; });
      EXPECT_THROW(future.get(kPatience), cohort::BrokenPool);
      EXPECT_THROW(future.get(), cohort::futures::BrokenThreadPool);
    } catch (const cohort::BrokenPool&) {
      // The thread was faster.
    }
    EXPECT_TRUE(eventually([&] {
      try {
        broken.submit([] { return 1; });
        return false;
      } catch (const cohort::futures::BrokenThreadPool& error) {
        EXPECT_THROW(std::rethrow_if_nested(error), std::domain_error);
        return true;
      }
    }));
  }
  std::string text = testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("std::domain_error"), std::string::npos) << text;
  EXPECT_NE(text.find("not today"), std::string::npos) << text;
}

}  // namespace
