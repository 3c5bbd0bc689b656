#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cohort/pool.hpp>
#include <csignal>
#include <fstream>
#include <list>
#include <memory>
#include <numeric>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "pool_fixture.hpp"
#include "ring/ring.hpp"

namespace {

using namespace pool_tests;
using cohort::Pool;

struct Point {
  int x = 0;
  std::string label;
  friend bool operator==(const Point&, const Point&) = default;
};

struct NoDefault {
  explicit NoDefault(int v) : value(v) {}
  NoDefault(cohort::detail::Restore, cohort::detail::InArchive& archive) { archive(value); }
  template <class Archive>
  void save(Archive& archive) const {
    archive(value);
  }
  int value = 0;
};

struct Scale {
  int factor = 1;
  int operator()(int x) const { return factor * x; }
};

int square(int x) { return x * x; }
std::string greet(const std::string& name, int times) {
  std::string text;
  for (int i = 0; i < times; ++i) text += "hello " + name + ";";
  return text;
}
Point moved(const Point& p, int by) { return {p.x + by, p.label + "'"}; }
bool odd(int x) { return x % 2 != 0; }
NoDefault wrapped(int x) { return NoDefault(x); }
std::string padded(const std::string& s) { return s + std::string(1000, '.'); }
void nothing(int) {}
void append(const std::string& path, int number) {
  std::string line = std::to_string(number) + "\n";
  int fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  (void)!::write(fd, line.data(), line.size());
  ::close(fd);
}
std::multiset<int> numbers_in(const std::string& path) {
  std::ifstream file(path);
  return {std::istream_iterator<int>(file), std::istream_iterator<int>()};
}
// Kills its worker as often as `path` still has bytes to lose.
int die_while_bytes_last(const std::string& path, int x) {
  auto size = std::ifstream(path, std::ios::ate).tellg();
  if (x == 7 && size > 0) {
    (void)!::truncate(path.c_str(), size - std::ifstream::pos_type(1));
    std::raise(SIGKILL);
  }
  return x;
}

class PoolUnit : public PoolTest {};
INSTANTIATE_TEST_SUITE_P(Every, PoolUnit, kEveryMethod, method_name);

TEST_P(PoolUnit, ApplyCarriesArgumentsAndResultsOfManyTypes) {
  Pool pool(options(2));
  EXPECT_EQ(pool.apply(square, 12), 144);
  EXPECT_EQ(pool.apply(greet, "ann", 2), "hello ann;hello ann;");
  EXPECT_EQ(pool.apply(moved, Point{3, "p"}, 4), (Point{7, "p'"}));
  EXPECT_EQ(pool.apply([](int a, double b) { return a + b; }, 1, 0.5), 1.5);
  EXPECT_EQ(pool.apply(Scale{5}, 6), 30);
  EXPECT_EQ(pool.apply(cohort::bind(greet, "bob"), 1), "hello bob;");
  EXPECT_EQ(pool.apply(wrapped, 9).value, 9);
  EXPECT_EQ(*pool.apply([](int x) { return std::make_unique<int>(x); }, 8), 8);
  static_assert(std::is_void_v<decltype(pool.apply(nothing, 1))>);
  pool.apply(nothing, 1);
}

TEST_P(PoolUnit, LargeArgumentsAndResultsArriveWhole) {
  Pool pool(options(2));
  std::string big(3'000'000, 'x');
  big[1'234'567] = 'y';
  EXPECT_EQ(pool.apply([](const std::string& s) { return s + s; }, big), big + big);
  std::vector<std::string> many(5000, std::string(500, 'z'));
  EXPECT_EQ(pool.map(padded, many), std::vector<std::string>(5000, padded(many[0])));
}

TEST_P(PoolUnit, MapTakesEveryKindOfRange) {
  Pool pool(options(2));
  EXPECT_EQ(pool.map(square, {1, 2, 3}), (std::vector{1, 4, 9}));
  EXPECT_EQ(pool.map(square, std::list<int>{4, 5}), (std::vector{16, 25}));
  EXPECT_EQ(pool.map(square, std::views::iota(0, 4)), (std::vector{0, 1, 4, 9}));
  EXPECT_EQ(pool.map(odd, std::vector{1, 2, 3}), (std::vector{true, false, true}));
  EXPECT_EQ(pool.map(odd, std::vector<bool>{true, false}), (std::vector{true, false}));
  std::istringstream words("3 4 5");
  EXPECT_EQ(pool.map(square, std::views::istream<int>(words)), (std::vector{9, 16, 25}));
  EXPECT_EQ(pool.map([](const std::string& s) { return s.size(); }, {"a", "bcd"}),
            (std::vector<std::size_t>{1, 3}));
  EXPECT_EQ(pool.map(wrapped, {6})[0].value, 6);
  EXPECT_EQ(pool.map({.progress = true}, Scale{3}, {1, 2}), (std::vector{3, 6}));
  static_assert(std::is_void_v<decltype(pool.map(nothing, {1}))>);
  pool.map(nothing, {1, 2, 3});
  EXPECT_TRUE(pool.map(square, std::vector<int>()).empty());
  EXPECT_TRUE(pool.map(padded, std::vector<std::string>()).empty());
}

TEST_P(PoolUnit, AMillionItemsComeBackInOrder) {
  Pool pool(options(2));
  std::vector<int> numbers(1'000'000);
  std::iota(numbers.begin(), numbers.end(), 0);
  auto same = [](int x) { return x; };
  EXPECT_EQ(pool.map(same, numbers), numbers);
  EXPECT_EQ(pool.map({.chunksize = 1000}, same, numbers), numbers);
}

TEST_P(PoolUnit, AWorkerThatDiesFailsOnlyTheItemItRan) {
  Pool pool(options(2));
  SharedFile file;
  auto visit = [](const std::string& path, int x) {
    append(path, x);
    if (x == 40) std::raise(SIGKILL);
    return x;
  };
  std::vector<int> numbers(100);
  std::iota(numbers.begin(), numbers.end(), 0);
  try {
    pool.map(cohort::bind(visit, file.path()), numbers);
    FAIL() << "the death was not reported";
  } catch (const cohort::WorkerDied& death) {
    EXPECT_EQ(death.signal(), SIGKILL);
    EXPECT_GT(death.pid(), 0);
    EXPECT_NE(death.task().find("item 40"), std::string::npos) << death.task();
  }
  // Every item ran once: none was lost with the worker, none was run again.
  EXPECT_EQ(numbers_in(file.path()), std::multiset<int>(numbers.begin(), numbers.end()));
  EXPECT_EQ(pool.apply(square, 3), 9);
}

TEST_P(PoolUnit, ATaskThatCallsExitIsADeathWithThatCode) {
  Pool pool(options(1));
  for (int code : {0, 3}) {
    try {
      pool.apply([](int c) { std::exit(c); }, code);
      FAIL() << "the exit was not reported";
    } catch (const cohort::WorkerDied& death) {
      EXPECT_EQ(death.exitcode(), code);
    }
  }
  EXPECT_EQ(pool.apply(square, 3), 9);
}

TEST_P(PoolUnit, RetriesRunALostItemAgainAndNoOther) {
  auto two = options(2);
  two.retries = 2;
  Pool pool(two);
  SharedFile file;
  std::ofstream(file.path()) << "xx";
  std::vector<int> numbers(20);
  std::iota(numbers.begin(), numbers.end(), 0);
  EXPECT_EQ(pool.map(cohort::bind(die_while_bytes_last, file.path()), numbers), numbers);
  std::ofstream(file.path()) << "xxx";  // one death too many
  EXPECT_THROW(pool.apply(die_while_bytes_last, file.path(), 7), cohort::WorkerDied);
  EXPECT_EQ(pool.apply(die_while_bytes_last, file.path(), 7), 7);
}

TEST_P(PoolUnit, AnInitializerThatThrowsBreaksThePoolAndIsItsCause) {
  auto one = options(2);
  one.initializer = +[] { throw std::out_of_range("no such table"); };
  Pool pool(one);
  for (int i = 0; i < 2; ++i) {
    try {
      pool.apply(square, 1);
      FAIL() << "the pool works";
    } catch (const cohort::BrokenPool& broken) {
      EXPECT_NE(std::string(broken.what()).find("no such table"), std::string::npos);
      EXPECT_THROW(std::rethrow_if_nested(broken), std::out_of_range);
    }
  }
}

TEST_P(PoolUnit, AnInitializerThatKillsEveryWorkerBreaksThePool) {
  auto two = options(2);
  two.initializer = +[] { std::raise(SIGKILL); };
  Pool pool(two);
  try {
    pool.apply(square, 1);
    FAIL() << "the pool works";
  } catch (const cohort::BrokenPool& broken) {
    EXPECT_THROW(std::rethrow_if_nested(broken), cohort::WorkerDied);
  }
}

TEST_P(PoolUnit, SeveralThreadsShareAPool) {
  Pool pool(options(2));
  std::atomic<int> right{0};
  std::vector<std::jthread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        right += pool.apply(square, t) == t * t ? 1 : 0;
        std::vector<int> numbers(200, t);
        right += pool.map(square, numbers) == std::vector<int>(200, t * t) ? 1 : 0;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(right, 800);
}

TEST_P(PoolUnit, MoreThreadsThanTaskCellsShareAPool) {
  Pool pool(options(1));
  std::atomic<int> right{0};
  std::vector<std::jthread> threads;
  for (int t = 0; t < 300; ++t)
    threads.emplace_back([&, t] { right += pool.apply(square, t) == t * t ? 1 : 0; });
  threads.clear();
  EXPECT_EQ(right, 300);
}

TEST_P(PoolUnit, AWorkerMayHaveAPoolOfItsOwn) {
  Pool pool(options(2));
  auto inner = [](int n) {
    Pool nested(1);
    int sum = 0;
    for (int y : nested.map(square, std::views::iota(0, n))) sum += y;
    return sum;
  };
  EXPECT_EQ(pool.map(inner, {3, 4, 5}), (std::vector{5, 14, 30}));
}

TEST_P(PoolUnit, HandlesCrossInArgumentsAndResults) {
  Pool pool(options(2));
  cohort::ring::Ring ring(4096);
  auto put = [](cohort::ring::Ring& to, int x) {
    to.put(std::as_bytes(std::span(&x, 1)));
    return to;
  };
  auto back = pool.apply(put, ring, 5);
  auto message = back.take();
  ASSERT_TRUE(message);
  EXPECT_EQ(message->bytes().size(), sizeof(int));
  auto make = [](int x) {
    cohort::ring::Ring fresh(4096);
    fresh.put(std::as_bytes(std::span(&x, 1)));
    return fresh;
  };
  auto rings = pool.map(make, std::views::iota(0, 50));
  pool.terminate();
  pool.join();
  int sum = 0;
  for (auto& one : rings) {
    auto held = one.take(cohort::os::Clock::now());
    ASSERT_TRUE(held);
    int x = 0;
    std::memcpy(&x, held->bytes().data(), sizeof x);
    sum += x;
  }
  EXPECT_EQ(sum, 49 * 50 / 2);
}

TEST_P(PoolUnit, WorkersIgnoreSigint) {
  Pool pool(options(1));
  pid_t worker = pool.apply(::getpid);
  ASSERT_TRUE(send_signal(worker, SIGINT));
  EXPECT_EQ(pool.apply(::getpid), worker);
}

TEST_P(PoolUnit, StatsTellPidsAndCounts) {
  Pool pool(options(2));
  pool.map(square, std::views::iota(0, 100));
  std::size_t tasks = 0;
  for (const auto& one : pool.stats()) {
    tasks += one.tasks;
    EXPECT_GT(one.pid, 0);
    EXPECT_EQ(one.restarts, 0U);
  }
  EXPECT_EQ(tasks, 100U);
  pid_t first = pool.stats()[0].pid;
  ASSERT_TRUE(send_signal(first, SIGKILL));
  EXPECT_TRUE(eventually([&] {
    auto now = pool.stats()[0];
    return now.pid != 0 && now.pid != first && now.restarts == 1;
  }));
}

TEST_P(PoolUnit, AMovedPoolWorksAndAnEmptyOneSaysSo) {
  Pool pool(options(1));
  Pool other = std::move(pool);
  EXPECT_EQ(other.apply(square, 2), 4);
  EXPECT_THROW(pool.apply(square, 2), cohort::InvalidStateError);
  other = Pool(options(2));
  EXPECT_EQ(other.stats().size(), 2U);
}

TEST_P(PoolUnit, TheCopyInAForkedChildIsInert) {
  auto pool = std::make_unique<Pool>(options(1));
  pid_t worker = pool->apply(::getpid);
  pid_t child = ::fork();  // the host's own
  if (child == 0) {
    bool refused = false;
    try {
      pool->apply(square, 1);
    } catch (const cohort::InvalidStateError&) {
      refused = true;
    }
    pool.reset();
    ::_exit(refused ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  auto forked = cohort::Process::forked([&] { pool.reset(); });
  forked.start();
  forked.join();
  EXPECT_EQ(forked.exitcode(), 0);
  EXPECT_EQ(pool->apply(::getpid), worker);
}

TEST_P(PoolUnit, TerminateEndsARunningCall) {
  Pool pool(options(2));
  SharedFile file;
  std::jthread ender([&] {
    eventually([&] { return !numbers_in(file.path()).empty(); });
    pool.terminate();
  });
  auto hang = [](const std::string& path, int x) {
    append(path, x);
    ::pause();
  };
  EXPECT_THROW(pool.map(cohort::bind(hang, file.path()), std::views::iota(0, 1000)),
               cohort::CancelledError);
}

}  // namespace
