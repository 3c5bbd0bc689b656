#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cohort/pool.hpp>
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
