// Calls in a process of their own: results, exceptions, deaths, cancelling.
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cohort/async.hpp>
#include <cohort/threading.hpp>
#include <future>
#include <ios>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <typeinfo>
#include <utility>
#include <vector>

#include "processes.hpp"

namespace {

using namespace test;
using cohort::async;
using cohort::futures::Future;

class Async : public EachMethod {
 protected:
  void SetUp() override {
    EachMethod::SetUp();
    cohort::set_start_method(GetParam());
  }
  void TearDown() override {
    // A call has its result a moment before its process has ended.
    EXPECT_TRUE(eventually([] { return cohort::active_children().empty(); }));
    cohort::set_start_method(StartMethod::forkserver);
    EachMethod::TearDown();
  }
};
INSTANTIATE_TEST_SUITE_P(Methods, Async, every_method(), method_name);

[[noreturn]] void wait_for_a_signal() {
  for (;;) ::pause();
}

// ---- results

TEST_P(Async, ResultsOfManyKindsComeBack) {
  EXPECT_EQ(async([] { return std::string("text"); }).get(), "text");
  EXPECT_EQ(async([] {
              return std::vector<std::string>{"a", "b"};
            }).get(),
            (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(async([] { return std::optional<int>(); }).get(), std::nullopt);
  EXPECT_EQ(*async([] { return std::make_unique<int>(7); }).get(), 7);
  EXPECT_EQ(async([](int& x) -> int& { return x; }, 8).get(), 8);  // by value
  EXPECT_NO_THROW(async([] {}).get());
  static_assert(std::is_same_v<decltype(async([] {})), Future<void>>);
  static_assert(std::is_same_v<decltype(async([](const int& x) -> const int& { return x; }, 1)),
                               Future<int>>);
}

TEST_P(Async, AResultOfAHundredMegabytesComesBack) {
  auto large = async([] { return std::vector<char>(100'000'000, 'x'); }).get();
  EXPECT_EQ(large.size(), 100'000'000U);
  EXPECT_EQ(large.back(), 'x');
}

TEST_P(Async, AHandleAsAResultOutlivesItsMaker) {
  Channel made = async([] {
                   auto channel = Channel::make();
                   channel.send(11);
                   return channel;
                 }).get();
  EXPECT_EQ(made.receive<int>(), 11);
}

TEST_P(Async, EachCallHasAProcessOfItsOwn) {
  auto pid = [] { return static_cast<int>(::getpid()); };
  auto a = async(pid);
  auto b = async(pid);
  int first = a.get();
  int second = b.get();
  EXPECT_NE(first, second);
  EXPECT_NE(first, ::getpid());
}

TEST_P(Async, AResultCanBeAskedForTwiceAndByCopies) {
  auto future = async([](int x) { return x; }, 3);
  auto copy = future;
  EXPECT_EQ(future.get(), 3);
  EXPECT_EQ(future.get(), 3);
  EXPECT_EQ(copy.get(), 3);
}

TEST_P(Async, SeveralThreadsMayAsk) {
  auto gate = Channel::make();
  auto future = async([](Channel& g) { return g.receive<int>() * 2; }, gate);
  std::vector<std::thread> threads;
  std::atomic<int> sum{0};
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&, copy = future]() mutable {
      while (!copy.wait_for(1ms)) {
      }
      sum += copy.get();
    });
  }
  gate.send(21);
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(sum, 6 * 42);
}

TEST_P(Async, ACallKeepsItsProcessBusyOnlyAsLongAsItRuns) {
  auto gate = Channel::make();
  auto future = async([](Channel& g) { return g.receive<int>(); }, gate);
  EXPECT_TRUE(future.valid());
  EXPECT_TRUE(future.running());
  EXPECT_FALSE(future.done());
  EXPECT_FALSE(future.wait_for(1ms));
  EXPECT_FALSE(future.wait_for(-1s));
  EXPECT_THROW(future.get(1ms), cohort::TimeoutError);
  gate.send(4);
  EXPECT_EQ(future.get(kPatience), 4);
  EXPECT_TRUE(future.done());
  EXPECT_FALSE(future.running());
  EXPECT_FALSE(future.exception());
}

TEST_P(Async, AFutureThatIsDroppedLeavesNoProcess) {
  auto gate = Channel::make();
  auto done = Channel::make();
  {
    auto future = async(
        [](Channel& g, Channel& d) {
          g.receive<int>();
          d.send(1);
        },
        gate, done);
  }
  gate.send(1);
  EXPECT_EQ(done.receive<int>(), 1);
  EXPECT_TRUE(eventually([] { return cohort::active_children().empty(); }));
}

TEST_P(Async, TheCallMayStartThreadsProcessesAndCalls) {
  auto nested = [](StartMethod method) {
    cohort::set_start_method(method);
    auto inner = async([](int x) { return x * x; }, 5);
    int squared = 0;
    std::thread thread([&] { squared = inner.get(); });
    thread.join();
    return squared;
  };
  EXPECT_EQ(async(nested, GetParam()).get(), 25);
}

TEST(EmptyFuture, SaysThatItIsEmpty) {
  Future<int> none;
  EXPECT_FALSE(none.valid());
  EXPECT_THROW(none.get(), cohort::InvalidStateError);
  EXPECT_THROW(none.wait(), cohort::InvalidStateError);
  EXPECT_THROW(none.cancel(), cohort::InvalidStateError);
}

// ---- exceptions come home as their own type

// Checks type, message and origin of what a call threw.
template <class E, class Call>
void expect_thrown(Call call, const std::string& message, const std::string& type) {
  auto future = async(call);
  try {
    future.get();
    FAIL() << "it did not throw " << type;
  } catch (const E& error) {
    EXPECT_EQ(std::string(error.what()), message);
    const auto* origin = dynamic_cast<const cohort::RemoteInfo*>(&error);
    ASSERT_NE(origin, nullptr) << type;
    EXPECT_EQ(origin->type_name(), type);
    EXPECT_EQ(origin->message(), message);
    EXPECT_NE(origin->pid(), ::getpid());
    EXPECT_NE(origin->pid(), 0);
    EXPECT_FALSE(origin->traceback().empty());
  }
  EXPECT_THROW(future.get(), E);  // every time
  ASSERT_TRUE(future.exception());
  EXPECT_THROW(std::rethrow_exception(future.exception()), E);
}

TEST_P(Async, StandardExceptionsComeHomeAsTheirOwnType) {
  expect_thrown<std::runtime_error>([]() -> int { throw std::runtime_error("r"); }, "r",
                                    "std::runtime_error");
  expect_thrown<std::logic_error>([] { throw std::logic_error("l"); }, "l", "std::logic_error");
  expect_thrown<std::out_of_range>([] { throw std::out_of_range("o"); }, "o", "std::out_of_range");
  expect_thrown<std::invalid_argument>([] { throw std::invalid_argument("i"); }, "i",
                                       "std::invalid_argument");
  expect_thrown<std::domain_error>([] { throw std::domain_error("d"); }, "d", "std::domain_error");
  expect_thrown<std::overflow_error>([] { throw std::overflow_error("f"); }, "f",
                                     "std::overflow_error");
  expect_thrown<std::out_of_range>([] { return std::vector<int>().at(3); },
                                   "vector::_M_range_check: __n (which is 3) >= this->size() "
                                   "(which is 0)",
                                   "std::out_of_range");
  expect_thrown<std::bad_alloc>([] { throw std::bad_alloc(); }, std::bad_alloc().what(),
                                "std::bad_alloc");
}

TEST_P(Async, ASystemErrorKeepsItsCode) {
  try {
    async([] { throw std::system_error(ENOENT, std::generic_category(), "opening it"); }).get();
    FAIL();
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code(), std::errc::no_such_file_or_directory);
    EXPECT_EQ(std::string(error.what()), "opening it: No such file or directory");
  }
}

TEST_P(Async, CohortsOwnErrorsComeHome) {
  EXPECT_THROW(async([] { throw cohort::KeyError("k"); }).get(), cohort::KeyError);
  EXPECT_THROW(async([] { throw cohort::TimeoutError(); }).get(), cohort::TimeoutError);
  EXPECT_THROW(async([] { Process([] {}).join(); }).get(), cohort::InvalidStateError);
}

class Registered : public std::runtime_error {
 public:
  Registered() : std::runtime_error("registered") {}
  explicit Registered(int code) : std::runtime_error("registered"), code_(code) {}
  int code() const { return code_; }
  template <class Archive>
  void serialize(Archive& archive) {
    archive(code_);
  }

 private:
  int code_ = 0;
};
class NamedOnly : public std::logic_error {
 public:
  explicit NamedOnly(const std::string& text) : std::logic_error(text) {}
};
class Unregistered : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

const bool registered =
    (cohort::register_exception<Registered>(), cohort::register_exception<NamedOnly>(), true);

TEST_P(Async, RegisteredTypesComeHomeWithTheirData) {
  ASSERT_TRUE(registered);
  try {
    async([] { throw Registered(77); }).get();
    FAIL();
  } catch (const Registered& error) {
    EXPECT_EQ(error.code(), 77);
  }
  EXPECT_THROW(async([] { throw NamedOnly("by its text"); }).get(), NamedOnly);
}

TEST_P(Async, UnregisteredTypesComeHomeAsRemoteErrorWithTheirName) {
  try {
    async([] { throw Unregistered("what it said"); }).get();
    FAIL();
  } catch (const cohort::RemoteError& error) {
    EXPECT_NE(error.type_name().find("Unregistered"), std::string::npos);
    EXPECT_EQ(error.message(), "what it said");
    EXPECT_NE(std::string(error.what()).find("Unregistered: what it said"), std::string::npos);
  }
  EXPECT_THROW(async([] { throw 5; }).get(), cohort::RemoteError);
}

TEST_P(Async, AnExceptionCanBeCaughtByItsOrigin) {
  try {
    async([] { throw std::runtime_error("x"); }).get();
    FAIL();
  } catch (const cohort::RemoteInfo& info) {
    EXPECT_EQ(info.type_name(), "std::runtime_error");
  }
}

TEST_P(Async, AnExceptionOfAGrandchildKeepsItsOrigin) {
  auto nested = [] { return async([]() -> int { throw Registered(3); }).get(); };
  try {
    async(nested).get();
    FAIL();
  } catch (const Registered& error) {
    EXPECT_EQ(error.code(), 3);
  }
}

TEST_P(Async, AFailedCallPrintsNothing) {
  testing::internal::CaptureStderr();
  EXPECT_THROW(async([] { throw std::runtime_error("quiet"); }).get(), std::runtime_error);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

// ---- deaths

TEST_P(Async, AKilledCallSaysHowItDied) {
  auto channel = Channel::make();
  auto future = async(
      [](Channel& c) {
        c.send(static_cast<int>(::getpid()));
        wait_for_a_signal();
        return 1;
      },
      channel);
  int pid = channel.receive<int>();
  ::kill(pid, SIGKILL);
  try {
    future.get();
    FAIL();
  } catch (const cohort::WorkerDied& death) {
    EXPECT_EQ(death.pid(), pid);
    EXPECT_EQ(death.signal(), SIGKILL);
    EXPECT_EQ(death.exitcode(), -SIGKILL);
    EXPECT_FALSE(death.task().empty());
  }
  EXPECT_TRUE(future.done());
}

TEST_P(Async, ACallThatExitsSaysItsCode) {
  try {
    async([] { std::exit(9); }).get();
    FAIL();
  } catch (const cohort::WorkerDied& death) {
    EXPECT_EQ(death.exitcode(), 9);
    EXPECT_EQ(death.signal(), 0);
  }
}

// ---- cancelling

TEST_P(Async, ACancelledCallEndsItsProcess) {
  auto channel = Channel::make();
  auto future = async(
      [](Channel& c) {
        c.send(static_cast<int>(::getpid()));
        wait_for_a_signal();
        return 1;
      },
      channel);
  pid_t pid = channel.receive<int>();
  EXPECT_TRUE(future.cancel());
  EXPECT_TRUE(future.cancelled());
  EXPECT_TRUE(future.done());
  EXPECT_THROW(future.get(), cohort::CancelledError);
  EXPECT_THROW((void)future.exception(), cohort::CancelledError);
  EXPECT_TRUE(disappears(pid));
  EXPECT_TRUE(future.cancel());
}

TEST_P(Async, AnEndedCallCannotBeCancelled) {
  auto future = async([] { return 1; });
  future.wait();
  EXPECT_FALSE(future.cancel());
  EXPECT_FALSE(future.cancelled());
  EXPECT_EQ(future.get(), 1);
}

}  // namespace
