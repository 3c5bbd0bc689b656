#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cohort/pool.hpp>
#include <cohort/sync.hpp>
#include <cohort/thread_executor.hpp>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <tuple>
#include <vector>

#include "pool_fixture.hpp"

namespace {

using namespace pool_tests;
using cohort::Pool;

int square(int x) { return x * x; }
int product(int a, int b) { return a * b; }
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
void append_pid(const std::string& path, const std::string& mark) {
  std::string line = mark + std::to_string(::getpid()) + "\n";
  int fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  (void)!::write(fd, line.data(), line.size());
  ::close(fd);
}
std::vector<std::string> lines_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istream_iterator<std::string>(file), std::istream_iterator<std::string>()};
}

struct Stubborn {
  bool refuses = false;
  template <class Archive>
  void save(Archive& archive) const {
    if (refuses) throw std::runtime_error("no, I stay here");
    archive(refuses);
  }
  template <class Archive>
  void load(Archive& archive) {
    archive(refuses);
  }
};

class PoolBehaviour : public PoolTest {};
INSTANTIATE_TEST_SUITE_P(Every, PoolBehaviour, kEveryMethod, method_name);

// behaviour: Pool/map-order
TEST_P(PoolBehaviour, MapKeepsTheOrderOfItsInput) {
  Pool pool(options(4));
  EXPECT_EQ(pool.map(square, numbers_up_to(10)), squares_up_to(10));
  EXPECT_EQ(pool.map({.chunksize = 20}, square, numbers_up_to(100)), squares_up_to(100));
  EXPECT_EQ(pool.map({.chunksize = 7}, square, numbers_up_to(100)), squares_up_to(100));
}

// behaviour: Pool/starmap
TEST_P(PoolBehaviour, StarmapSpreadsTuplesOverTheParameters) {
  Pool pool(options(2));
  std::vector<std::tuple<int, int>> tuples;
  std::vector<int> expected;
  for (int i = 0; i < 100; ++i) {
    tuples.emplace_back(i, 100 - i);
    expected.push_back(i * (100 - i));
  }
  EXPECT_EQ(pool.starmap(product, tuples), expected);
  EXPECT_EQ(pool.starmap({.chunksize = 20}, product, tuples), expected);
}

// behaviour: Pool/starmap-async
TEST_P(PoolBehaviour, StarmapAsyncGivesTheSameThroughItsResult) {
  Pool pool(options(2));
  std::vector<std::tuple<int, int>> tuples;
  std::vector<int> expected;
  for (int i = 0; i < 100; ++i) {
    tuples.emplace_back(i, 100 - i);
    expected.push_back(i * (100 - i));
  }
  EXPECT_EQ(pool.starmap_async(product, tuples).get(), expected);
  EXPECT_EQ(pool.starmap_async({.chunksize = 7}, product, tuples).get(), expected);
}

// behaviour: Pool/map-async
TEST_P(PoolBehaviour, MapAsyncGivesWhatASerialMapGives) {
  Pool pool(options(2));
  EXPECT_EQ(pool.map_async(square, numbers_up_to(1000)).get(), squares_up_to(1000));
  EXPECT_EQ(pool.map_async({.chunksize = 9}, square, numbers_up_to(100)).get(), squares_up_to(100));
}

// behaviour: Pool/map-async-callback
// behaviour: Pool/callback-before-wait-returns
TEST_P(PoolBehaviour, TheCallbackOfAMapGetsTheWholeListOnceBeforeAWaitReturns) {
  Pool pool(options(2));
  std::vector<std::vector<int>> seen;
  auto result =
      pool.map_async({.callback = [&](const std::vector<int>& all) { seen.push_back(all); }},
                     square, numbers_up_to(100));
  result.wait();
  EXPECT_EQ(seen, std::vector<std::vector<int>>(1, squares_up_to(100)));
  EXPECT_EQ(result.get(), squares_up_to(100));
  pool.close();
  pool.join();
  EXPECT_EQ(seen.size(), 1U);
}

// behaviour: Pool/empty-input-everywhere
TEST_P(PoolBehaviour, NothingIsMappedToNothingWithoutBlocking) {
  Pool pool(options(1));
  const std::vector<int> none;
  EXPECT_TRUE(pool.map(square, none).empty());
  EXPECT_TRUE(pool.map_async(square, none).get().empty());
  EXPECT_TRUE(pool.starmap_async(product, std::vector<std::tuple<int, int>>()).get().empty());
  EXPECT_EQ(pool.imap(square, none).next(), std::nullopt);
  EXPECT_EQ(pool.imap_unordered(square, none).next(), std::nullopt);
  for (int x : pool.imap(square, none)) ADD_FAILURE() << x;
  for (int x : pool.imap_unordered(square, none)) ADD_FAILURE() << x;
  bool told = false;
  pool.map_async({.callback = [&](const std::vector<int>& all) { told = all.empty(); }}, square,
                 none)
      .wait();
  EXPECT_TRUE(told);
}

// behaviour: Pool/async-result
TEST_P(PoolBehaviour, GetOfAnAsynchronousCallWaitsForTheResult) {
  Pool pool(options(1));
  cohort::Event gate;
  auto after = [](const cohort::Event& event, int x) {
    event.wait();
    return x;
  };
  auto result = pool.apply_async(after, gate, 7);
  EXPECT_THROW(result.get(1ms), cohort::TimeoutError);
  std::jthread opener([&] { gate.set(); });
  EXPECT_EQ(result.get(), 7);
}

// behaviour: Pool/lazy-order
TEST_P(PoolBehaviour, TheLazyMapYieldsResultsInOrderAndThenEnds) {
  Pool pool(options(3));
  for (std::size_t chunksize : {1, 100}) {
    auto results = pool.imap({.chunksize = chunksize}, square, numbers_up_to(1000));
    for (int expected : squares_up_to(1000)) ASSERT_EQ(results.next(), expected);
    EXPECT_EQ(results.next(), std::nullopt);
    EXPECT_EQ(results.next(), std::nullopt);
  }
}

// behaviour: Pool/lazy-unordered
TEST_P(PoolBehaviour, TheUnorderedLazyMapYieldsEachResultOnce) {
  Pool pool(options(3));
  for (std::size_t chunksize : {1, 53}) {
    std::vector<int> seen;
    for (int x : pool.imap_unordered({.chunksize = chunksize}, square, numbers_up_to(1000)))
      seen.push_back(x);
    std::sort(seen.begin(), seen.end());
    EXPECT_EQ(seen, squares_up_to(1000));
  }
}

// behaviour: Pool/lazy-unordered-source-throws
TEST_P(PoolBehaviour, WhatTheInputThrowsComesAfterTheUnorderedResults) {
  Pool pool(options(2));
  for (int bad : {0, 3, 40}) {
    auto source = std::views::iota(0, 100) | std::views::transform([bad](int i) {
                    if (i == bad) throw std::domain_error("source");
                    return i;
                  });
    auto results = pool.imap_unordered(square, source);
    std::vector<int> seen;
    try {
      while (auto x = results.next()) seen.push_back(*x);
      ADD_FAILURE() << "the input's exception was lost";
    } catch (const std::domain_error&) {
    }
    std::sort(seen.begin(), seen.end());
    EXPECT_EQ(seen, squares_up_to(bad));
    EXPECT_EQ(results.next(), std::nullopt);
  }
}

// behaviour: Pool/lazy-next-timeout
TEST_P(PoolBehaviour, AResultThatCameTooLateCanBeAskedForAgain) {
  Pool pool(options(1));
  auto after = [](const cohort::Event& event) {
    event.wait();
    return 7;
  };
  for (bool ordered : {true, false}) {
    cohort::Event gate;
    std::vector<cohort::Event> gates{gate};
    auto results = ordered ? pool.imap(after, gates) : pool.imap_unordered(after, gates);
    EXPECT_THROW(results.next(1ms), cohort::TimeoutError);
    EXPECT_THROW(results.next(0ms), cohort::TimeoutError);
    gate.set();
    EXPECT_EQ(results.next(20s), 7);
    EXPECT_EQ(results.next(), std::nullopt);
  }
}

// behaviour: Pool/result-status-queries
TEST_P(PoolBehaviour, AResultKnowsWhetherItIsThereAndWhatItIs) {
  Pool pool(options(1));
  cohort::Event gate;
  auto after = [](const cohort::Event& event, bool fails) {
    event.wait();
    if (fails) throw std::domain_error("as asked");
  };
  auto good = pool.apply_async(after, gate, false);
  auto bad = pool.apply_async(after, gate, true);
  for (const auto& result : {good, bad}) {
    EXPECT_FALSE(result.ready());
    EXPECT_THROW((void)result.successful(), cohort::InvalidStateError);
  }
  gate.set();
  for (const auto& result : {good, bad}) {
    EXPECT_TRUE(result.wait_for(20s));
    EXPECT_TRUE(result.ready());
  }
  EXPECT_TRUE(good.successful());
  EXPECT_FALSE(bad.successful());
}

// behaviour: Pool/async-callback-extends
TEST_P(PoolBehaviour, CallbacksFillAContainerWithoutAnyGet) {
  Pool pool(options(2));
  std::vector<int> all;
  for (int start : {0, 10, 20}) {
    pool.map_async({.callback =
                        [&](const std::vector<int>& some) {
                          all.insert(all.end(), some.begin(), some.end());
                        }},
                   square, std::views::iota(start, start + 10));
  }
  pool.close();
  pool.join();
  std::sort(all.begin(), all.end());
  EXPECT_EQ(all, squares_up_to(30));
}

// behaviour: Pool/thread-pool-does-not-wrap
TEST(PoolOfThreads, TheOriginalExceptionObjectIsThrown) {
  cohort::futures::ThreadPoolExecutor executor(1);
  const void* thrown = nullptr;
  auto future = executor.submit([&] {
    try {
      throw std::domain_error("here");
    } catch (const std::domain_error& error) {
      thrown = &error;
      throw;
    }
  });
  try {
    future.get();
    FAIL();
  } catch (const std::domain_error& error) {
    EXPECT_EQ(&error, thrown);
    EXPECT_EQ(dynamic_cast<const cohort::RemoteInfo*>(&error), nullptr);
  }
}

// behaviour: Pool/tasks-per-worker-limit
TEST_P(PoolBehaviour, WorkersAtTheirLimitAreReplacedAndEveryResultIsRight) {
  auto three = options(3);
  three.max_tasks_per_child = 10;
  Pool pool(three);
  std::set<pid_t> first;
  for (const auto& worker : pool.stats()) first.insert(worker.pid);
  EXPECT_EQ(first.size(), 3U);
  std::vector<cohort::AsyncResult<int>> results;
  for (int i = 0; i < 100; ++i) results.push_back(pool.apply_async(square, i));
  for (int i = 0; i < 100; ++i) EXPECT_EQ(results[static_cast<std::size_t>(i)].get(), i * i);
  EXPECT_EQ(pool.map(square, numbers_up_to(100)), squares_up_to(100));
  EXPECT_TRUE(eventually([&] {
    auto workers = pool.stats();
    return std::all_of(workers.begin(), workers.end(),
                       [&](const auto& one) { return one.pid && !first.contains(one.pid); });
  }));
}

// behaviour: Pool/limit-check
TEST_P(PoolBehaviour, ALimitOfNoTasksIsRefused) {
  auto one = options(1);
  for (long long limit : {0LL, -1LL}) {
    one.max_tasks_per_child = limit;
    EXPECT_THROW((Pool(one)), std::invalid_argument);
  }
}

// behaviour: Pool/unserializable-argument
TEST_P(PoolBehaviour, AnArgumentThatFailsToSerializeIsAnErrorOfTheCaller) {
  Pool pool(options(2));
  auto refuses = [](const Stubborn& s) { return s.refuses; };
  std::vector<Stubborn> some(100);
  some[60].refuses = true;
  for (int round = 0; round < 5; ++round) {
    EXPECT_THROW(pool.map(refuses, some), std::runtime_error);
    EXPECT_THROW(pool.apply(refuses, Stubborn{true}), std::runtime_error);
  }
  EXPECT_EQ(pool.map(square, numbers_up_to(50)), squares_up_to(50));
}

// behaviour: Pool/map-source-throws
TEST_P(PoolBehaviour, AnInputThatThrowsMakesMapThrowThat) {
  Pool pool(options(2));
  for (int bad : {0, 1, 500}) {
    auto source = std::views::iota(0, 1000) | std::views::transform([bad](int i) {
                    if (i == bad) throw std::domain_error("source");
                    return i;
                  });
    for (int round = 0; round < 3; ++round)
      EXPECT_THROW(pool.map(square, source), std::domain_error);
  }
  EXPECT_EQ(pool.map(square, numbers_up_to(50)), squares_up_to(50));
}

// behaviour: Pool/local-error-not-marked-remote
TEST_P(PoolBehaviour, AnErrorOfTheCallersOwnInputIsNotRemote) {
  Pool pool(options(1));
  auto source = std::views::iota(0, 10) |
                std::views::transform([](int) -> int { throw std::domain_error("source"); });
  try {
    pool.map(square, source);
    FAIL();
  } catch (const std::domain_error& error) {
    EXPECT_EQ(dynamic_cast<const cohort::RemoteInfo*>(&error), nullptr);
  }
}

// behaviour: Pool/worker-count-check
TEST_P(PoolBehaviour, APoolOfNoWorkersIsRefused) {
  for (int count : {0, -1}) EXPECT_THROW(Pool(options(count)), std::invalid_argument);
  EXPECT_THROW(Pool(-2), std::invalid_argument);
}

// behaviour: Pool/worker-count
TEST_P(PoolBehaviour, APoolOfThreeHasThreeWorkers) {
  Pool pool(options(3));
  EXPECT_EQ(pool.stats().size(), 3U);
  EXPECT_EQ(cohort::active_children().size(), 3U);
  EXPECT_EQ(cohort::active_children()[0].name().rfind("PoolWorker-", 0), 0U);
}

// behaviour: Pool/terminate-with-huge-backlog
TEST_P(PoolBehaviour, TerminateEndsABacklogOfLongTasksAtOnce) {
  Pool pool(options(2));
  SharedFile file;
  auto forever = [](const std::string& path, int) {
    append_pid(path, "");
    ::pause();
  };
  std::jthread submitter([&] {
    EXPECT_THROW(
        pool.map({.chunksize = 1}, cohort::bind(forever, file.path()), numbers_up_to(10000)),
        cohort::CancelledError);
  });
  ASSERT_TRUE(eventually([&] { return lines_of(file.path()).size() == 2; }));
  auto start = std::chrono::steady_clock::now();
  pool.terminate();
  pool.join();
  EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
}

// behaviour: Pool/scope-terminates
TEST_P(PoolBehaviour, ATerminatedPoolTakesNothing) {
  Pool pool(options(2));
  pool.terminate();
  EXPECT_THROW(pool.apply(square, 1), cohort::InvalidStateError);
  EXPECT_THROW(pool.map(square, {1}), cohort::InvalidStateError);
  pool.join();
  pid_t worker = 0;
  {
    Pool scoped(options(1));
    worker = scoped.apply(::getpid);
  }
  EXPECT_TRUE(eventually([&] { return !send_signal(worker, 0); }));
}

// behaviour: Pool/results-before-scope-end
TEST_P(PoolBehaviour, ResultsFetchedInTheScopeAreComplete) {
  std::vector<int> results;
  {
    Pool pool(options(2));
    results = pool.map(square, numbers_up_to(1000));
  }
  EXPECT_EQ(results, squares_up_to(1000));
}

// behaviour: Pool/submit-after-close
TEST_P(PoolBehaviour, AClosedPoolTakesNothingAndFinishesWhatItHas) {
  Pool pool(options(2));
  SharedFile file;
  auto slowly = [](const std::string& path, int x) {
    append_pid(path, "");
    ::usleep(1000);
    return x * x;
  };
  std::vector<int> results;
  std::jthread submitter(
      [&] { results = pool.map(cohort::bind(slowly, file.path()), numbers_up_to(100)); });
  ASSERT_TRUE(eventually([&] { return !lines_of(file.path()).empty(); }));
  pool.close();
  EXPECT_THROW(pool.apply(square, 1), cohort::InvalidStateError);
  pool.join();
  submitter.join();
  EXPECT_EQ(results, squares_up_to(100));
}

// behaviour: Pool/join-needs-close
TEST_P(PoolBehaviour, ARunningPoolCannotBeJoined) {
  Pool pool(options(1));
  EXPECT_THROW(pool.join(), cohort::InvalidStateError);
  pool.close();
  pool.join();
  pool.join();
}

// behaviour: Pool/map-waits-for-all-despite-error
TEST_P(PoolBehaviour, TheOtherItemsRunWhenOneThrows) {
  Pool pool(options(2));
  SharedFile file;
  auto visit = [](const std::string& path, int x) {
    append_pid(path, "");
    if (x % 10 == 3) throw std::runtime_error(std::string(200'000, 'e'));
    return x;
  };
  EXPECT_THROW(pool.map(cohort::bind(visit, file.path()), numbers_up_to(50)), std::runtime_error);
  EXPECT_EQ(lines_of(file.path()).size(), 50U);
  pool.close();
  pool.join();
}

// behaviour: Pool/left-running-at-exit
TEST(PoolAtExit, APoolLeftRunningDoesNotDisturbTheEnd) {
  std::FILE* program = ::popen(COHORT_TEST_PROGRAMS_DIR "/pool_left_running 2>&1", "r");
  ASSERT_NE(program, nullptr);
  char output[256]{};
  auto length = std::fread(output, 1, sizeof output - 1, program);
  EXPECT_EQ(std::string(output, length), "9 16\n");
  EXPECT_EQ(::pclose(program), 0);
}

// behaviour: Pool/large
TEST_P(PoolBehaviour, TwoHundredWorkersSumAThousandSquares) {
  testing::internal::CaptureStderr();
  {
    Pool pool(options(200));
    auto results = pool.map({.chunksize = 1}, square, numbers_up_to(1000));
    EXPECT_EQ(std::accumulate(results.begin(), results.end(), 0), 332833500);
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

// behaviour: Pool/initializer-runs-per-worker
TEST_P(PoolBehaviour, TheInitializerRunsOnceInEachWorker) {
  SharedFile file;
  auto three = options(3);
  three.initializer = cohort::bind(append_pid, file.path(), "init");
  Pool pool(three);
  ASSERT_TRUE(eventually([&] { return lines_of(file.path()).size() == 3; }));
  pool.map({.chunksize = 1}, square, numbers_up_to(100));
  auto lines = lines_of(file.path());
  std::set<std::string> expected;
  for (const auto& worker : pool.stats()) expected.insert("init" + std::to_string(worker.pid));
  EXPECT_EQ(std::set<std::string>(lines.begin(), lines.end()), expected);
  EXPECT_EQ(lines.size(), 3U);
}

// behaviour: Pool/failed-creation-leaves-no-workers
TEST_P(PoolBehaviour, APoolThatCannotStartAllWorkersLeavesNone) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit tight = before;
  tight.rlim_cur = open_descriptors() + 12;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  EXPECT_THROW(Pool(options(100)), std::exception);
  ::setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_TRUE(cohort::active_children().empty());
}

// behaviour: Pool/in-main-program
TEST_P(PoolBehaviour, FunctionsOfTheMainProgramCanBeMapped) {
  Pool pool(options(2));
  EXPECT_EQ(pool.map(square, {1, 2, 3}), (std::vector{1, 4, 9}));
}

// behaviour: Pool/exception-type-and-args
TEST_P(PoolBehaviour, AnExceptionArrivesWithItsTypeAndData) {
  Pool pool(options(1));
  auto refuse = [](int code) {
    throw std::system_error(code, std::generic_category(), "the door");
  };
  try {
    pool.apply(refuse, ENOENT);
    FAIL();
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code().value(), ENOENT);
    EXPECT_NE(std::string(error.what()).find("the door"), std::string::npos);
  }
  EXPECT_THROW(
      pool.map([](int x) { return std::vector<int>(3).at(static_cast<std::size_t>(x)); }, {1, 9}),
      std::out_of_range);
}

__attribute__((noinline)) int throw_from_here(int x) {
  if (x >= 0) throw std::runtime_error("deep down");
  return x;
}

// behaviour: Pool/exception-has-remote-trace
TEST_P(PoolBehaviour, AnExceptionTellsWhereItWasThrown) {
  Pool pool(options(1));
  pid_t worker = pool.apply(::getpid);
  try {
    pool.apply(throw_from_here, 1);
    FAIL();
  } catch (const cohort::RemoteInfo& info) {
    EXPECT_EQ(info.pid(), worker);
    EXPECT_EQ(info.message(), "deep down");
    EXPECT_NE(info.traceback().find("throw_from_here"), std::string::npos) << info.traceback();
  }
}

TEST_P(PoolBehaviour, MapOverNothingIsEmptyAndDoesNotBlock) {
  Pool pool(options(1));
  EXPECT_TRUE(pool.map(square, std::vector<int>()).empty());
  EXPECT_TRUE(pool.map([](const std::string& s) { return s; }, std::vector<std::string>()).empty());
}

}  // namespace
