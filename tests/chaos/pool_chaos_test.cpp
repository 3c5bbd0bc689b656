// Storms of kills: whatever instruction a worker dies at, each task has exactly one outcome, nobody
// hangs, and nothing is left.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cohort/pool.hpp>
#include <cohort/process.hpp>
#include <cohort/value.hpp>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "chaos.hpp"
#include "effort.hpp"
#include "os/pidfd.hpp"
#include "os/step.hpp"
#include "pool_fixture.hpp"
#include "worker_storm.hpp"

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

using Killer = test::WorkerStorm;

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

std::uintmax_t content_bytes(const std::string& path) { return std::filesystem::file_size(path); }

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
      return content_bytes(file.path()) == 0;
    }));
    EXPECT_EQ(pool.map(work, numbers), expected);
  }
}

bool is_zombie(pid_t pid) { return test::stat_of(pid).state == 'Z'; }
bool is_stopped(pid_t pid) { return test::stat_of(pid).state == 'T'; }

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

// ---- every way to call

// How many of something a test does.
std::size_t calls(std::size_t usual) {
  const auto scaled = test::with_effort(std::chrono::nanoseconds(usual));
  return static_cast<std::size_t>(scaled.count());
}

struct Tally {
  std::size_t right = 0;
  std::size_t died = 0;

  void add(const Tally& other) {
    right += other.right;
    died += other.died;
  }
  // Any other outcome is a failure of the test.
  template <class Get>
  void count(Get&& get) {
    try {
      if (get()) {
        ++right;
      } else {
        ADD_FAILURE() << "a wrong result";
      }
    } catch (const cohort::WorkerDied& death) {
      EXPECT_EQ(death.signal(), SIGKILL);
      ++died;
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
    }
  }
};

// Counts how often each call was answered, by which callback.
struct Answers {
  explicit Answers(std::size_t count) : values(count), errors(count) {}
  std::vector<std::atomic<std::uint8_t>> values;
  std::vector<std::atomic<std::uint8_t>> errors;

  static std::size_t sum(const std::vector<std::atomic<std::uint8_t>>& all) {
    std::size_t total = 0;
    for (const auto& one : all) total += one;
    return total;
  }
  bool each_once() const {
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (values[i] + errors[i] != 1) return false;
    }
    return true;
  }
};

// Rounds of calls while workers are killed, until enough of them were. round(tally) answers how
// many calls it made.
template <class Round>
void storm(Pool& pool, unsigned retries, Round&& round) {
  Killer killer(pool);
  Tally tally;
  std::size_t made = 0;
  do {
    made += round(tally);
  } while (static_cast<std::size_t>(killer.kills()) < calls(60) && !testing::Test::HasFailure());
  killer.stop();
  EXPECT_EQ(tally.right + tally.died, made);
  EXPECT_LE(tally.died, retries == 0 ? static_cast<std::size_t>(killer.kills()) : 0);
}

TEST_P(PoolChaos, EveryAsynchronousCallHasOneOutcomeAndOneCallback) {
  for (unsigned retries : {0U, 1000U}) {
    auto three = options(3);
    three.retries = retries;
    Pool pool(three);
    storm(pool, retries, [&](Tally& tally) {
      const std::size_t count = 3000;
      Answers answers(count);
      std::vector<cohort::AsyncResult<std::string>> results;
      for (std::size_t i = 0; i < count; ++i) {
        results.push_back(
            pool.apply_async({.callback = [&, i](const std::string&) { ++answers.values[i]; },
                              .error_callback = [&, i](const auto&) { ++answers.errors[i]; }},
                             text_work, static_cast<int>(i)));
      }
      Tally mine;
      for (std::size_t i = 0; i < count; ++i)
        mine.count([&] { return results[i].get() == text_work(static_cast<int>(i)); });
      EXPECT_TRUE(answers.each_once());
      EXPECT_EQ(Answers::sum(answers.values), mine.right);
      EXPECT_EQ(Answers::sum(answers.errors), mine.died);
      tally.add(mine);
      return count;
    });
  }
}

TEST_P(PoolChaos, EveryItemOfALazyMapHasOneOutcomeInItsPlace) {
  for (unsigned retries : {0U, 1000U}) {
    for (std::size_t chunksize : {1, 7}) {
      Pool pool(options(3));
      const auto numbers = inputs(1000);
      storm(pool, retries, [&](Tally& tally) {
        auto results = pool.imap({.chunksize = chunksize, .retries = retries}, text_work, numbers);
        for (int number : numbers)
          tally.count([&] { return results.next().value() == text_work(number); });
        EXPECT_FALSE(results.next().has_value());
        return numbers.size();
      });
    }
  }
}

TEST_P(PoolChaos, EveryItemOfAnUnorderedMapComesOnce) {
  for (unsigned retries : {0U, 1000U}) {
    Pool pool(options(3));
    const auto numbers = inputs(2000);
    storm(pool, retries, [&](Tally& tally) {
      auto results = pool.imap_unordered({.chunksize = 5, .retries = retries}, work, numbers);
      std::set<int> seen;
      for (std::size_t i = 0; i < numbers.size(); ++i)
        tally.count([&] { return seen.insert(results.next().value()).second; });
      EXPECT_FALSE(results.next().has_value());
      for (int value : seen) EXPECT_EQ(value, work((value - 1) / 3));
      return numbers.size();
    });
  }
}

TEST_P(PoolChaos, AsynchronousMapsEndOnceWhicheverOfTheirWorkersDie) {
  for (unsigned retries : {0U, 1000U}) {
    Pool pool(options(3));
    const auto numbers = inputs(500);
    std::vector<std::string> expected;
    for (int x : numbers) expected.push_back(text_work(x));
    storm(pool, retries, [&](Tally& tally) {
      const std::size_t count = 10;
      Answers answers(count);
      std::vector<cohort::AsyncResult<std::vector<std::string>>> results;
      for (std::size_t i = 0; i < count; ++i) {
        results.push_back(
            pool.map_async({.callback = [&, i](const auto&) { ++answers.values[i]; },
                            .error_callback = [&, i](const auto&) { ++answers.errors[i]; },
                            .retries = retries},
                           text_work, numbers));
      }
      Tally mine;
      for (const auto& result : results) mine.count([&] { return result.get() == expected; });
      EXPECT_TRUE(answers.each_once());
      EXPECT_EQ(Answers::sum(answers.errors), mine.died);
      tally.add(mine);
      return count;
    });
  }
}

// ---- results that are more than bytes

struct WithHandle {
  cohort::Value<int> value;
  int number = 0;
};
WithHandle handle_work(int x) {
  WithHandle result{cohort::Value<int>(0), x};
  result.value.set(work(x));
  return result;
}
std::vector<int> large_work(int x) { return std::vector<int>(20'000, work(x)); }

bool is_right(const WithHandle& result, int x) {
  return result.number == x && result.value.get() == work(x);
}

TEST_P(PoolChaos, HandlesInResultsOutliveTheirWorkers) {
  for (unsigned retries : {0U, 1000U}) {
    Pool pool(options(3));
    const auto numbers = inputs(500);
    storm(pool, retries, [&](Tally& tally) {
      std::vector<cohort::AsyncResult<WithHandle>> results;
      for (int x : numbers)
        results.push_back(pool.apply_async({.retries = retries}, handle_work, x));
      auto lazy = pool.imap({.chunksize = 10, .retries = retries}, handle_work, numbers);
      for (int x : numbers) tally.count([&] { return is_right(lazy.next().value(), x); });
      for (int x : numbers)
        tally.count([&] { return is_right(results[static_cast<std::size_t>(x)].get(), x); });
      return 2 * numbers.size();
    });
  }
}

TEST_P(PoolChaos, LargeResultsAreWholeOrNotThere) {
  for (unsigned retries : {0U, 1000U}) {
    Pool pool(options(3));
    const auto numbers = inputs(100);
    storm(pool, retries, [&](Tally& tally) {
      auto lazy = pool.imap_unordered({.chunksize = 3, .retries = retries}, large_work, numbers);
      for (std::size_t i = 0; i < numbers.size(); ++i) {
        tally.count([&] {
          auto result = lazy.next().value();
          return result == std::vector<int>(20'000, result.at(0));
        });
      }
      for (int x : numbers) {
        tally.count([&] {
          return pool.apply_async({.retries = retries}, large_work, x).get() == large_work(x);
        });
      }
      return 2 * numbers.size();
    });
  }
}

TEST_P(PoolChaos, AtEveryStepAsynchronousCallsLoseNothingEither) {
  for (std::string step : {"schedule.claimed", "schedule.results_written", "schedule.done",
                           "schedule.announced", "schedule.woken"}) {
    SCOPED_TRACE(step);
    SharedFile file;
    (void)!::truncate(file.path().c_str(), 10);
    auto two = options(2);
    two.initializer = cohort::bind(arm, step, file.path());
    Pool pool(two);
    std::atomic<int> called{0};
    int made = 0;
    EXPECT_TRUE(eventually([&] {
      std::vector<cohort::AsyncResult<WithHandle>> results;
      for (int x = 0; x < 20; ++x)
        results.push_back(
            pool.apply_async({.callback = [&](const auto&) { ++called; }}, handle_work, x));
      made += 20;
      auto large = pool.apply_async(large_work, 5);
      for (int x = 0; x < 20; ++x)
        EXPECT_TRUE(is_right(results[static_cast<std::size_t>(x)].get(), x));
      EXPECT_EQ(large.get(), large_work(5));
      return content_bytes(file.path()) == 0;
    }));
    EXPECT_EQ(called, made);
  }
}

// ---- stopped at any instant

TEST_P(PoolChaos, AWorkerStoppedAtAnyInstantHoldsUpOnlyTheCallThatItRuns) {
  constexpr std::size_t kCallers = 4;
  Pool pool(options(3));
  std::atomic<bool> over{false};
  std::array<std::atomic<int>, kCallers> done{};
  std::vector<std::jthread> callers;
  for (auto& mine : done) {
    callers.emplace_back([&] {
      for (int i = 0; !over; ++i) {
        EXPECT_EQ(pool.apply(text_work, i), text_work(i));
        EXPECT_TRUE(is_right(pool.apply(handle_work, i), i));
        EXPECT_EQ(pool.apply_async({.callback = [](int) {}}, work, i).get(), work(i));
        ++mine;
      }
    });
  }
  std::mt19937 random(std::random_device{}());
  for (std::size_t round = 0; round < calls(40) && !HasFailure(); ++round) {
    test::random_pause(random, 3ms);
    const pid_t stopped = pool.stats()[random() % 3].pid;
    if (!send_signal(stopped, SIGSTOP)) continue;
    std::array<int, kCallers> before{};
    std::copy(done.begin(), done.end(), before.begin());
    EXPECT_TRUE(eventually([&] {
      std::size_t moving = 0;
      for (std::size_t i = 0; i < kCallers; ++i) moving += done[i] >= before[i] + 5 ? 1 : 0;
      return moving >= kCallers - 1;
    })) << "more than one caller waits for the worker that is stopped";
    send_signal(stopped, SIGCONT);
  }
  over = true;
}

// ---- limits and cancels

int nap_as(const test::Cells& who, std::uint32_t place, int milliseconds) {
  who[place].store(static_cast<std::uint32_t>(::getpid()));
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
  return ::getpid();
}
int pid_after(int x) {
  work(x);
  return ::getpid();
}

TEST_P(PoolChaos, WhoeverIsCondemnedRunsNothingElseAndNobodyElseSuffers) {
  Pool pool(options(4));
  const std::size_t rounds = calls(60);
  const test::Cells who(2 * rounds);
  std::atomic<bool> over{false};
  std::mutex mutex;
  std::set<pid_t> condemned;  // guarded by mutex
  std::vector<std::jthread> innocents;
  innocents.emplace_back([&] {
    for (int i = 0; !over; ++i) {
      std::set<pid_t> before;
      {
        std::lock_guard guard(mutex);
        before = condemned;
      }
      EXPECT_FALSE(before.contains(pool.apply(pid_after, i % 5000)));
    }
  });
  innocents.emplace_back([&] {
    const auto numbers = inputs(300);
    std::vector<std::string> expected;
    for (int x : numbers) expected.push_back(text_work(x));
    while (!over) EXPECT_EQ(pool.map(text_work, numbers), expected);
  });
  auto condemn = [&](std::uint32_t place) {
    std::lock_guard guard(mutex);
    if (const auto pid = who[place].load()) condemned.insert(static_cast<pid_t>(pid));
  };
  std::size_t late = 0;
  std::mt19937 random(std::random_device{}());
  for (std::uint32_t i = 0; i < rounds; ++i) {
    auto guilty = pool.apply_async({.timeout = 5ms}, nap_as, who, 2 * i, 10'000);
    // A short one may be over at that instant, with its end not noticed yet: no worker dies then.
    const bool brief = i % 2 != 0;
    const int milliseconds = brief ? static_cast<int>(random() % 6) : 10'000;
    auto unwanted = pool.apply_async(nap_as, who, 2 * i + 1, milliseconds);
    test::random_pause(random, 5ms);
    if (unwanted.cancel()) {
      EXPECT_THROW(unwanted.get(), cohort::CancelledError);
      if (!brief) condemn(2 * i + 1);
    } else {
      EXPECT_TRUE(brief);
      EXPECT_EQ(unwanted.get(), static_cast<int>(who[2 * i + 1].load()));
    }
    try {
      guilty.get();
      ADD_FAILURE() << "a task got past its limit";
    } catch (const cohort::TimeoutError&) {
      condemn(2 * i);
      ++late;
    }
  }
  over = true;
  innocents.clear();
  EXPECT_EQ(late, rounds);
  EXPECT_FALSE(condemned.empty());
}

// ---- the family's own processes

TEST_P(PoolChaos, TheDeathOfTheForkServerAndItsStandbyCostsNoTask) {
  auto three = options(3);
  three.retries = 1000;
  Pool pool(three);
  std::vector<int> expected;
  const auto numbers = inputs(3000);
  for (int x : numbers) expected.push_back(work(x));
  std::mt19937 random(std::random_device{}());
  Killer killer(pool);
  for (std::size_t round = 0; round < calls(12) && !HasFailure(); ++round) {
    auto lazy = pool.imap({.chunksize = 20}, work, numbers);
    test::random_pause(random, 3ms);
    // Both at once are more than the family stands.
    std::optional<pid_t> server;
    std::optional<pid_t> standby;
    ASSERT_TRUE(eventually([&] {
      server = test::janitor_pid(0);
      standby = test::standby_pid();
      return server && standby && test::janitor_pid(0) == server;
    }));
    auto victim = cohort::os::Pidfd::open(random() % 2 ? *server : *standby);
    if (victim && victim.send(SIGKILL)) cohort::os::wait_readable(victim.get(), test::soon());
    for (int value : expected) ASSERT_EQ(lazy.next(), value);
    ASSERT_EQ(pool.map(work, numbers), expected);
  }
  killer.stop();
  // The next test finds a family that is whole.
  EXPECT_TRUE(eventually([] { return test::standby_pid().has_value(); }));
}

// ---- the owner

void note_worker(const test::Cells& pids) {
  pids[1 + pids[0].fetch_add(1)].store(static_cast<std::uint32_t>(::getpid()));
}

void own_a_pool(const test::Cells& pids, cohort::StartMethod method) {
  Pool pool({.processes = 3,
             .initializer = cohort::bind(note_worker, pids),
             .retries = 1000,
             .start_method = method});
  std::jthread maps([&] {
    for (;;) pool.map(text_work, inputs(200));
  });
  std::jthread lazy([&] {
    for (;;) {
      for (const auto& result : pool.imap({.chunksize = 3}, handle_work, inputs(100)))
        if (!result.number) continue;
    }
  });
  for (;;) {
    std::vector<cohort::AsyncResult<std::vector<int>>> results;
    for (int i = 0; i < 10; ++i)
      results.push_back(pool.apply_async({.callback = [](const auto&) {}}, large_work, i));
    for (const auto& result : results) result.get();
  }
}

TEST_P(PoolChaos, TheWorkersOfAKilledOwnerEndAndNothingOfThemIsLeft) {
  std::mt19937 random(std::random_device{}());
  for (std::size_t round = 0; round < calls(12) && !HasFailure(); ++round) {
    const test::Cells pids(256);
    cohort::Process owner({.start_method = GetParam()}, own_a_pool, pids, GetParam());
    owner.start();
    ASSERT_TRUE(eventually([&] { return pids[0] != 0 || !owner.is_alive(); }));
    test::random_pause(random, 20ms);
    owner.kill();
    owner.join();
    EXPECT_EQ(owner.exitcode(), -SIGKILL);
    const auto begun = pids[0].load();
    for (std::uint32_t i = 1; i <= begun; ++i) {
      const auto pid = static_cast<pid_t>(pids[i].load());
      EXPECT_TRUE(pid == 0 ||
                  eventually([&] { return !cohort::os::Pidfd::open(pid) || is_zombie(pid); }))
          << "the worker " << pid << " outlives its owner";
    }
  }
}
}  // namespace
