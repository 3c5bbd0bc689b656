// What pools bound and survive: limits of workers, ends of every kind, odd results, and the life of
// pools themselves.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cohort/pool.hpp>
#include <cohort/shared.hpp>
#include <cohort/sync.hpp>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "member.hpp"
#include "os/limits.hpp"
#include "pool_fixture.hpp"

namespace {

using namespace cohort::literals;
using namespace pool_tests;
using cohort::AsyncResult;
using cohort::Event;
using cohort::Pool;
using cohort::PoolOptions;
using cohort::StartMethod;

int square(int x) { return x * x; }
int held(const Event& entered, const Event& gate, int x) {
  entered.set();
  gate.wait();
  return x;
}
std::vector<int> numbers_up_to(int end) {
  std::vector<int> numbers(static_cast<std::size_t>(end));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

// Refuses to be encoded, or to be decoded.
struct Stubborn {
  int value = 0;
  bool stays = false;
  bool spoils = false;
  template <class Archive>
  void save(Archive& archive) const {
    if (stays) throw std::domain_error("no, I stay here");
    archive(value, stays, spoils);
  }
  template <class Archive>
  void load(Archive& archive) {
    archive(value, stays, spoils);
    if (spoils) throw std::range_error("it was spoilt on the way");
  }
};
Stubborn staying(int x) { return {.value = x, .stays = x % 10 == 4}; }
Stubborn spoiling(int x) { return {.value = x, .spoils = x % 10 == 4}; }

int* volatile nowhere = nullptr;
[[gnu::noinline]] void crash_in_this_function() {
  *nowhere = 1;
  asm volatile("" ::: "memory");  // no tail call
}
volatile bool endless = true;
[[gnu::noinline]] int recurse_without_end(int x) {
  volatile char much[4096];
  much[0] = static_cast<char>(x);
  if (!endless) return x;
  int y = recurse_without_end(x + 1);
  return y + much[0];
}

class PoolLimits : public PoolTest {};
INSTANTIATE_TEST_SUITE_P(Every, PoolLimits, kEveryMethod, method_name);

// ---- limits of workers

TEST_P(PoolLimits, AnAllocationPastTheLimitOfMemoryFailsItsTaskAlone) {
  if (test::kSanitized) GTEST_SKIP() << "the sanitizer's own memory counts as well";
  auto one = options(1);
  one.limits.memory = cohort::os::private_bytes() + 512_MiB;
  Pool pool(one);
  auto take = [](std::size_t bytes) {
    std::vector<char> memory(bytes);
    asm volatile("" : : "r"(memory.data()) : "memory");  // not to be left out
    return ::getpid();
  };
  pid_t worker = pool.apply(take, 1_MiB);
  EXPECT_THROW(pool.apply(take, 1_GiB), std::bad_alloc);
  EXPECT_EQ(pool.apply(take, 2_MiB), worker);
}

TEST(PoolLimitsOnce, TimeOnACpuEndsTheWorkerAndNotThePool) {
  ::alarm(250);
  PoolOptions one{.processes = 1, .start_method = StartMethod::fork};
  one.limits.cpu_time = std::chrono::seconds(1);
  Pool pool(one);
  auto burn = [] {
    for (volatile unsigned x = 0;;) x = x + 1;
  };
  try {
    pool.apply(burn);
    FAIL();
  } catch (const cohort::WorkerDied& death) {
    EXPECT_EQ(death.signal(), SIGXCPU);
  }
  EXPECT_EQ(pool.apply(square, 3), 9);
  ::alarm(0);
}

TEST_P(PoolLimits, WorkersGetTheirFilesNicenessAndCpus) {
  auto two = options(2);
  int before = ::getpriority(PRIO_PROCESS, 0);
  auto cpus = cohort::os::usable_cpus();
  two.limits.open_files = 60;
  two.limits.nice = 3;
  two.limits.cpus = {cpus.back()};
  Pool pool(two);
  auto look = [](int) {
    rlimit files{};
    ::getrlimit(RLIMIT_NOFILE, &files);
    cpu_set_t set;
    ::sched_getaffinity(0, sizeof set, &set);
    int cpu = 0;
    while (!CPU_ISSET(static_cast<unsigned>(cpu), &set)) ++cpu;
    return std::array<int, 4>{static_cast<int>(files.rlim_cur), ::getpriority(PRIO_PROCESS, 0),
                              CPU_COUNT(&set), cpu};
  };
  for (const auto& seen : pool.map({.chunksize = 1}, look, numbers_up_to(10)))
    EXPECT_EQ(seen, (std::array{60, before + 3, 1, cpus.back()}));
  auto exhaust = [] {
    int refused = 0;
    std::vector<int> fds;
    while (refused == 0) {
      int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
      fd < 0 ? refused = errno : (fds.push_back(fd), 0);
    }
    for (int fd : fds) ::close(fd);
    return refused;
  };
  EXPECT_EQ(pool.apply(exhaust), EMFILE);
  EXPECT_EQ(pool.apply(square, 3), 9);
}

TEST_P(PoolLimits, AWorkerThatReplacesAnotherHasTheSameLimits) {
  auto one = options(1);
  one.limits.open_files = 60;
  Pool pool(one);
  auto files = [] {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur;
  };
  EXPECT_EQ(pool.apply(files), 60U);
  EXPECT_THROW(pool.apply(+[] { ::raise(SIGKILL); }), cohort::WorkerDied);
  EXPECT_EQ(pool.apply(files), 60U);
}

TEST_P(PoolLimits, LimitsThatASystemRefusesBreakThePoolAndSayWhy) {
  auto one = options(1);
  one.limits.memory = 4096;
  Pool pool(one);
  try {
    pool.apply(square, 1);
    FAIL() << "the pool works";
  } catch (const cohort::BrokenPool& broken) {
    EXPECT_NE(std::string(broken.what()).find("WorkerLimits::memory"), std::string::npos)
        << broken.what();
    EXPECT_THROW(std::rethrow_if_nested(broken), std::system_error);
  }
}

TEST_P(PoolLimits, NonsenseIsRefusedWhenThePoolIsMade) {
  auto refused = [&](auto&& change) {
    auto one = options(1);
    change(one);
    EXPECT_THROW((Pool(one)), std::invalid_argument);
  };
  refused([](PoolOptions& o) { o.processes = 0; });
  refused([](PoolOptions& o) { o.processes = -7; });
  refused([](PoolOptions& o) { o.processes = 1'000'000; });
  refused([](PoolOptions& o) { o.processes = 1LL << 40; });
  refused([](PoolOptions& o) { o.max_tasks_per_child = 0; });
  refused([](PoolOptions& o) { o.max_tasks_per_child = -1; });
  refused([](PoolOptions& o) { o.task_timeout = -1s; });
  refused([](PoolOptions& o) { o.soft_timeout = -1s; });
  refused([](PoolOptions& o) { o.limits.memory = 0; });
  refused([](PoolOptions& o) { o.limits.cpu_time = 0s; });
  refused([](PoolOptions& o) { o.limits.cpu_time = -1s; });
  refused([](PoolOptions& o) { o.limits.open_files = 0; });
  refused([](PoolOptions& o) { o.limits.nice = 20; });
  refused([](PoolOptions& o) { o.limits.nice = -21; });
  refused([](PoolOptions& o) { o.limits.cpus = {-1}; });
  refused([](PoolOptions& o) { o.limits.cpus = {1'000'000}; });
}

TEST_P(PoolLimits, APoolHasAsManyWorkersAsAsked) {
  Pool pool(options(64));
  EXPECT_EQ(pool.stats().size(), 64U);
  EXPECT_EQ(cohort::active_children().size(), 64U);
  auto results = pool.map({.chunksize = 1}, square, numbers_up_to(500));
  EXPECT_EQ(results.back(), 499 * 499);
}

// ---- tasks per worker

TEST_P(PoolLimits, SingleCallsChangeTheWorkerAtItsLimit) {
  auto one = options(1);
  one.max_tasks_per_child = 2;
  Pool pool(one);
  std::vector<pid_t> pids;
  for (int i = 0; i < 6; ++i) pids.push_back(pool.apply(::getpid));
  EXPECT_EQ(std::set<pid_t>(pids.begin(), pids.end()).size(), 3U);
  for (std::size_t i = 0; i < 6; i += 2) EXPECT_EQ(pids[i], pids[i + 1]);
  EXPECT_EQ(pool.stats()[0].restarts, 0U);  // none has died
  EXPECT_EQ(pool.stats()[0].tasks, 6U);
}

TEST_P(PoolLimits, TheItemsOfAMapCountAsTasks) {
  auto two = options(2);
  two.max_tasks_per_child = 5;
  Pool pool(two);
  for (std::size_t chunksize : {0, 1, 3, 100}) {
    auto pids = pool.map(
        {.chunksize = chunksize}, [](int) { return ::getpid(); }, numbers_up_to(20));
    for (pid_t pid : pids) {
      auto items = std::count(pids.begin(), pids.end(), pid);
      // A batch that was begun is finished.
      EXPECT_LT(items, 5 + 5) << "in chunks of " << chunksize;
    }
    EXPECT_GE(std::set<pid_t>(pids.begin(), pids.end()).size(), 3U);
  }
  EXPECT_EQ(pool.map({.chunksize = 7}, square, numbers_up_to(10)).back(), 81);
}

TEST_P(PoolLimits, WorkersThatLeaveAtTheirLimitKeepWhatTheyAnswered) {
  auto two = options(2);
  two.max_tasks_per_child = 1;
  Pool pool(two);
  auto make = [](int x) { return std::string(10'000, static_cast<char>('a' + x)); };
  std::vector<AsyncResult<std::string>> results;
  for (int i = 0; i < 10; ++i) results.push_back(pool.apply_async(make, i));
  for (int i = 0; i < 10; ++i) EXPECT_EQ(results[static_cast<std::size_t>(i)].get(), make(i));
}

// ---- ends of workers

TEST_P(PoolLimits, ACrashTellsWhereItWas) {
  if (test::kSanitized) GTEST_SKIP() << "sanitizers report crashes by themselves";
  Pool pool(options(1));
  try {
    pool.apply(crash_in_this_function);
    FAIL();
  } catch (const cohort::WorkerDied& death) {
    EXPECT_EQ(death.signal(), SIGSEGV);
    EXPECT_NE(death.traceback().find("crash_in_this_function"), std::string::npos)
        << death.traceback();
    EXPECT_NE(death.task().find("crash_in_this_function"), std::string::npos) << death.task();
    EXPECT_NE(std::string(death.what()).find("SIGSEGV"), std::string::npos) << death.what();
  }
  EXPECT_EQ(pool.apply(square, 3), 9);
}

TEST_P(PoolLimits, AStackThatOverflowsIsADeathLikeOthers) {
  if (test::kSanitized) GTEST_SKIP() << "sanitizers report crashes by themselves";
  Pool pool(options(1));
  try {
    pool.apply(recurse_without_end, 1);
    FAIL();
  } catch (const cohort::WorkerDied& death) {
    EXPECT_EQ(death.signal(), SIGSEGV);
    EXPECT_NE(death.traceback().find("recurse_without_end"), std::string::npos)
        << death.traceback();
  }
  EXPECT_EQ(pool.apply(square, 3), 9);
}

TEST_P(PoolLimits, EveryWayToEndAWorkerFailsItsCallAlone) {
  Pool pool(options(1));
  auto end = [](int how) {
    switch (how) {
      case 0:
        std::exit(5);
      case 1:
        ::_exit(6);
      case 2:
        std::abort();
      case 3:
        std::quick_exit(7);
      case 4:
        std::terminate();
      case 5:
        ::raise(SIGTERM);
        break;
      default:
        std::thread([] { throw std::runtime_error("in a thread"); }).join();
    }
  };
  const int codes[] = {5, 6, -SIGABRT, 7, -SIGABRT, -SIGTERM, -SIGABRT};
  for (int how = 0; how < 7; ++how) {
    auto next = pool.apply_async(end, how);
    auto after = pool.apply_async(square, how);
    try {
      next.get();
      ADD_FAILURE() << "case " << how << " was survived";
    } catch (const cohort::WorkerDied& death) {
      EXPECT_EQ(death.exitcode(), codes[how]) << "case " << how;
    }
    EXPECT_EQ(after.get(), how * how);
  }
}

// ---- results

TEST_P(PoolLimits, AResultThatFailsToEncodeFailsItsItemAlone) {
  Pool pool(options(1));
  pid_t worker = pool.apply(::getpid);
  EXPECT_THROW(pool.apply(staying, 4), std::domain_error);
  EXPECT_EQ(pool.apply(staying, 5).value, 5);
  EXPECT_THROW(pool.map(staying, numbers_up_to(20)), std::domain_error);
  int at = 0;
  auto results = pool.imap({.chunksize = 10}, staying, numbers_up_to(20));
  for (; at < 20; ++at) {
    if (at % 10 == 4) {
      EXPECT_THROW(results.next(), std::domain_error);
    } else {
      EXPECT_EQ(results.next().value().value, at);
    }
  }
  EXPECT_EQ(pool.apply(::getpid), worker);
}

TEST_P(PoolLimits, AResultThatFailsToDecodeFailsItsItemAlone) {
  Pool pool(options(1));
  pid_t worker = pool.apply(::getpid);
  EXPECT_THROW(pool.apply(spoiling, 4), std::range_error);
  auto result = pool.apply_async(spoiling, 4);
  EXPECT_THROW(result.get(), std::range_error);
  EXPECT_THROW(result.get(), std::range_error);
  EXPECT_FALSE(result.successful());
  EXPECT_EQ(pool.apply(spoiling, 5).value, 5);
  EXPECT_THROW(pool.map(spoiling, numbers_up_to(20)), std::range_error);
  auto results = pool.imap({.chunksize = 10}, spoiling, numbers_up_to(20));
  for (int at = 0; at < 20; ++at) {
    if (at % 10 == 4) {
      EXPECT_THROW(results.next(), std::range_error);
    } else {
      EXPECT_EQ(results.next().value().value, at);
    }
  }
  bool told = false;
  pool.apply_async({.callback = [](const Stubborn&) { FAIL(); },
                    .error_callback = [&](std::exception_ptr) { told = true; }},
                   spoiling, 4)
      .wait();
  EXPECT_TRUE(told);
  EXPECT_EQ(pool.apply(::getpid), worker);
}

TEST_P(PoolLimits, ArgumentsAndResultsOf64MiBArriveWhole) {
  Pool pool(options(1));
  std::vector<char> big(64_MiB, 'x');
  big[12'345'678] = 'y';
  auto turn = [](const std::vector<char>& bytes) {
    auto turned = bytes;
    std::swap(turned.front(), turned[12'345'678]);
    return turned;
  };
  auto turned = pool.apply_async(turn, big).get();
  ASSERT_EQ(turned.size(), big.size());
  EXPECT_EQ(turned.front(), 'y');
  std::swap(turned.front(), turned[12'345'678]);
  EXPECT_TRUE(turned == big);
}

TEST_P(PoolLimits, ALargeMapIsWholeAndAsOrdered) {
  Pool pool(options(2));
  std::vector<std::string> many;
  for (int i = 0; i < 64; ++i) many.push_back(std::string(1_MiB, static_cast<char>('0' + i)));
  auto same = [](const std::string& s) { return s; };
  EXPECT_TRUE(pool.map_async({.chunksize = 5}, same, many).get() == many);
}

// ---- lives of pools

TEST_P(PoolLimits, TwoPoolsDoNotDisturbEachOther) {
  Pool one(options(1));
  Pool two(options(1));
  Event entered;
  Event gate;
  auto blocked = one.apply_async(held, entered, gate, 5);
  EXPECT_EQ(two.map(square, numbers_up_to(100)).back(), 99 * 99);
  EXPECT_THROW(two.apply(+[] { ::raise(SIGKILL); }), cohort::WorkerDied);
  two.terminate();
  two.join();
  gate.set();
  EXPECT_EQ(blocked.get(), 5);
}

TEST_P(PoolLimits, ATaskMayUseFuturesOfAPoolOfItsOwn) {
  Pool pool(options(2));
  auto inner = [](int n) {
    Pool nested(2);
    std::vector<AsyncResult<int>> results;
    for (int i = 0; i < n; ++i) results.push_back(nested.apply_async(square, i));
    int sum = 0;
    for (const auto& one : results) sum += one.get();
    for (int x : nested.imap(square, std::views::iota(0, n))) sum += x;
    return sum;
  };
  EXPECT_EQ(pool.map({.chunksize = 1}, inner, {3, 4, 5}), (std::vector{10, 28, 60}));
}

TEST_P(PoolLimits, StatsTellOfBusyAndIdleTimeAndOfMemory) {
  Pool pool(options(1));
  auto before = pool.stats()[0];
  auto start = std::chrono::steady_clock::now();
  auto touch = [](std::size_t bytes) {
    std::vector<char> memory(bytes, 'x');
    ::usleep(20'000);
    return memory[bytes / 2];
  };
  pool.apply(touch, 64_MiB);
  auto whole = std::chrono::steady_clock::now() - start;
  auto after = pool.stats()[0];
  EXPECT_EQ(after.pid, before.pid);
  EXPECT_EQ(after.tasks, before.tasks + 1);
  EXPECT_GE(after.busy - before.busy, 20ms);
  EXPECT_LE(after.busy - before.busy, whole);
  EXPECT_GE(after.idle, 0ns);
  EXPECT_GE(after.peak_memory, 64_MiB);
  EXPECT_THROW(pool.apply(+[] { ::raise(SIGKILL); }), cohort::WorkerDied);
  EXPECT_EQ(pool.apply(square, 3), 9);
  auto later = pool.stats()[0];
  EXPECT_EQ(later.restarts, 1U);
  EXPECT_GE(later.tasks, after.tasks + 1);
  EXPECT_GE(later.busy, after.busy);
  EXPECT_GE(later.peak_memory, after.peak_memory);
  pool.terminate();
  pool.join();
  EXPECT_EQ(pool.stats()[0].pid, 0);
}

TEST_P(PoolLimits, TheDefaultPoolIsOneForEachProcess) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "ThreadSanitizer allows no thread after a fork of a program with threads";
#endif
  auto use = [] {
    Pool& pool = cohort::default_pool();
    if (&pool != &cohort::default_pool() || pool.apply(square, 3) != 9) std::exit(1);
    if (pool.stats().size() != cohort::cpu_count()) std::exit(2);
    auto child = cohort::Process::forked([&pool] {
      Pool& own = cohort::default_pool();
      if (&own == &pool || own.apply(square, 4) != 16) std::exit(1);
    });
    child.start();
    child.join();
    if (child.exitcode() != 0) std::exit(3);
    if (pool.apply(square, 5) != 25) std::exit(4);
  };
  // It ends with its process, and so do its workers.
  cohort::Process process({.start_method = GetParam()}, use);
  process.start();
  process.join();
  EXPECT_EQ(process.exitcode(), 0);
}

TEST_P(PoolLimits, PoolsEndInAnyOrderOfCallsFromSeveralThreads) {
  for (int round = 0; round < 6; ++round) {
    auto pool = std::make_unique<Pool>(options(2));
    std::vector<AsyncResult<int>> results;
    for (int i = 0; i < 50; ++i) results.push_back(pool->apply_async(square, i));
    std::atomic<int> joined{0};
    {
      std::vector<std::jthread> threads;
      for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
          if (t == round % 4) pool->close();
          if (t == (round + 1) % 4 && round % 2) pool->terminate();
          try {
            pool->join();
            ++joined;
          } catch (const cohort::InvalidStateError&) {
            // Before anybody had closed it.
          }
          try {
            pool->apply(square, 1);
          } catch (const cohort::InvalidStateError&) {
          } catch (const cohort::CancelledError&) {
          }
          (void)pool->stats();
        });
      }
    }
    EXPECT_GE(joined, 1);
    if (round % 3 == 0) pool->terminate();
    if (round % 3 == 1) pool->close();
    pool.reset();
    for (int i = 0; i < 50; ++i) {
      try {
        EXPECT_EQ(results[static_cast<std::size_t>(i)].get(), i * i);
      } catch (const cohort::CancelledError&) {
        EXPECT_EQ(round % 2, 1);
      }
    }
  }
}

TEST_P(PoolLimits, ATerminateAfterACloseEndsWhatStillRuns) {
  Pool pool(options(1));
  Event entered;
  Event gate;
  auto blocked = pool.apply_async(held, entered, gate, 5);
  ASSERT_TRUE(entered.wait_for(20s));
  pool.close();
  EXPECT_FALSE(blocked.ready());
  pool.terminate();
  pool.close();
  pool.terminate();
  EXPECT_THROW(blocked.get(), cohort::CancelledError);
  pool.join();
}

TEST_P(PoolLimits, AClosedPoolThatIsDroppedFinishesItsWork) {
  std::vector<AsyncResult<int>> results;
  {
    Pool pool(options(2));
    for (int i = 0; i < 200; ++i) results.push_back(pool.apply_async(square, i));
    pool.close();
  }
  for (int i = 0; i < 200; ++i) EXPECT_EQ(results[static_cast<std::size_t>(i)].get(), i * i);
}

TEST_P(PoolLimits, WorkersThatDieInAClosedPoolAreReplacedUntilTheWorkIsDone) {
  auto two = options(2);
  two.retries = 3;
  Pool pool(two);
  cohort::Value<int> deaths(3);
  auto visit = [](const cohort::Value<int>& left, int x) {
    if (x % 10 == 0 && left.fetch_sub(1) > 0) ::raise(SIGKILL);
    return x;
  };
  auto result = pool.map_async({.chunksize = 2}, cohort::bind(visit, deaths), numbers_up_to(40));
  pool.close();
  pool.join();
  EXPECT_TRUE(result.ready());
  EXPECT_EQ(result.get(), numbers_up_to(40));
}

}  // namespace
