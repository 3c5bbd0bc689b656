// Storms of kills: whatever instruction a worker dies at, each task has exactly one outcome, nobody
// hangs, and nothing is left.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cohort/pool.hpp>
#include <csignal>
#include <fstream>
#include <iterator>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "os/step.hpp"
#include "pool_fixture.hpp"

namespace {

using namespace pool_tests;
using cohort::Pool;

int work(int x) {
  volatile int spin = x % 2000;
  while (spin > 0) spin = spin - 1;
  return 3 * x + 1;
}
std::string text_work(int x) { return std::to_string(work(x)) + std::string(x % 300, '-'); }

std::vector<int> inputs(int count) {
  std::vector<int> numbers(static_cast<std::size_t>(count));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

// Kills a random worker again and again, about one in a millisecond.
class Killer {
 public:
  explicit Killer(Pool& pool)
      : thread_([this, &pool](const std::stop_token& stop) {
          std::mt19937 random(7);
          while (!stop.stop_requested()) {
            auto workers = pool.stats();
            auto& victim = workers[random() % workers.size()];
            kills_ += send_signal(victim.pid, SIGKILL) ? 1 : 0;
            std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
          }
        }) {}
  int kills() const { return kills_; }
  void stop() {
    thread_.request_stop();
    thread_.join();
  }

 private:
  std::atomic<int> kills_{0};
  std::jthread thread_;
};

class PoolChaos : public PoolTest {};
INSTANTIATE_TEST_SUITE_P(Every, PoolChaos, kEveryMethod, method_name);

TEST_P(PoolChaos, EveryTaskOfAMapHasItsRightResultThroughHundredsOfKills) {
  auto four = options(4);
  four.retries = 1000;
  Pool pool(four);
  auto numbers = inputs(20'000);
  std::vector<int> expected;
  std::vector<std::string> texts;
  for (int x : numbers) expected.push_back(work(x));
  for (int x : numbers) texts.push_back(text_work(x));
  Killer killer(pool);
  while (killer.kills() < 150) {
    ASSERT_EQ(pool.map(work, numbers), expected);
    ASSERT_EQ(pool.map(text_work, numbers), texts);
    ASSERT_EQ(pool.map({.chunksize = 100}, work, numbers), expected);
  }
  killer.stop();
}

TEST_P(PoolChaos, EveryApplyOfManyThreadsHasItsRightResultThroughKills) {
  auto three = options(3);
  three.retries = 1000;
  Pool pool(three);
  Killer killer(pool);
  std::atomic<int> done{0};
  std::atomic<int> wrong{0};
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; killer.kills() < 100 || i < 2000; ++i) {
        int x = i * 4 + t;
        wrong += i % 2 ? pool.apply(work, x) != work(x) : pool.apply(text_work, x) != text_work(x);
        ++done;
      }
    });
  }
  threads.clear();
  killer.stop();
  EXPECT_EQ(wrong, 0);
  EXPECT_GE(done, 8000);
}

TEST_P(PoolChaos, WithoutRetriesOnlyTheCallsOfDeadWorkersFail) {
  Pool pool(options(3));
  Killer killer(pool);
  int died = 0;
  int right = 0;
  for (int i = 0; killer.kills() < 100 || right < 1000; ++i) {
    try {
      ASSERT_EQ(pool.apply(work, i), work(i));
      ++right;
    } catch (const cohort::WorkerDied& death) {
      EXPECT_EQ(death.signal(), SIGKILL);
      EXPECT_NE(death.task().find("work"), std::string::npos) << death.task();
      ++died;
    }
  }
  killer.stop();
  RecordProperty("died", died);
  EXPECT_LE(died, killer.kills());
}

// The step at which the worker shall die, as often as the file has bytes.
std::string fatal_step;
std::string fatal_file;

void die_at_step(const char* name) {
  if (fatal_step != name) return;
  int fd = ::open(fatal_file.c_str(), O_RDWR | O_CLOEXEC);
  off_t size = ::lseek(fd, 0, SEEK_END);
  if (size > 0) {
    (void)!::ftruncate(fd, size - 1);
    ::kill(::getpid(), SIGKILL);
  }
  ::close(fd);
}

void arm(const std::string& step, const std::string& file) {
  fatal_step = step;
  fatal_file = file;
  cohort::os::step_hook = die_at_step;
}

TEST_P(PoolChaos, AWorkerMayDieAtEveryStep) {
  for (std::string step : {"schedule.claimed", "schedule.results_written", "schedule.done",
                           "schedule.announced", "doorbell.flag_cleared", "schedule.woken"}) {
    SCOPED_TRACE(step);
    SharedFile file;
    (void)!::truncate(file.path().c_str(), 10);
    auto two = options(2);
    two.initializer = cohort::bind(arm, step, file.path());
    two.retries = 0;
    Pool pool(two);
    auto numbers = inputs(2000);
    std::vector<int> expected;
    for (int x : numbers) expected.push_back(work(x));
    // No step lies between the begin and the end of an item: nothing is lost, nothing is retried.
    int rounds = 0;
    EXPECT_TRUE(eventually([&] {
      ++rounds;
      EXPECT_EQ(pool.map({.chunksize = 50}, work, numbers), expected);
      EXPECT_EQ(pool.apply(text_work, rounds), text_work(rounds));
      // Let the workers go to sleep, so that they are woken.
      if (step == "schedule.woken" || step == "doorbell.flag_cleared")
        std::this_thread::sleep_for(2ms);
      int fd = ::open(file.path().c_str(), O_RDONLY | O_CLOEXEC);
      bool all = ::lseek(fd, 0, SEEK_END) == 0;
      ::close(fd);
      return all;
    }));
    EXPECT_EQ(pool.map(work, numbers), expected);
  }
}

bool is_stopped(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  return text.size() > text.rfind(')') + 2 && text[text.rfind(')') + 2] == 'T';
}

TEST_P(PoolChaos, AStoppedWorkerHoldsUpNobodyElse) {
  Pool pool(options(3));
  std::vector<int> expected;
  auto numbers = inputs(2000);
  for (int x : numbers) expected.push_back(work(x));
  std::mt19937 random(3);
  for (int round = 0; round < 30; ++round) {
    // Between two calls, so that it has no task.
    pid_t stopped = pool.stats()[random() % 3].pid;
    ASSERT_TRUE(send_signal(stopped, SIGSTOP));
    ASSERT_TRUE(eventually([&] { return is_stopped(stopped); }));
    for (int i = 0; i < 5; ++i) ASSERT_EQ(pool.apply(work, i), work(i));
    ASSERT_EQ(pool.map(work, numbers), expected);
    ASSERT_TRUE(send_signal(stopped, SIGCONT));
  }
}

}  // namespace
