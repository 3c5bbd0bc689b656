// Executors of threads beyond the table of behaviours.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cohort/futures.hpp>
#include <cohort/process.hpp>
#include <memory>
#include <optional>
#include <ranges>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
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

class ThreadPoolTest : public Watched {};

TEST_F(ThreadPoolTest, TheResultIsAValueWhateverTheCallReturns) {
  ThreadPoolExecutor executor(1);
  int x = 3;
  auto future = executor.submit([&]() -> int& { return x; });
  static_assert(std::is_same_v<decltype(future), Future<int>>);
  EXPECT_EQ(future.get(), 3);
}

TEST_F(ThreadPoolTest, ArgumentsAreCopiedMovedOrReferredTo) {
  ThreadPoolExecutor executor(1);
  EXPECT_EQ(
      executor.submit([](std::unique_ptr<int> p) { return *p; }, std::make_unique<int>(4)).get(),
      4);
  EXPECT_EQ(executor
                .submit(
                    [](std::string& s) {
                      s += "!";
                      return s;
                    },
                    std::string("hey"))
                .get(),
            "hey!");
  int outside = 1;
  executor.submit([](int& n) { n = 2; }, std::ref(outside)).get();
  EXPECT_EQ(outside, 2);
  struct Text {
    std::string text;
    std::size_t size() const { return text.size(); }
  };
  EXPECT_EQ(executor.submit(&Text::size, Text{"four"}).get(), 4U);
}

TEST_F(ThreadPoolTest, ACallableMayOnlyMoveAndMayChange) {
  ThreadPoolExecutor executor(2);
  EXPECT_EQ(executor.submit([p = std::make_unique<int>(6)] { return *p; }).get(), 6);
  EXPECT_EQ(executor.submit([n = 1]() mutable { return ++n; }).get(), 2);
  int sum = 0;
  for (int x : executor.map([p = std::make_unique<int>(10)](int n) { return *p + n; }, {1, 2}))
    sum += x;
  EXPECT_EQ(sum, 23);
  for (int x : executor.map([n = 0](int k) mutable { return n += k; }, {1, 2})) sum += x;
  EXPECT_EQ(sum, 26);
}

TEST_F(ThreadPoolTest, MapServesFunctionsThatChangeTheirItem) {
  ThreadPoolExecutor executor(2);
  std::vector<std::string> words{"a", "b"};
  std::string all;
  for (const std::string& word : executor.map([](std::string& s) { return s += "!"; }, words))
    all += word;
  EXPECT_EQ(all, "a!b!");
  EXPECT_EQ(words[0], "a");
}

TEST_F(ThreadPoolTest, AnExceptionIsTheVeryObject) {
  ThreadPoolExecutor executor(1);
  std::atomic<const std::exception*> thrown{nullptr};
  auto future = executor.submit([&]() -> int {
    try {
      throw std::out_of_range("far");
    } catch (const std::exception& error) {
      thrown = &error;
      throw;
    }
  });
  try {
    future.get();
    FAIL();
  } catch (const std::exception& error) {
    EXPECT_EQ(&error, thrown.load());
  }
}

TEST_F(ThreadPoolTest, NoMoreThreadsAreMadeThanAllowed) {
  ThreadPoolExecutor executor(3);
  std::atomic<int> at_once{0};
  std::atomic<int> most{0};
  auto count = [&](int) {
    int now = ++at_once;
    int seen = most;
    while (seen < now && !most.compare_exchange_weak(seen, now)) {
    }
    std::this_thread::yield();
    --at_once;
    return std::this_thread::get_id();
  };
  std::set<std::thread::id> threads;
  for (auto id : executor.map(count, std::views::iota(0, 300))) threads.insert(id);
  EXPECT_LE(threads.size(), 3U);
  EXPECT_LE(most, 3);
}

TEST_F(ThreadPoolTest, CallsThatWaitForEachOtherRunTogether) {
  ThreadPoolExecutor executor(8);
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> arrived{0};
    std::vector<Future<void>> futures;
    for (int i = 0; i < 8; ++i) {
      futures.push_back(executor.submit([&] {
        ++arrived;
        EXPECT_TRUE(eventually([&] { return arrived == 8; }));
      }));
    }
    for (const auto& future : futures) future.get();
  }
}

TEST_F(ThreadPoolTest, ACallbackMayWaitForAnotherCallOfItsExecutor) {
  for (int round = 0; round < 100; ++round) {
    Promise<void> gate;
    Promise<int> result;
    ThreadPoolExecutor executor(2);
    auto first = executor.submit([&] { gate.future().wait(); });
    first.add_done_callback([&] { result.set_value(executor.submit([] { return 3; }).get()); });
    gate.set_value();
    EXPECT_EQ(result.future().get(kPatience), 3);
  }
}

TEST_F(ThreadPoolTest, ACallMaySubmitAndWaitWhenThereIsAnotherThread) {
  ThreadPoolExecutor executor(2);
  auto outer = executor.submit([&] { return executor.submit([] { return 2; }).get() + 1; });
  EXPECT_EQ(outer.get(kPatience), 3);
}

TEST_F(ThreadPoolTest, ManyThreadsSubmitAtOnce) {
  ThreadPoolExecutor executor(4);
  std::atomic<long> sum{0};
  std::vector<std::thread> submitters;
  for (int t = 0; t < 4; ++t) {
    submitters.emplace_back([&] {
      std::vector<Future<void>> futures;
      for (int i = 0; i < 2000; ++i) futures.push_back(executor.submit([&sum] { ++sum; }));
      cohort::futures::wait(futures);
    });
  }
  for (auto& submitter : submitters) submitter.join();
  EXPECT_EQ(sum, 8000);
}

TEST_F(ThreadPoolTest, CancellingRacesWithRunningAndOneOfThemWins) {
  ThreadPoolExecutor executor(2);
  std::atomic<int> ran{0};
  int cancelled = 0;
  std::vector<Future<void>> futures;
  for (int i = 0; i < 2000; ++i) {
    futures.push_back(executor.submit([&ran] { ++ran; }));
    if (futures.back().cancel()) ++cancelled;
  }
  executor.shutdown();
  EXPECT_EQ(ran + cancelled, 2000);
  for (const auto& future : futures) EXPECT_TRUE(future.done());
}

TEST_F(ThreadPoolTest, ACancelledCallLetsGoOfItsArgumentsAtOnce) {
  Promise<void> gate;
  ThreadPoolExecutor executor(1);
  auto busy = executor.submit([&] { gate.future().wait(); });
  auto token = std::make_shared<int>(1);
  auto queued = executor.submit([](const std::shared_ptr<int>&) {}, token);
  EXPECT_TRUE(queued.cancel());
  EXPECT_EQ(token.use_count(), 1);
  gate.set_value();
}

TEST_F(ThreadPoolTest, ShutdownWithoutWaitingLetsTheWorkGoOn) {
  Promise<void> gate;
  ThreadPoolExecutor executor(1);
  auto busy = executor.submit([&] { gate.future().wait(); });
  auto queued = executor.submit([] { return 2; });
  executor.shutdown({.wait = false});
  EXPECT_FALSE(busy.done());
  gate.set_value();
  EXPECT_EQ(queued.get(kPatience), 2);
}

TEST_F(ThreadPoolTest, ShutdownThatCancelsLeavesTheRunningCallAlone) {
  Promise<void> gate;
  ThreadPoolExecutor executor(1);
  auto busy = executor.submit([&] { gate.future().wait(); });
  auto queued = executor.submit([] {});
  ASSERT_TRUE(eventually([&] { return busy.running(); }));
  executor.shutdown({.wait = false, .cancel_futures = true});
  EXPECT_TRUE(queued.cancelled());
  EXPECT_FALSE(busy.done());
  gate.set_value();
  executor.shutdown();
  EXPECT_NO_THROW(busy.get());
}

TEST_F(ThreadPoolTest, SeveralThreadsMayShutItDown) {
  for (int round = 0; round < 20; ++round) {
    ThreadPoolExecutor executor(3);
    std::atomic<int> ran{0};
    for (int i = 0; i < 10; ++i) executor.submit([&] { ++ran; });
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) {
      threads.emplace_back([&] {
        executor.shutdown();
        EXPECT_EQ(ran, 10);
      });
    }
    for (auto& thread : threads) thread.join();
  }
}

TEST_F(ThreadPoolTest, ACallMayShutItsExecutorDown) {
  ThreadPoolExecutor executor(2);
  auto future = executor.submit([&] {
    executor.shutdown();
    return 1;
  });
  EXPECT_EQ(future.get(kPatience), 1);
  EXPECT_THROW(executor.submit([] {}), cohort::InvalidStateError);
}

TEST_F(ThreadPoolTest, AMovedExecutorGoesOn) {
  ThreadPoolExecutor first(1);
  ThreadPoolExecutor second = std::move(first);
  EXPECT_EQ(second.submit([] { return 1; }).get(), 1);
  EXPECT_THROW(first.submit([] {}), cohort::InvalidStateError);  // NOLINT(bugprone-use-after-move)
}

TEST_F(ThreadPoolTest, TheInitializerRunsOnceInEachThread) {
  std::atomic<int> initialized{0};
  static thread_local int mine = 0;
  ThreadPoolExecutor executor({.max_workers = 2, .initializer = [&] {
                                 ++initialized;
                                 ++mine;
                               }});
  for (int seen : executor.map([](int) { return mine; }, std::views::iota(0, 100)))
    EXPECT_EQ(seen, 1);
  EXPECT_GE(initialized, 1);
  EXPECT_LE(initialized, 2);
}

TEST_F(ThreadPoolTest, LessThanOneWorkerIsRefused) {
  EXPECT_THROW(ThreadPoolExecutor(0), std::invalid_argument);
  EXPECT_THROW(ThreadPoolExecutor(-3), std::invalid_argument);
  EXPECT_THROW(ThreadPoolExecutor({.max_workers = 0}), std::invalid_argument);
}

TEST_F(ThreadPoolTest, ACopyInAForkedChildIsInert) {
  auto executor = std::make_unique<ThreadPoolExecutor>(2);
  executor->submit([] {}).get();
  auto check = [&] {
    try {
      executor->submit([] {});
      return 1;
    } catch (const cohort::InvalidStateError&) {
    }
    executor->shutdown();
    executor.reset();
    if (!kThreadsAfterFork) return 0;
    ThreadPoolExecutor own(1);
    return own.submit([] { return 0; }).get();
  };
  auto child = Process::forked([&] { std::exit(check()); });
  child.start();
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
  pid_t pid = ::fork();
  if (pid == 0) ::_exit(check());
  int status = -1;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(executor->submit([] { return 1; }).get(), 1);
}

TEST_F(ThreadPoolTest, TheEndOfAProcessWaitsForItsExecutors) {
  auto channel = Channel::make();
  auto child = Process::forked([&] {
    // Not destroyed: that would wait, too.
    auto& executor = *new ThreadPoolExecutor(1);
    for (int i = 0; i < 10; ++i) executor.submit([&channel, i] { channel.send(i); });
  });
  child.start();
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(channel.receive<int>(), i);
}

TEST_F(ThreadPoolTest, ALimitBeyondTheClockIsNoLimit) {
  ThreadPoolExecutor executor(1);
  auto results =
      executor.map({.timeout = std::chrono::nanoseconds::max()}, [](int x) { return x; }, {1});
  EXPECT_EQ(results.next(std::chrono::hours::max()), 1);
  EXPECT_EQ(executor.submit([] { return 1; }).get(std::chrono::hours::max()), 1);
}

}  // namespace
