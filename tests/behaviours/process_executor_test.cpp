#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cohort/futures.hpp>
#include <cohort/process_executor.hpp>
#include <cohort/shared.hpp>
#include <cohort/sync.hpp>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <numeric>
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
int product(int a, int b) { return a * b; }
int after(const Event& gate, int x) {
  gate.wait();
  return x;
}
int held(const Event& entered, const Event& gate, int x) {
  entered.set();
  gate.wait();
  return x;
}
void crash() { ::raise(SIGKILL); }
std::vector<int> numbers_up_to(int end) {
  std::vector<int> numbers(static_cast<std::size_t>(end));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}
std::vector<int> squares_up_to(int end) {
  auto numbers = numbers_up_to(end);
  for (int& x : numbers) x = x * x;
  return numbers;
}
std::vector<int> products_up_to(int end) {
  auto numbers = numbers_up_to(end);
  for (int& x : numbers) x = x * (end - x);
  return numbers;
}
template <class Results>
std::vector<int> all_of(Results&& results) {
  std::vector<int> all;
  while (auto x = results.next()) all.push_back(*x);
  return all;
}

// An argument or a result that does something as it is encoded or decoded.
enum class Trick {
  none,
  encode_throws,
  encode_crashes,
  decode_throws,
  decode_exits,
  decode_crashes
};
struct Tricky {
  Trick trick = Trick::none;
  int value = 0;
  template <class Archive>
  void save(Archive& archive) const {
    if (trick == Trick::encode_throws) throw std::domain_error("not encoded");
    if (trick == Trick::encode_crashes) ::raise(SIGSEGV);
    archive(trick, value);
  }
  template <class Archive>
  void load(Archive& archive) {
    archive(trick, value);
    if (trick == Trick::decode_throws) throw std::range_error("not decoded");
    if (trick == Trick::decode_exits) std::exit(1);
    if (trick == Trick::decode_crashes) ::raise(SIGSEGV);
  }
};
int value_of(const Tricky& tricky) { return tricky.value; }
Tricky tricky_of(Trick trick) { return {trick, 1}; }

// ::raise(SIGSEGV) is a crash like any other: no file of it.
rlimit no_core{0, 0};

class ProcessExecutorBehaviour : public PoolTest {
 protected:
  void SetUp() override {
    ::setrlimit(RLIMIT_CORE, &no_core);
    PoolTest::SetUp();
  }
  ProcessPoolOptions options(int workers) const {
    ProcessPoolOptions made;
    made.max_workers = workers;
    made.start_method = GetParam();
    return made;
  }
  // Of `future`, which must fail by its worker's death; the executor goes on.
  static void expect_only_death(ProcessPoolExecutor& executor, const Future<int>& future,
                                int exitcode) {
    try {
      future.get();
      ADD_FAILURE() << "the death was not reported";
    } catch (const cohort::WorkerDied& death) {
      EXPECT_EQ(death.exitcode(), exitcode);
    }
    EXPECT_EQ(executor.submit(square, 3).get(), 9);
  }
};
INSTANTIATE_TEST_SUITE_P(Every, ProcessExecutorBehaviour, kEveryMethod, method_name);

// ---- submit and map

// behaviour: Executor/submit
TEST_P(ProcessExecutorBehaviour, SubmitRunsTheCallAndTheFutureGivesItsResult) {
  ProcessPoolExecutor executor(options(2));
  EXPECT_EQ(executor.submit(product, 6, 7).get(), 42);
  auto nothing = executor.submit([](const Event& event) { event.set(); }, Event());
  nothing.get();
  EXPECT_EQ(nothing.exception(), nullptr);
}

// behaviour: Executor/map-order
TEST_P(ProcessExecutorBehaviour, MapWalksSeveralInputsInOrder) {
  ProcessPoolExecutor executor(options(2));
  auto falling = numbers_up_to(101) | std::views::reverse | std::views::take(100);
  auto rising = numbers_up_to(100);
  std::vector<int> descending(falling.begin(), falling.end());
  for (int& x : descending) EXPECT_GT(x, 0);
  EXPECT_EQ(all_of(executor.map(product, rising, descending)), products_up_to(100));
  EXPECT_EQ(all_of(executor.map({.chunksize = 7}, product, rising, descending)),
            products_up_to(100));
  EXPECT_EQ(all_of(executor.map(square, rising)), squares_up_to(100));
}

// behaviour: Executor/map-exception-in-turn
TEST_P(ProcessExecutorBehaviour, MapThrowsWhenTheFailingItemsTurnComes) {
  ProcessPoolExecutor executor(options(2));
  auto divide = [](int a, int b) {
    if (b == 0) throw std::domain_error("by zero");
    return a / b;
  };
  for (long long chunksize : {1, 2, 10}) {
    auto results = executor.map({.chunksize = chunksize}, divide, std::vector{1, 4, 6, 8},
                                std::vector{1, 2, 0, 4});
    EXPECT_EQ(results.next(), 1);
    EXPECT_EQ(results.next(), 2);
    EXPECT_THROW(results.next(), std::domain_error);
    EXPECT_EQ(results.next(), 2);
    EXPECT_EQ(results.next(), std::nullopt);
  }
}

// behaviour: Executor/map-timeout
TEST_P(ProcessExecutorBehaviour, MapGivesWhatIsThereInTimeAndThenThrows) {
  ProcessPoolExecutor executor(options(3));
  Event never;
  auto work = [](const Event& event, int x) {
    if (x == 2) event.wait();
    return x;
  };
  executor.submit(square, 1).get();
  // With a longer limit where the machine was too busy for the first two.
  bool in_time = false;
  for (auto limit = 20ms; !in_time && limit < 20s; limit *= 2) {
    auto results = executor.map({.timeout = limit}, cohort::bind(work, never), {0, 1, 2});
    std::vector<int> seen;
    try {
      while (auto x = results.next()) seen.push_back(*x);
      ADD_FAILURE() << "the limit has no effect";
    } catch (const cohort::TimeoutError&) {
    }
    in_time = seen == std::vector{0, 1};
    EXPECT_EQ(results.next(), std::nullopt);
    executor.kill_workers();
    executor = ProcessPoolExecutor(options(3));
  }
  EXPECT_TRUE(in_time);
}

// behaviour: Executor/map-timeout-thrown-by-callable
TEST_P(ProcessExecutorBehaviour, ATimeoutErrorOfTheFunctionIsItsItemsFailureOnly) {
  ProcessPoolExecutor executor(options(2));
  auto work = [](int x) {
    if (x == 1) throw cohort::TimeoutError("the function's own");
    return x;
  };
  for (auto limit : {std::optional<std::chrono::nanoseconds>(), {100s}}) {
    auto results = executor.map({.timeout = limit}, work, {0, 1, 2});
    EXPECT_EQ(results.next(), 0);
    try {
      results.next();
      FAIL();
    } catch (const cohort::TimeoutError& error) {
      EXPECT_NE(std::string(error.what()).find("the function's own"), std::string::npos);
    }
    EXPECT_EQ(results.next(), 2);
    EXPECT_EQ(results.next(), std::nullopt);
  }
}

// behaviour: Executor/map-buffersize-value
TEST_P(ProcessExecutorBehaviour, ABufferOfNothingIsRefused) {
  ProcessPoolExecutor executor(options(1));
  for (long long size : {0LL, -1LL}) {
    EXPECT_THROW(executor.map({.buffersize = size}, square, numbers_up_to(3)),
                 std::invalid_argument);
  }
}

// behaviour: Executor/map-buffersize-results
// behaviour: Executor/map-buffersize-several-inputs
TEST_P(ProcessExecutorBehaviour, WithABufferOfAnySizeTheResultsAreWholeAndInOrder) {
  ProcessPoolExecutor executor(options(2));
  auto rising = numbers_up_to(20);
  std::vector<int> falling(20);
  std::iota(falling.rbegin(), falling.rend(), 1);
  for (long long size : {1, 2, 19, 20, 21, 100}) {
    EXPECT_EQ(all_of(executor.map({.buffersize = size}, square, rising)), squares_up_to(20));
    EXPECT_EQ(all_of(executor.map({.buffersize = size}, product, rising, falling)),
              products_up_to(20));
    EXPECT_EQ(all_of(executor.map({.chunksize = 3, .buffersize = size}, product, rising, falling)),
              products_up_to(20));
  }
}

// behaviour: Executor/map-buffersize-infinite
// behaviour: Executor/map-buffersize-infinite-several
TEST_P(ProcessExecutorBehaviour, EndlessInputsCanBeMappedWithABuffer) {
  ProcessPoolExecutor executor(options(2));
  auto squares = executor.map({.buffersize = 2}, square, std::views::iota(0));
  auto products =
      executor.map({.buffersize = 3}, product, std::views::iota(0), std::views::iota(1));
  for (int i = 0; i < 30; ++i) {
    ASSERT_EQ(squares.next(), i * i);
    ASSERT_EQ(products.next(), i * (i + 1));
  }
}

// behaviour: Executor/map-buffersize-empty
TEST_P(ProcessExecutorBehaviour, MapOverNothingIsAtItsEnd) {
  ProcessPoolExecutor executor(options(1));
  const std::vector<int> none;
  EXPECT_EQ(executor.map(square, none).next(), std::nullopt);
  EXPECT_EQ(executor.map({.buffersize = 3}, square, none).next(), std::nullopt);
  EXPECT_EQ(executor.map(product, none, numbers_up_to(4)).next(), std::nullopt);
  EXPECT_EQ(executor.map({.buffersize = 3}, product, numbers_up_to(4), none).next(), std::nullopt);
  EXPECT_EQ(executor.map({.buffersize = 3}, square).next(), std::nullopt);
}

// behaviour: Executor/map-buffersize-fetches-no-more
TEST_P(ProcessExecutorBehaviour, JustABufferOfItemsIsFetchedAhead) {
  ProcessPoolExecutor executor(options(2));
  int fetched = 0;
  auto counted = std::views::iota(0) | std::views::transform([&](int x) {
                   ++fetched;
                   return x;
                 });
  auto results = executor.map({.buffersize = 5}, square, counted);
  EXPECT_EQ(fetched, 5);
  EXPECT_EQ(results.next(), 0);
  EXPECT_LE(fetched, 6);
}

// behaviour: Executor/shutdown-right-after-map
TEST_P(ProcessExecutorBehaviour, AShutdownRightAfterAMapFinishesIt) {
  ProcessPoolExecutor executor(options(2));
  auto results = executor.map(square, numbers_up_to(30));
  executor.shutdown();
  EXPECT_EQ(all_of(results), squares_up_to(30));
}

// ---- shutdown

// behaviour: ExecutorShutdown/submit-after
TEST_P(ProcessExecutorBehaviour, NothingIsTakenAfterAShutdown) {
  ProcessPoolExecutor executor(options(1));
  executor.shutdown();
  EXPECT_THROW(executor.submit(square, 1), cohort::InvalidStateError);
  EXPECT_THROW(executor.map(square, {1}), cohort::InvalidStateError);
  executor.shutdown();
}

// behaviour: ExecutorShutdown/submit-during-program-end
TEST(ProcessExecutorAtExit, ASubmitWhileTheProgramEndsIsRefused) {
  std::FILE* program = ::popen(COHORT_TEST_PROGRAMS_DIR "/executor_at_exit 2>&1", "r");
  ASSERT_NE(program, nullptr);
  char output[512]{};
  auto length = std::fread(output, 1, sizeof output - 1, program);
  EXPECT_EQ(std::string(output, length), "49\nrefused\n");
  EXPECT_EQ(::pclose(program), 0);
}

// behaviour: ExecutorShutdown/pending-work-finishes
TEST_P(ProcessExecutorBehaviour, AShutdownLetsFiftyWaitingTasksFinish) {
  ProcessPoolExecutor executor(options(2));
  Event gate;
  std::vector<Future<int>> futures;
  for (int i = 0; i < 50; ++i) futures.push_back(executor.submit(after, gate, i));
  executor.shutdown({.wait = false});
  gate.set();
  executor.shutdown();
  for (int i = 0; i < 50; ++i) {
    EXPECT_TRUE(futures[static_cast<std::size_t>(i)].done());
    EXPECT_EQ(futures[static_cast<std::size_t>(i)].get(), i);
  }
}

// behaviour: ExecutorShutdown/cancel-just-before
TEST_P(ProcessExecutorBehaviour, ACancelRightBeforeAShutdownDoesNotHang) {
  ProcessPoolExecutor executor(options(1));
  Event entered;
  Event gate;
  auto running = executor.submit(held, entered, gate, 1);
  ASSERT_TRUE(entered.wait_for(20s));
  auto waiting = executor.submit(square, 2);
  EXPECT_FALSE(running.cancel());
  EXPECT_TRUE(waiting.cancel());
  gate.set();
  executor.shutdown();
  EXPECT_EQ(running.get(), 1);
  EXPECT_THROW(waiting.get(), cohort::CancelledError);
}

// behaviour: ExecutorShutdown/processes-end
TEST_P(ProcessExecutorBehaviour, WorkersAreMadeAsNeededAndEndWithTheShutdown) {
  ProcessPoolExecutor executor(options(5));
  EXPECT_TRUE(cohort::active_children().empty());
  Event gate;
  std::vector<Future<int>> futures;
  for (int i = 0; i < 3; ++i) futures.push_back(executor.submit(after, gate, i));
  EXPECT_TRUE(eventually([] { return cohort::active_children().size() == 3; }));
  gate.set();
  executor.shutdown();
  EXPECT_TRUE(cohort::active_children().empty());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(futures[static_cast<std::size_t>(i)].get(), i);
}

// behaviour: ExecutorShutdown/scope
TEST_P(ProcessExecutorBehaviour, TheEndOfTheScopeWaitsForTheWork) {
  std::vector<Future<int>> futures;
  {
    ProcessPoolExecutor executor(options(2));
    for (int i = 0; i < 100; ++i) futures.push_back(executor.submit(square, i));
  }
  EXPECT_TRUE(cohort::active_children().empty());
  for (int i = 0; i < 100; ++i) EXPECT_EQ(futures[static_cast<std::size_t>(i)].get(), i * i);
}

// behaviour: ExecutorShutdown/no-wait-with-task-limit-and-failure
TEST_P(ProcessExecutorBehaviour, AShutdownWithoutWaitBearsLimitsAndFailures) {
  testing::internal::CaptureStderr();
  for (bool first : {true, false}) {
    auto two = options(2);
    two.max_tasks_per_child = 1;
    ProcessPoolExecutor executor(two);
    auto work = [](bool fails) {
      if (fails) throw std::domain_error("as asked");
    };
    auto one = executor.submit(work, first);
    auto other = executor.submit(work, !first);
    executor.shutdown({.wait = false});
    EXPECT_THROW((first ? one : other).get(), std::domain_error);
    (first ? other : one).get();
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

// ---- the process kind

// behaviour: ProcessPool/chunk-sizes
TEST_P(ProcessExecutorBehaviour, ChunksOfEverySizeAreRight) {
  ProcessPoolExecutor executor(options(2));
  for (long long size : {1, 3, 6, 30, 31, 100}) {
    EXPECT_EQ(all_of(executor.map({.chunksize = size}, square, numbers_up_to(30))),
              squares_up_to(30));
  }
  for (long long size : {0LL, -1LL})
    EXPECT_THROW(executor.map({.chunksize = size}, square, {1}), std::invalid_argument);
}

// behaviour: ProcessPool/saturation
TEST_P(ProcessExecutorBehaviour, BlockedTasksStartNoMoreThanTheAllowedWorkers) {
  ProcessPoolExecutor executor(options(3));
  Event gate;
  std::vector<Future<int>> futures;
  for (int i = 0; i < 15 * 3; ++i) futures.push_back(executor.submit(after, gate, i));
  EXPECT_TRUE(eventually([] { return cohort::active_children().size() == 3; }));
  EXPECT_EQ(executor.stats().size(), 3U);
  gate.set();
  for (const auto& future : futures) {
    future.get();
    EXPECT_EQ(cohort::active_children().size(), 3U);
  }
}

// behaviour: ProcessPool/idle-reuse-one
TEST_P(ProcessExecutorBehaviour, TasksOneByOneNeedOneWorker) {
  ProcessPoolExecutor executor(options(4));
  std::set<pid_t> pids;
  for (int i = 0; i < 20; ++i) pids.insert(executor.submit(::getpid).get());
  EXPECT_EQ(pids.size(), 1U);
  EXPECT_TRUE(eventually([] { return cohort::active_children().size() == 1; }));
}

// behaviour: ProcessPool/task-limit
TEST_P(ProcessExecutorBehaviour, AfterThreeTasksTheFourthRunsInANewProcess) {
  auto one = options(1);
  one.max_tasks_per_child = 3;
  ProcessPoolExecutor executor(one);
  std::vector<pid_t> pids;
  for (int i = 0; i < 4; ++i) pids.push_back(executor.submit(::getpid).get());
  EXPECT_EQ(pids[0], pids[1]);
  EXPECT_EQ(pids[0], pids[2]);
  EXPECT_NE(pids[0], pids[3]);
  EXPECT_TRUE(eventually([&] { return !send_signal(pids[0], 0); }));
}

// behaviour: ProcessPool/task-limit-backlog
TEST_P(ProcessExecutorBehaviour, ABacklogIsDoneByWorkersThatLeaveAtTheirLimit) {
  auto two = options(2);
  two.max_tasks_per_child = 2;
  ProcessPoolExecutor executor(two);
  std::vector<Future<int>> futures;
  for (int i = 0; i < 25; ++i) futures.push_back(executor.submit(square, i));
  for (int i = 0; i < 25; ++i) EXPECT_EQ(futures[static_cast<std::size_t>(i)].get(), i * i);
}

// behaviour: ProcessPool/task-limit-shutdown-no-wait
TEST_P(ProcessExecutorBehaviour, WorkersAreReplacedAtTheirLimitAlsoAfterAShutdownWithoutWait) {
  auto two = options(2);
  two.max_tasks_per_child = 1;
  ProcessPoolExecutor executor(two);
  Event gate;
  std::vector<Future<int>> futures;
  for (int i = 0; i < 10; ++i) futures.push_back(executor.submit(after, gate, i));
  executor.shutdown({.wait = false});
  gate.set();
  for (int i = 0; i < 10; ++i) EXPECT_EQ(futures[static_cast<std::size_t>(i)].get(), i);
}

// behaviour: ProcessPool/task-limit-early-shutdown
TEST_P(ProcessExecutorBehaviour, AnEarlyShutdownFinishesTasksOfOneWorkerEach) {
  auto three = options(3);
  three.max_tasks_per_child = 1;
  ProcessPoolExecutor executor(three);
  std::vector<Future<int>> futures;
  for (int i = 0; i < 6; ++i) futures.push_back(executor.submit(square, i));
  executor.shutdown();
  for (int i = 0; i < 6; ++i) EXPECT_EQ(futures[static_cast<std::size_t>(i)].get(), i * i);
}

// No descriptor can be had while this lives.
class NoDescriptors {
 public:
  NoDescriptors() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    rlimit tight = before_;
    tight.rlim_cur = 3;
    ::setrlimit(RLIMIT_NOFILE, &tight);
  }
  ~NoDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  NoDescriptors(const NoDescriptors&) = delete;
  NoDescriptors& operator=(const NoDescriptors&) = delete;

 private:
  rlimit before_{};
};

// behaviour: ProcessPool/replacement-fails
TEST_P(ProcessExecutorBehaviour, WithoutAnyWorkerToBeHadTheExecutorBreaks) {
  ProcessPoolExecutor executor(options(1));
  Event entered;
  Event gate;
  auto running = executor.submit(held, entered, gate, 1);
  ASSERT_TRUE(entered.wait_for(20s));
  auto stranded = executor.submit(square, 3);
  ASSERT_TRUE(eventually([&] { return executor.stats()[0].pid != 0; }));
  {
    auto worker = cohort::os::Pidfd::open(executor.stats()[0].pid);
    NoDescriptors now;
    worker.send(SIGKILL);
    EXPECT_THROW(running.get(), cohort::WorkerDied);
    EXPECT_THROW(stranded.get(), cohort::BrokenPool);
  }
  EXPECT_THROW(executor.submit(square, 3), cohort::BrokenPool);
  executor.shutdown();
}

// No thread can be had while this lives: their stacks would be larger than the address space.
class NoThreads {
 public:
  NoThreads() {
    ::pthread_attr_init(&before_);
    ::pthread_getattr_default_np(&before_);
    pthread_attr_t huge;
    ::pthread_attr_init(&huge);
    ::pthread_attr_setstacksize(&huge, std::size_t{1} << 47);
    refused_ = ::pthread_setattr_default_np(&huge);
    ::pthread_attr_destroy(&huge);
  }
  ~NoThreads() {
    ::pthread_setattr_default_np(&before_);
    ::pthread_attr_destroy(&before_);
  }
  NoThreads(const NoThreads&) = delete;
  NoThreads& operator=(const NoThreads&) = delete;
  int refused() const { return refused_; }

 private:
  pthread_attr_t before_;
  int refused_ = 0;
};

// behaviour: ProcessPool/helper-thread-cannot-start
TEST_P(ProcessExecutorBehaviour, WithoutAThreadOfItsOwnItThrowsInsteadOfHanging) {
  {
    NoThreads now;
    ASSERT_EQ(now.refused(), 0);
    EXPECT_THROW(ProcessPoolExecutor(options(1)), std::system_error);
  }
  ProcessPoolExecutor executor(options(1));
  {
    NoThreads now;
    EXPECT_THROW(executor.submit(square, 3), std::system_error);
  }
  EXPECT_EQ(executor.submit(square, 3).get(), 9);
  executor.shutdown();
}

// behaviour: ProcessPool/terminate-unstarted
TEST_P(ProcessExecutorBehaviour, EndingWorkersThatWereNeverStartedIsNothing) {
  ProcessPoolExecutor one(options(2));
  one.terminate_workers();
  ProcessPoolExecutor other(options(2));
  other.kill_workers();
}

// behaviour: ProcessPool/terminate-stops-pool
TEST_P(ProcessExecutorBehaviour, AnExecutorWhoseWorkersWereEndedTakesNothing) {
  for (bool kill : {true, false}) {
    ProcessPoolExecutor executor(options(1));
    pid_t worker = executor.submit(::getpid).get();
    Event entered;
    Event gate;
    auto running = executor.submit(held, entered, gate, 1);
    ASSERT_TRUE(entered.wait_for(20s));
    auto waiting = executor.submit(square, 3);
    kill ? executor.kill_workers() : executor.terminate_workers();
    EXPECT_THROW(executor.submit(square, 3), cohort::InvalidStateError);
    EXPECT_THROW(running.get(), cohort::BrokenPool);
    EXPECT_THROW(waiting.get(), cohort::BrokenPool);
    EXPECT_TRUE(eventually([&] { return !send_signal(worker, 0); }));
  }
}

// ---- initializers

void no_such_table() { throw std::out_of_range("no such table"); }

// behaviour: ExecutorInit/failure-breaks
// behaviour: ExecutorInit/failure-logged
TEST_P(ProcessExecutorBehaviour, AnInitializerThatThrowsBreaksItAndIsTheCauseGiven) {
  auto two = options(2);
  two.initializer = no_such_table;
  ProcessPoolExecutor executor(two);
  std::vector<Future<int>> pending;
  try {
    for (int i = 0; i < 5; ++i) pending.push_back(executor.submit(square, i));
  } catch (const cohort::BrokenPool&) {
  }
  ASSERT_FALSE(pending.empty());
  for (const auto& future : pending) {
    try {
      future.get();
      ADD_FAILURE() << "it works";
    } catch (const cohort::BrokenPool& broken) {
      EXPECT_NE(std::string(broken.what()).find("no such table"), std::string::npos);
      EXPECT_THROW(std::rethrow_if_nested(broken), std::out_of_range);
    }
  }
  EXPECT_THROW(executor.submit(square, 3), cohort::BrokenPool);
}

// ---- odd deaths: only the call that it happens to fails, and the executor goes on

// behaviour: Deadlock/argument-serialization-throws
TEST_P(ProcessExecutorBehaviour, AnArgumentThatFailsToEncodeFailsItsFuture) {
  ProcessPoolExecutor executor(options(1));
  auto bad = executor.submit(value_of, Tricky{Trick::encode_throws});
  EXPECT_THROW(bad.get(), std::domain_error);
  EXPECT_EQ(executor.submit(value_of, Tricky{Trick::none, 5}).get(), 5);
  auto last = executor.submit(value_of, Tricky{Trick::encode_throws});
  executor.shutdown();
  EXPECT_THROW(last.get(), std::domain_error);
}

// behaviour: Deadlock/argument-deserialization-exits
TEST_P(ProcessExecutorBehaviour, AWorkerThatExitsWhileItDecodesFailsItsCallOnly) {
  ProcessPoolExecutor executor(options(1));
  expect_only_death(executor, executor.submit(value_of, Tricky{Trick::decode_exits}), 1);
}

// behaviour: Deadlock/argument-deserialization-throws
TEST_P(ProcessExecutorBehaviour, AnArgumentThatFailsToDecodeFailsItsFuture) {
  ProcessPoolExecutor executor(options(1));
  pid_t worker = executor.submit(::getpid).get();
  auto bad = executor.submit(value_of, Tricky{Trick::decode_throws});
  EXPECT_THROW(bad.get(), std::range_error);
  EXPECT_EQ(executor.submit(::getpid).get(), worker);
}

// behaviour: Deadlock/argument-deserialization-crashes
TEST_P(ProcessExecutorBehaviour, AWorkerThatCrashesWhileItDecodesFailsItsCallOnly) {
  ProcessPoolExecutor executor(options(1));
  expect_only_death(executor, executor.submit(value_of, Tricky{Trick::decode_crashes}), -SIGSEGV);
}

// behaviour: Deadlock/task-throws
TEST_P(ProcessExecutorBehaviour, WhatATaskThrowsReachesItsFutureWithItsType) {
  ProcessPoolExecutor executor(options(1));
  auto bad = executor.submit([](int x) -> int { throw std::length_error(std::to_string(x)); }, 7);
  executor.shutdown();
  try {
    bad.get();
    FAIL();
  } catch (const std::length_error& error) {
    EXPECT_NE(std::string(error.what()).find('7'), std::string::npos);
  }
}

// behaviour: Deadlock/result-serialization-crashes
TEST_P(ProcessExecutorBehaviour, AWorkerThatCrashesWhileItEncodesFailsItsCallOnly) {
  ProcessPoolExecutor executor(options(1));
  auto bad = executor.submit(tricky_of, Trick::encode_crashes);
  try {
    bad.get();
    FAIL();
  } catch (const cohort::WorkerDied& death) {
    EXPECT_EQ(death.signal(), SIGSEGV);
  }
  EXPECT_EQ(executor.submit(tricky_of, Trick::none).get().value, 1);
}

// behaviour: Deadlock/result-serialization-throws
TEST_P(ProcessExecutorBehaviour, AResultThatFailsToEncodeFailsItsFuture) {
  ProcessPoolExecutor executor(options(1));
  auto bad = executor.submit(tricky_of, Trick::encode_throws);
  EXPECT_THROW(bad.get(), std::domain_error);
  EXPECT_EQ(executor.submit(square, 3).get(), 9);
}

// behaviour: Deadlock/result-deserialization-throws
TEST_P(ProcessExecutorBehaviour, AResultThatFailsToDecodeFailsItsFuture) {
  ProcessPoolExecutor executor(options(1));
  auto bad = executor.submit(tricky_of, Trick::decode_throws);
  std::atomic<bool> told{false};
  bad.add_done_callback(
      [&](const Future<Tricky>& future) { told = future.exception() != nullptr; });
  EXPECT_TRUE(eventually([&] { return told.load(); }));
  EXPECT_THROW(bad.get(), std::range_error);
  EXPECT_EQ(executor.submit(square, 3).get(), 9);
}

// behaviour: Deadlock/crash-after-shutdown
TEST_P(ProcessExecutorBehaviour, ACrashAfterAShutdownEndsItWithTheFutureFailed) {
  ProcessPoolExecutor executor(options(2));
  Event gate;
  auto doomed = executor.submit(
      [](const Event& event) {
        event.wait();
        crash();
      },
      gate);
  executor.shutdown({.wait = false});
  gate.set();
  executor.shutdown();
  ASSERT_TRUE(doomed.done());
  EXPECT_THROW(doomed.get(), cohort::WorkerDied);
}

// behaviour: Deadlock/serialization-error-after-shutdown
TEST_P(ProcessExecutorBehaviour, AFailedEncodingIsToldAfterAShutdownWithoutWait) {
  Future<int> bad;
  {
    ProcessPoolExecutor executor(options(2));
    executor.submit(square, 3).get();
    bad = executor.submit(value_of, Tricky{Trick::encode_throws});
    executor.shutdown({.wait = false});
    EXPECT_THROW(bad.get(20s), std::domain_error);
  }
  EXPECT_TRUE(cohort::active_children().empty());
}

// behaviour: Deadlock/crash-with-big-data
TEST_P(ProcessExecutorBehaviour, ACrashAmongLargeArgumentsBlocksNobody) {
  ProcessPoolExecutor executor(options(1));
  const std::vector<char> large(1'000'000, 'x');
  auto work = [](const std::vector<char>& data, bool crashes) {
    if (crashes) crash();
    return data.size();
  };
  std::vector<Future<std::size_t>> futures;
  for (int i = 0; i < 20; ++i) futures.push_back(executor.submit(work, large, i == 3));
  for (int i = 0; i < 20; ++i) {
    const auto& future = futures[static_cast<std::size_t>(i)];
    if (i == 3) {
      EXPECT_THROW(future.get(), cohort::WorkerDied);
    } else {
      EXPECT_EQ(future.get(), large.size());
    }
  }
}

// behaviour: Deadlock/wakeup-pipe-full
TEST_P(ProcessExecutorBehaviour, AHundredSubmissionsNeedNotWaitForAWorkerThatIsSlowToStart) {
  Event gate;
  auto one = options(1);
  one.initializer = cohort::bind([](const Event& event) { event.wait(); }, gate);
  ProcessPoolExecutor executor(one);
  std::vector<Future<int>> futures;
  for (int i = 0; i < 100; ++i) futures.push_back(executor.submit(square, i));
  for (const auto& future : futures) EXPECT_FALSE(future.done());
  gate.set();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(futures[static_cast<std::size_t>(i)].get(), i * i);
}

}  // namespace
