// A system that refuses, and values that do harm: a clear error for the call that it concerns, and
// the pool goes on.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cohort/event.hpp>
#include <cohort/pool.hpp>
#include <cohort/process.hpp>
#include <cohort/process_executor.hpp>
#include <cohort/value.hpp>
#include <csignal>
#include <cstddef>
#include <exception>
#include <iterator>
#include <memory>
#include <new>
#include <ranges>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "chaos.hpp"
#include "pool_fixture.hpp"
#include "processes.hpp"

namespace {

std::atomic<bool> threads_refused = false;

}  // namespace

// As when there are too many threads.
extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                              void* (*body)(void*), void* argument) noexcept {
  using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const auto create = reinterpret_cast<Create>(::dlsym(RTLD_NEXT, "pthread_create"));
  return threads_refused ? EAGAIN : create(thread, attributes, body, argument);
}

namespace {

using namespace pool_tests;
using cohort::Pool;
using cohort::futures::ProcessPoolExecutor;

int square(int x) { return x * x; }
int nap(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
  return milliseconds;
}
const auto kForever = 600'000;  // ms
std::vector<int> squares_of_1_to_3() { return {1, 4, 9}; }

class PoolFailures : public PoolTest {};
class PoolFailuresOfFork : public test::Watched {};
INSTANTIATE_TEST_SUITE_P(Every, PoolFailures, kEveryMethod, method_name);

// Answers the message of the E that the call throws; another end is a failure.
template <class E, class Call>
std::string thrown(Call&& call) {
  try {
    call();
  } catch (const E& error) {
    return error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "another exception: " << error.what();
    return {};
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

void expect_works(Pool& pool) {
  EXPECT_EQ(pool.apply(square, 5), 25);
  EXPECT_EQ(pool.map(square, {1, 2, 3}), squares_of_1_to_3());
  EXPECT_EQ(pool.apply_async(square, 6).get(), 36);
}

// ---- no threads

class NoThreads {
 public:
  NoThreads() { threads_refused = true; }
  ~NoThreads() { threads_refused = false; }
  NoThreads(const NoThreads&) = delete;
  NoThreads& operator=(const NoThreads&) = delete;
};

TEST_P(PoolFailures, APoolWithoutItsThreadIsNotMade) {
  const NoThreads none;
  EXPECT_THROW(Pool{options(2)}, std::system_error);
}

// Each call is refused by name or runs to its end; nothing of it stays behind.
TEST_P(PoolFailures, CallsWithoutAThreadToAttendThemAreRefusedOrRun) {
  Pool pool(options(2));
  std::atomic<int> called{0};
  {
    const NoThreads none;
    EXPECT_EQ(pool.apply(square, 3), 9);
    auto refused_or = [](auto&& call) {
      try {
        call();
      } catch (const std::system_error& error) {
        EXPECT_EQ(error.code().value(), EAGAIN);
      }
    };
    refused_or([&] { EXPECT_EQ(pool.apply_async(square, 3).get(), 9); });
    refused_or([&] {
      pool.apply_async({.callback = [&](int x) { called += x; }}, square, 3).wait();
      EXPECT_EQ(called, 9);
    });
    refused_or([&] { EXPECT_EQ(pool.map_async(square, {1, 2, 3}).get(), squares_of_1_to_3()); });
    refused_or([&] {
      auto results = pool.imap(square, {1, 2, 3});
      for (int expected : squares_of_1_to_3()) EXPECT_EQ(results.next(), expected);
    });
    EXPECT_EQ(pool.apply(square, 4), 16);
  }
  expect_works(pool);
  pool.close();
  pool.join();
}

TEST_P(PoolFailures, APoolEndsWithoutAnotherThread) {
  for (bool close : {true, false}) {
    Pool pool(options(2));
    const NoThreads none;
    try {
      pool.apply_async(square, 3).get();
    } catch (const std::system_error&) {
    }
    if (!close) continue;
    pool.close();
    pool.join();
  }
}

TEST_P(PoolFailures, CallbacksOfFuturesRunWithoutAThreadOfTheirOwn) {
  ProcessPoolExecutor executor({.max_workers = 1, .start_method = GetParam()});
  EXPECT_EQ(executor.submit(square, 2).get(), 4);
  auto future = executor.submit(nap, 20);
  const NoThreads none;
  std::atomic<int> called{0};
  try {
    future.add_done_callback([&](const auto& ended) { called += ended.get(); });
  } catch (const std::system_error&) {
    called = 20;
  }
  EXPECT_EQ(future.get(), 20);
  EXPECT_TRUE(eventually([&] { return called == 20; }));
}

// ---- no descriptors, no processes

class FewDescriptors {
 public:
  FewDescriptors() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit few{4, before_.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &few);
  }
  ~FewDescriptors() { restore(); }
  FewDescriptors(const FewDescriptors&) = delete;
  FewDescriptors& operator=(const FewDescriptors&) = delete;
  void restore() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST_P(PoolFailures, AWorkerThatCannotBeReplacedForWantOfDescriptorsIsReplacedLater) {
  Pool pool(options(2));
  expect_works(pool);
  const pid_t victim = pool.stats()[0].pid;
  FewDescriptors few;
  ASSERT_EQ(::kill(victim, SIGKILL), 0);
  ASSERT_TRUE(eventually([&] { return pool.stats()[0].pid != victim; }));
  for (int i = 0; i < 100; ++i) EXPECT_EQ(pool.apply(square, i), i * i);
  EXPECT_EQ(pool.stats()[0].pid, 0);
  few.restore();
  EXPECT_TRUE(eventually([&] { return pool.stats()[0].pid != 0; }));
  expect_works(pool);
}

TEST_P(PoolFailures, APoolWhoseWorkersCannotBeReplacedIsBrokenAndSaysWhy) {
  Pool pool(options(2));
  auto waiting = pool.apply_async(nap, kForever);
  const auto workers = pool.stats();
  FewDescriptors few;
  for (const auto& worker : workers) ASSERT_EQ(::kill(worker.pid, SIGKILL), 0);
  ASSERT_TRUE(eventually([&] { return waiting.ready(); }));
  auto text = [&] {
    for (;;) {
      try {
        pool.apply(square, 2);
      } catch (const cohort::WorkerDied&) {
        continue;  // was given to the other one before that died
      } catch (const cohort::BrokenPool& error) {
        EXPECT_THROW(std::rethrow_if_nested(error), std::system_error);
        return std::string(error.what());
      }
    }
  }();
  EXPECT_NE(text.find("Too many open files"), std::string::npos) << text;
}

// From now on this process makes no other and no thread.
void refuse_processes() {
  const std::vector<sock_filter> code{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAGAIN),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog program{static_cast<unsigned short>(code.size()),
                           const_cast<sock_filter*>(code.data())};
  // For all threads: one of the pool's starts the workers.
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) != 0)
    throw std::system_error(errno, std::generic_category(), "seccomp");
}

// Runs `body` in a process of its own, that may do to itself what it likes. Its failures are there.
template <class Body>
void in_a_child(Body&& body) {
  auto child = cohort::Process::forked([&] {
    body();
    if (testing::Test::HasFailure()) throw std::runtime_error("see above");
  });
  child.start();
  EXPECT_TRUE(child.join_for(60s));
  EXPECT_EQ(child.exitcode(), 0);
}

TEST_F(PoolFailuresOfFork, AForkThatIsRefusedLeavesTheOtherWorkersToGoOn) {
  in_a_child([] {
    Pool pool({.processes = 2, .start_method = cohort::StartMethod::fork});
    expect_works(pool);
    refuse_processes();
    const auto workers = pool.stats();
    ::kill(workers[0].pid, SIGKILL);
    EXPECT_TRUE(eventually([&] { return pool.stats()[0].pid != workers[0].pid; }));
    for (int i = 0; i < 100; ++i) EXPECT_EQ(pool.apply(square, i), i * i);
    auto last = pool.apply_async(nap, kForever);
    ::kill(workers[1].pid, SIGKILL);
    EXPECT_TRUE(eventually([&] { return last.ready(); }));
    EXPECT_TRUE(eventually([&] {
      try {
        pool.apply(square, 2);
      } catch (const cohort::BrokenPool& error) {
        return std::string(error.what()).find("Resource temporarily") != std::string::npos;
      } catch (const cohort::WorkerDied&) {
      }
      return false;
    }));
  });
}

TEST_F(PoolFailuresOfFork, ProgressNeedsNoStandardError) {
  in_a_child([] {
    ::close(STDERR_FILENO);
    Pool pool({.processes = 2, .start_method = cohort::StartMethod::fork});
    std::vector<int> items(50, 5);
    EXPECT_EQ(pool.map({.chunksize = 1, .progress = true}, nap, items), items);
    expect_works(pool);
  });
  in_a_child([] {
    Pool pool({.processes = 2, .start_method = cohort::StartMethod::fork});
    ::close(STDERR_FILENO);
    std::vector<int> items(50, 5);
    EXPECT_EQ(pool.map({.chunksize = 1, .progress = true}, nap, items), items);
    expect_works(pool);
  });
}

// ---- kills that are too many for a worker, not for the pool

TEST_P(PoolFailures, AWorkerThatIsAlwaysKilledAtItsStartDoesNotBreakAPoolThatWorks) {
  auto two = options(2);
  two.initializer = cohort::bind(nap, 5);
  Pool pool(two);
  expect_works(pool);
  const pid_t stays = pool.stats()[0].pid;
  std::set<pid_t> killed;
  for (int i = 0; i < 25; ++i) {
    pid_t next = 0;
    ASSERT_TRUE(eventually([&] {
      next = pool.stats()[1].pid;
      return next != 0 && !killed.contains(next);
    })) << "the pool has given up after "
        << i << " deaths";
    killed.insert(next);
    ::kill(next, SIGKILL);
  }
  expect_works(pool);
  EXPECT_EQ(pool.stats()[0].pid, stays);
}

// ---- more than the queue of tasks has room for

TEST_P(PoolFailures, CancelledCallsTakeNoRoomFromOthers) {
  Pool pool(options(1));
  auto running = pool.apply_async(nap, kForever);
  ASSERT_TRUE(eventually([&] { return pool.stats()[0].pid != 0; }));
  auto first = pool.apply_async(square, 7);
  for (int i = 0; i < 70'000; ++i) ASSERT_TRUE(pool.apply_async(square, i).cancel());
  auto last = pool.apply_async(square, 8);
  // The death of the worker puts what it ran back into the queue, or fails it.
  ::kill(pool.stats()[0].pid, SIGKILL);
  EXPECT_EQ(first.get(), 49);
  EXPECT_EQ(last.get(), 64);
  EXPECT_THROW(running.get(), cohort::WorkerDied);
}

bool wait_for(const cohort::Event& go) {
  go.wait();
  return true;
}

TEST_P(PoolFailures, ARetryFindsRoomBehindCancelledCalls) {
  auto one = options(1);
  one.retries = 1;
  Pool pool(one);
  cohort::Event go;
  auto running = pool.apply_async(wait_for, go);
  auto first = pool.apply_async(square, 7);
  for (int i = 0; i < 32'767; ++i) ASSERT_TRUE(pool.apply_async(square, i).cancel());
  ::kill(pool.stats()[0].pid, SIGKILL);
  go.set();
  EXPECT_TRUE(running.get());
  EXPECT_EQ(first.get(), 49);
}

// ---- callbacks

TEST_P(PoolFailures, ACallbackMayCancelACallThatHasCallbacks) {
  Pool pool(options(2));
  std::atomic<int> told{0};
  auto slow = pool.apply_async(
      {.callback = [&](int) { ++told; }, .error_callback = [&](const auto&) { ++told; }}, nap,
      kForever);
  std::atomic<bool> cancelled{false};
  auto fast = pool.apply_async({.callback = [&](int) { cancelled = slow.cancel(); }}, square, 3);
  ASSERT_TRUE(fast.wait_for(20s)) << "the callback waits for itself";
  EXPECT_TRUE(cancelled);
  EXPECT_THROW(slow.get(), cohort::CancelledError);
  EXPECT_TRUE(eventually([&] { return told == 1; }));
}

TEST_P(PoolFailures, ACallbackThatThrowsIsReportedAndHurtsNobody) {
  Pool pool(options(2));
  std::atomic<int> called{0};
  testing::internal::CaptureStderr();
  for (int i = 0; i < 20; ++i) {
    auto result = pool.apply_async({.callback =
                                        [&](int) {
                                          ++called;
                                          throw std::runtime_error("from the callback");
                                        }},
                                   square, i);
    EXPECT_EQ(result.get(), i * i);
  }
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_EQ(called, 20);
  EXPECT_NE(said.find("from the callback"), std::string::npos) << said;
}

// ---- hostile values

struct ThrowsOnCopy : std::runtime_error {
  ThrowsOnCopy() : std::runtime_error("I am not copied") {}
  explicit ThrowsOnCopy(const std::string& text) : std::runtime_error(text) {}
  ThrowsOnCopy(const ThrowsOnCopy& other) : std::runtime_error(other) {
    throw std::logic_error("copied");
  }
};
int throw_uncopied(int) { throw ThrowsOnCopy(); }

TEST_P(PoolFailures, AnExceptionThatCannotBeCopiedIsAFailureOfThatCallOnly) {
  Pool pool(options(2));
  for (int i = 0; i < 3; ++i) {
    EXPECT_THROW(pool.apply(throw_uncopied, i), std::exception);
    EXPECT_THROW(pool.apply_async(throw_uncopied, i).get(), std::exception);
    EXPECT_THROW(pool.map(throw_uncopied, {1, 2, 3}), std::exception);
    expect_works(pool);
  }
  for (const auto& worker : pool.stats()) EXPECT_EQ(worker.restarts, 0U);
}

// Throws where it is encoded, or decoded, if it says so.
struct Grudging {
  int number = 0;
  bool no_encode = false;
  bool no_decode = false;
  cohort::Value<int> handle = cohort::Value<int>(0);
  std::string text = std::string(500, 'g');

  template <class Archive>
  void serialize(Archive& archive) {
    archive(number, no_encode, no_decode, handle, text);
    if (Archive::is_loading::value ? no_decode : no_encode)
      throw std::runtime_error("this value does not travel");
  }
};
Grudging no_encode_at_3(int x) { return {.number = x, .no_encode = x % 5 == 3}; }
Grudging no_decode_at_3(int x) { return {.number = x, .no_decode = x % 5 == 3}; }
int number_of(const Grudging& value) { return value.number; }

TEST_P(PoolFailures, AResultThatCannotTravelFailsItsItemOnly) {
  Pool pool(options(2));
  for (auto* function : {no_encode_at_3, no_decode_at_3}) {
    for (std::size_t chunksize : {1, 10}) {
      auto results = pool.imap({.chunksize = chunksize}, function, std::views::iota(0, 100));
      for (int i = 0; i < 100; ++i) {
        try {
          EXPECT_EQ(results.next().value().number, i);
          EXPECT_NE(i % 5, 3);
        } catch (const std::exception& error) {
          EXPECT_EQ(i % 5, 3) << error.what();
        }
      }
    }
    EXPECT_EQ(pool.apply(function, 4).number, 4);
    EXPECT_THROW(pool.apply(function, 3), std::exception);
    EXPECT_THROW(pool.apply_async(function, 3).get(), std::exception);
    EXPECT_THROW(pool.map(function, {1, 2, 3, 4}), std::exception);
    EXPECT_THROW(pool.map_async(function, {1, 2, 3, 4}).get(), std::exception);
  }
  expect_works(pool);
  for (const auto& worker : pool.stats()) EXPECT_EQ(worker.restarts, 0U);
}

TEST_P(PoolFailures, AnArgumentThatCannotTravelFailsItsCallOnly) {
  Pool pool(options(2));
  const Grudging good{.number = 1};
  for (const Grudging& bad : {Grudging{.no_encode = true}, Grudging{.no_decode = true}}) {
    EXPECT_THROW(pool.apply(number_of, bad), std::exception);
    EXPECT_THROW(pool.apply_async(number_of, bad).get(), std::exception);
    EXPECT_THROW(pool.map(number_of, {good, good, bad, good}), std::exception);
    EXPECT_THROW(pool.map_async(number_of, {good, good, bad, good}).get(), std::exception);
    EXPECT_EQ(pool.map(number_of, {good, good}), std::vector<int>({1, 1}));
  }
  expect_works(pool);
  for (const auto& worker : pool.stats()) EXPECT_EQ(worker.restarts, 0U);
}

// ---- inputs that throw

std::vector<std::string> words(int count) {
  std::vector<std::string> all;
  for (int i = 0; i < count; ++i) all.push_back(std::to_string(i));
  return all;
}
struct BadItem : std::runtime_error {
  BadItem() : std::runtime_error("the input ends badly") {}
};
auto bad_from(int last) {
  return std::views::iota(0, 5000) | std::views::transform([last](int x) {
           if (x == last) throw BadItem();
           return x;
         });
}
std::size_t length(const std::string& text) { return text.size(); }
auto bad_words(int last) {
  return bad_from(last) |
         std::views::transform([](int x) { return std::string(50, 'w') + words(x % 2 + 1)[0]; });
}

TEST_P(PoolFailures, AnInputThatThrowsInTheMiddleOfAMapEndsItWithThat) {
  Pool pool(options(2));
  for (int last : {0, 1, 777, 4999}) {
    EXPECT_THROW(pool.map(square, bad_from(last)), BadItem);
    EXPECT_THROW(pool.map(length, bad_words(last)), BadItem);
    EXPECT_THROW(pool.map_async(square, bad_from(last)), BadItem);
    EXPECT_THROW(pool.map_async(length, bad_words(last)), BadItem);
    expect_works(pool);
  }
}

TEST_P(PoolFailures, AnInputThatThrowsEndsALazyMapBehindTheItemsBeforeIt) {
  Pool pool(options(2));
  for (int last : {0, 1, 500}) {
    auto results = pool.imap({.chunksize = 7}, square, bad_from(last));
    for (int i = 0; i < last; ++i) ASSERT_EQ(results.next(), i * i);
    EXPECT_THROW(results.next(), BadItem);
    EXPECT_FALSE(results.next().has_value());
    auto any = pool.imap_unordered(square, bad_from(last));
    int count = 0;
    EXPECT_THROW(while (any.next())++ count, BadItem);
    EXPECT_EQ(count, last);
  }
  expect_works(pool);
}

// ---- destructors

// Submits once more when it goes, in the process that made it.
struct Again {
  int number = 0;
  static inline Pool* pool = nullptr;
  static inline pid_t owner = 0;
  static inline std::atomic<int> submitted = 0;

  Again() = default;
  explicit Again(int x) : number(x) {}
  Again(const Again&) = default;
  Again& operator=(const Again&) = default;
  ~Again() {
    if (!pool || ::getpid() != owner) return;
    EXPECT_EQ(pool->apply_async(square, number).get(), number * number);
    ++submitted;
  }
  template <class Archive>
  void serialize(Archive& archive) {
    archive(number);
  }
};
int number_of_again(const Again& value) { return value.number; }

TEST_P(PoolFailures, AnArgumentMaySubmitAgainWhenItIsDestroyed) {
  Pool pool(options(2));
  Again::owner = ::getpid();
  Again::pool = &pool;
  Again::submitted = 0;
  {
    std::vector<cohort::AsyncResult<int>> results;
    for (int i = 0; i < 50; ++i)
      results.push_back(pool.apply_async({.callback = [](int) {}}, number_of_again, Again(i)));
    results.push_back(pool.apply_async(number_of_again, Again(50)));
    for (int i = 0; i <= 50; ++i) EXPECT_EQ(results[static_cast<std::size_t>(i)].get(), i);
    auto lost = pool.apply_async(nap, kForever);
    EXPECT_TRUE(lost.cancel());
    std::vector<Again> items(20);
    EXPECT_EQ(pool.map_async(number_of_again, items).get(), std::vector<int>(20, 0));
    EXPECT_EQ(pool.map(number_of_again, items), std::vector<int>(20, 0));
  }
  Again::pool = nullptr;
  EXPECT_GT(Again::submitted, 50);
}

// ---- no memory

TEST(PoolExhausted, ACallWithoutRoomInTheArenaFailsAloneAndSaysHowToGetMore) {
  const auto outcome = test::run_program("pool_exhausted", {});
  EXPECT_EQ(outcome.code, 0) << outcome;
}

}  // namespace
