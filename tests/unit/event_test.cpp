#include <gtest/gtest.h>

#include <atomic>
#include <cohort/event.hpp>
#include <cohort/pool.hpp>
#include <cohort/process.hpp>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "processes.hpp"
#include "sleepers.hpp"

namespace {

using namespace test;
using cohort::Event;
using cohort::Process;

std::string text(const Event& event) {
  std::ostringstream out;
  out << event;
  return out.str();
}

class EventTest : public Watched {};
class EventBetweenProcesses : public EachMethod {};
INSTANTIATE_TEST_SUITE_P(Methods, EventBetweenProcesses, every_method(), method_name);

// behaviour: Event/flag
TEST_F(EventTest, SetAndClearAreIdempotentAndReadBack) {
  Event event;
  EXPECT_FALSE(event.is_set());
  for (int i = 0; i < 3; ++i) {
    event.set();
    EXPECT_TRUE(event.is_set());
    event.set();
    EXPECT_TRUE(event.is_set());
    event.clear();
    EXPECT_FALSE(event.is_set());
    event.clear();
    EXPECT_FALSE(event.is_set());
  }
}

// behaviour: MpEvent/describe-state
TEST_F(EventTest, TheTextFormTellsSetFromUnset) {
  Event event;
  EXPECT_EQ(text(event), "<Event unset>");
  event.set();
  EXPECT_EQ(text(event), "<Event set>");
  event.clear();
  EXPECT_EQ(text(event), "<Event unset>");
}

// behaviour: Event/timeout
// behaviour: MpEvent/wait-before-set
TEST_F(EventTest, WaitsOnAnUnsetOneEndAfterTheirTimeWithFalse) {
  Event event;
  EXPECT_FALSE(event.wait_for(0s));
  EXPECT_FALSE(event.wait_for(-1s));
  EXPECT_FALSE(event.wait_until(std::chrono::system_clock::now() - 1h));
  for (auto limit : {1ms, 30ms, 250ms}) {  // the last is longer than one bounded sleep
    auto before = Clock::now();
    EXPECT_FALSE(event.wait_for(limit));
    EXPECT_GE(Clock::now() - before, limit);
  }
  auto until = std::chrono::system_clock::now() + 20ms;
  EXPECT_FALSE(event.wait_until(until));
  EXPECT_GE(std::chrono::system_clock::now(), until - 5ms);
}

// behaviour: MpEvent/wait-after-set
TEST_F(EventTest, WaitsOnASetOneAnswerTrueAtOnce) {
  Event event;
  event.set();
  EXPECT_TRUE(event.wait());
  EXPECT_TRUE(event.wait_for(0s));
  EXPECT_TRUE(event.wait_for(-1h));
  EXPECT_TRUE(event.wait_for(std::chrono::hours::max()));
  EXPECT_TRUE(event.wait_until(std::chrono::system_clock::now() - 1h));
}

// behaviour: Event/set-wakes-all
TEST_F(EventTest, OneSetWakesAllAndLaterWaitsPassUntilItIsCleared) {
  Event event;
  std::atomic<int> passed{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 5; ++i)
    threads.emplace_back([&] { passed += event.wait() && event.wait_for(30s) ? 1 : 0; });
  EXPECT_TRUE(sleep_comes(event, 5));
  EXPECT_EQ(passed, 0);
  event.set();
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(passed, 5);
  EXPECT_TRUE(event.wait());
  event.clear();
  EXPECT_FALSE(event.wait_for(1ms));
}

// behaviour: Event/set-then-clear-still-wakes
TEST_F(EventTest, WhoeverWaitsIsToldOfASetThatIsClearedAtOnce) {
  for (int round = 0; round < 50; ++round) {
    Event event;
    std::atomic<int> passed{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 5; ++i)
      threads.emplace_back([&] { passed += event.wait_for(30s) ? 1 : 0; });
    ASSERT_TRUE(sleep_comes(event, 5));
    event.set();
    event.clear();
    for (auto& thread : threads) thread.join();
    ASSERT_EQ(passed, 5);
    ASSERT_FALSE(event.is_set());
  }
}

TEST_F(EventTest, WritesBeforeASetAreSeenAfterTheWait) {
  Event ping;
  Event pong;
  int data = 0;  // not atomic: the events order it
  constexpr int kRounds = kSanitized ? 500 : 5'000;
  std::thread other([&] {
    for (int i = 0; i < kRounds; ++i) {
      ping.wait();
      ping.clear();
      ++data;
      pong.set();
    }
  });
  for (int i = 0; i < kRounds; ++i) {
    ++data;
    ping.set();
    pong.wait();
    pong.clear();
  }
  other.join();
  EXPECT_EQ(data, 2 * kRounds);
}

TEST_F(EventTest, SettersAndWaitersOfOneMomentNeverMiss) {
  // Each round's event is set while its waiters come, at whatever instant of that.
  std::vector<Event> events(kSanitized ? 100 : 2'000);
  std::vector<std::thread> waiters;
  std::atomic<std::size_t> passed{0};
  for (int i = 0; i < 3; ++i) {
    waiters.emplace_back([&] {
      for (const Event& event : events) {
        event.wait();
        ++passed;
      }
    });
  }
  for (std::size_t i = 0; i < events.size(); ++i) {
    EXPECT_TRUE(eventually([&] { return passed.load() >= i; }));
    events[i].set();
  }
  for (auto& waiter : waiters) waiter.join();
  EXPECT_EQ(passed, 3 * events.size());
}

TEST_F(EventTest, CopiesAreTheSameObject) {
  Event event;
  Event copy = event;
  EXPECT_EQ(event, copy);
  EXPECT_FALSE(event == Event());
  copy.set();
  EXPECT_TRUE(event.is_set());
  Event moved = std::move(copy);
  EXPECT_EQ(moved, event);
  EXPECT_THROW(copy.set(), cohort::Error);
  EXPECT_THROW((void)copy.is_set(), cohort::Error);
  EXPECT_THROW(copy.wait_for(1s), cohort::Error);
}

// behaviour: MpEvent/set-by-child
TEST_P(EventBetweenProcesses, AChildsSetEndsAnUntimedWait) {
  Event event;
  event.set();
  event.clear();
  Process child(
      with(), [](const Event& theirs) { theirs.set(); }, event);
  child.start();
  EXPECT_TRUE(event.wait());
  EXPECT_TRUE(event.is_set());
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
}

struct Signals {
  Event go;
  std::vector<Event> done;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(go, done);
  }
};

TEST_P(EventBetweenProcesses, CrossInStructsAndVectors) {
  Signals signals{{}, std::vector<Event>(3)};
  Process child(
      with(),
      [](const Signals& theirs) {
        theirs.go.wait();
        for (const Event& one : theirs.done) one.set();
      },
      signals);
  child.start();
  EXPECT_TRUE(sleep_comes(signals.go, 1));
  EXPECT_FALSE(signals.done[0].is_set());
  signals.go.set();
  for (const Event& one : signals.done) EXPECT_TRUE(one.wait());
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
}

TEST_P(EventBetweenProcesses, CrossInTasksOfAPoolAndInTheirResults) {
  cohort::Pool pool({.processes = 2, .start_method = GetParam()});
  Event event;
  auto back = pool.apply(
      [](const Event& theirs) {
        theirs.set();
        return theirs;
      },
      event);
  EXPECT_EQ(back, event);
  EXPECT_TRUE(event.is_set());
}

TEST_P(EventBetweenProcesses, OneSetWakesWaitersInSeveralProcesses) {
  Event event;
  std::vector<Process> children;
  for (int i = 0; i < 4; ++i)
    children.emplace_back(
        with(), [](const Event& theirs) { std::exit(theirs.wait() ? 7 : 1); }, event);
  for (auto& child : children) child.start();
  EXPECT_TRUE(sleep_comes(event, 4));
  event.set();
  event.clear();
  for (auto& child : children) {
    child.join();
    EXPECT_EQ(child.exitcode(), 7);
  }
}

TEST_F(EventTest, IsInertInAChildThatTheProgramForkedByItself) {
  Event event;
  pid_t pid = ::fork();
  if (pid == 0) {
    int code = 1;
    try {
      event.set();
    } catch (const cohort::Error&) {
      code = 0;
    }
    ::_exit(code);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_FALSE(event.is_set());
}

}  // namespace
