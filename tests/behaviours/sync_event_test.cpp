#include <sstream>

#include "sync_fixture.hpp"

namespace {

using namespace test;
using cohort::Event;

class MpEvent : public EachMethodSync {};
INSTANTIATE_TEST_SUITE_P(Methods, MpEvent, every_method(), method_name);
using SyncEvent = SyncTest;

// behaviour: MpEvent/wait-before-set
TEST_P(MpEvent, AnUnsetEventReadsAsUnsetAndItsWaitsTimeOut) {
  const auto check = [](const Event& event) {
    require(!event.is_set(), "unset");
    require(!event.wait_for(0s), "a wait of no time");
    require(!event.wait_for(-1s), "a wait of less");
    const auto before = Clock::now();
    require(!event.wait_for(100ms), "a wait of some time");
    require(Clock::now() - before >= 100ms, "not before its time");
  };
  Event event;
  Children children(GetParam());
  children.add(check, event);
  check(event);
  children.join();
}

// behaviour: MpEvent/wait-after-set
TEST_P(MpEvent, OnceItIsSetWaitsGiveTrueAtOnce) {
  const auto check = [](const Event& event) {
    require(event.is_set(), "set");
    require(event.wait(), "without a limit");
    require(event.wait_for(0s), "with none left");
    require(event.wait_for(1h), "with one");
    require(event.wait_until(std::chrono::system_clock::now()), "until now");
  };
  Event event;
  event.set();
  Children children(GetParam());
  children.add(check, event);
  check(event);
  children.join();
}

// behaviour: MpEvent/set-by-child
TEST_P(MpEvent, AChildsSetEndsTheCreatorsWait) {
  Event event;
  event.set();
  event.clear();
  Event waits;
  Children children(GetParam());
  children.add(
      [](const Event& begun, const Event& theirs) {
        begun.wait();
        theirs.set();
      },
      waits, event);
  std::thread teller([&] {
    fall_asleep_here(1);
    waits.set();
  });
  EXPECT_TRUE(event.wait());
  teller.join();
  children.join();
  EXPECT_TRUE(event.is_set());
}

// behaviour: MpEvent/describe-state
TEST_P(MpEvent, TheTextTellsSetFromUnset) {
  const auto text_of = [](const Event& event) {
    std::ostringstream out;
    out << event;
    return out.str();
  };
  Event event;
  EXPECT_EQ(text_of(event), "<Event unset>");
  Children children(GetParam());
  children.add([](const Event& theirs) { theirs.set(); }, event);
  children.join();
  EXPECT_EQ(text_of(event), "<Event set>");
  event.clear();
  EXPECT_EQ(text_of(event), "<Event unset>");
}

// behaviour: Event/flag
TEST_F(SyncEvent, SetAndClearAreIdempotentAndReadBack) {
  Event event;
  EXPECT_FALSE(event.is_set());
  for (int i = 0; i < 2; ++i) {
    event.set();
    EXPECT_TRUE(event.is_set());
  }
  for (int i = 0; i < 2; ++i) {
    event.clear();
    EXPECT_FALSE(event.is_set());
  }
}

// behaviour: Event/set-wakes-all
TEST_F(SyncEvent, SetWakesAllAndLaterWaitsPassUntilItIsCleared) {
  Event event;
  std::atomic<int> woken{0}, second{0};
  Threads threads(5, [&](int) {
    woken += event.wait() ? 1 : 0;
    second += event.wait() ? 1 : 0;
  });
  EXPECT_TRUE(fall_asleep_here(5));
  EXPECT_EQ(woken, 0);
  event.set();
  threads.join();
  EXPECT_EQ(woken, 5);
  EXPECT_EQ(second, 5);
  event.clear();
  EXPECT_FALSE(event.wait_for(5ms));
}

// behaviour: Event/timeout
TEST_F(SyncEvent, TimedWaitsGiveFalseAfterTheirTimeAndTrueOnASetOne) {
  Event event;
  Threads threads(5, [&](int) {
    EXPECT_FALSE(event.wait_for(0s));
    const auto before = Clock::now();
    EXPECT_FALSE(event.wait_for(150ms));
    EXPECT_GE(Clock::now() - before, 150ms);
  });
  threads.join();
  event.set();
  Threads again(5, [&](int) {
    EXPECT_TRUE(event.wait_for(0s));
    EXPECT_TRUE(event.wait_for(500ms));
  });
}

// behaviour: Event/set-then-clear-still-wakes
TEST_F(SyncEvent, WhoIsBlockedGoesOnAlsoWhenItIsClearedAtOnce) {
  for (int round = 0; round < 50; ++round) {
    Event event;
    std::atomic<int> woken{0};
    Threads threads(5, [&](int) { woken += event.wait_for(kPatience) ? 1 : 0; });
    ASSERT_TRUE(fall_asleep_here(5));
    event.set();
    event.clear();
    threads.join();
    ASSERT_EQ(woken, 5);
  }
}

}  // namespace
