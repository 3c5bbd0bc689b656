// Barriers and events whose users are killed: at random instants, and at every step.
//
// What holds: of a barrier's round either all who survive pass, or all get BrokenBarrier, and a
// reset makes it as new. Whoever waits for an event that was set goes on, whoever is killed at it.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cohort/barrier.hpp>
#include <cohort/event.hpp>
#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "chaos.hpp"
#include "member.hpp"
#include "os/futex.hpp"
#include "sleepers.hpp"

namespace {

using namespace cohort::arena;
using namespace std::chrono_literals;
using cohort::Barrier;
using cohort::BrokenBarrier;
using cohort::Event;
using test::Cells;
using test::Clock;
using test::eventually;
using test::kSanitized;
using test::Member;
using test::Shared;
using test::sleep_comes;
using test::sleepers_on;

std::string as_name(const testing::TestParamInfo<const char*>& tested) {
  std::string step = tested.param;
  std::replace(step.begin(), step.end(), '.', '_');
  return step;
}

class WithoutLeaks : public test::Watched {
 protected:
  Space& space = Space::here();

  void SetUp() override {
    Watched::SetUp();
    held_before_ = space.heap().blocks_held();
  }
  void TearDown() override {
    space.bury_the_dead();
    auto held = [&] { return space.heap().blocks_held(); };
    EXPECT_TRUE(eventually([&] { return held() == held_before_; }, Clock::now() + 10s))
        << held() << " blocks are held, and " << held_before_ << " were before";
    Watched::TearDown();
  }

 private:
  std::size_t held_before_ = 0;
};

// ---- barriers, at random instants

// Whether so many have come and sleep.
bool wait_at(const Barrier& barrier, std::size_t count) {
  return eventually([&] { return barrier.n_waiting() == count && sleepers_on(barrier) >= count; });
}

constexpr std::size_t kParties = 4;

// What one party did since the last reset.
struct Log {
  std::atomic<std::uint32_t> passed;
  std::atomic<std::uint32_t> broken;  // 1: it got BrokenBarrier, and waits for the next era
};
struct Parties {
  std::array<Log, kParties> logs;
  std::atomic<std::uint32_t> era;
  std::atomic<std::uint32_t> rounds;
};

// Meets the others for ever, often late; after BrokenBarrier, once the next era has begun.
void meet(const Barrier& barrier, Parties& parties, std::size_t me) {
  Log& log = parties.logs[me];
  std::mt19937 random(static_cast<unsigned>(::getpid()));
  for (;;) {
    auto era = parties.era.load();
    try {
      for (;;) {
        auto place = barrier.wait();
        log.passed.fetch_add(1);
        if (place == 0) parties.rounds.fetch_add(1);
        if (random() % 2 == 0) test::random_pause(random, 500us);
      }
    } catch (const BrokenBarrier&) {
      log.broken = 1;
    }
    while (parties.era == era) ::sched_yield();
  }
}

class BarrierChaos : public WithoutLeaks, public testing::WithParamInterface<bool> {};

TEST_P(BarrierChaos, KillsAtRandomInstantsLeaveTheSurvivorsOfOneMind) {
  std::mt19937 random(9);
  Cells actions(1);
  auto action = cohort::bind([](const Cells& cells) { ++cells[0]; }, actions);
  Barrier barrier = GetParam() ? Barrier(kParties, action) : Barrier(kParties);
  Shared<Parties> parties;
  std::vector<std::unique_ptr<Member>> members;
  auto member = [&](std::size_t i) {
    return std::make_unique<Member>([&, i] { meet(barrier, *parties, i); });
  };
  for (std::size_t i = 0; i < kParties; ++i) members.push_back(member(i));
  int kills = 0;
  int seen_by_death = 0;
  auto until = Clock::now() + (kSanitized ? 5s : 2500ms);
  while (Clock::now() < until) {
    auto enough = parties->rounds.load() + random() % 3;
    ASSERT_TRUE(eventually([&] { return parties->rounds > enough; })) << "a stall: " << barrier;
    test::random_pause(random, 1000us);
    std::size_t victim = random() % kParties;
    members[victim]->kill();
    bool announced = kills % 32 != 0;
    if (announced) {
      ASSERT_TRUE(members[victim]->bury());
    }
    auto others = [&](auto&& holds) {
      for (std::size_t i = 0; i < kParties; ++i) {
        if (i != victim && !holds(i)) return false;
      }
      return true;
    };
    // It had come, and is missed; or else the others wait for it, until somebody says so.
    bool told = false;
    auto patience = Clock::now() + (announced ? 5ms : 300ms);
    ASSERT_TRUE(eventually([&] {
      if (!told && Clock::now() > patience && !barrier.broken()) {
        told = true;
        barrier.abort();
      }
      return others([&](std::size_t i) { return parties->logs[i].broken == 1; });
    })) << "a stall after a death: "
        << barrier;
    seen_by_death += told ? 0 : 1;
    auto passed = parties->logs[victim == 0 ? 1 : 0].passed.load();
    ASSERT_TRUE(others([&](std::size_t i) { return parties->logs[i].passed == passed; }));
    ASSERT_TRUE(barrier.broken());
    for (Log& log : parties->logs) {
      log.passed = 0;
      log.broken = 0;
    }
    barrier.reset();
    ASSERT_FALSE(barrier.broken());
    parties->era.fetch_add(1);
    members[victim] = member(victim);
    ++kills;
  }
  for (auto& one : members) one->kill_and_bury();
  EXPECT_GE(kills, kSanitized ? 10 : 50);
  EXPECT_GT(seen_by_death, 0);
  if (GetParam()) {
    EXPECT_GE(actions[0].load(), parties->rounds.load());
  }
  std::printf("%d kills, %u rounds, %d deaths seen by the others\n", kills, parties->rounds.load(),
              seen_by_death);
}
INSTANTIATE_TEST_SUITE_P(Actions, BarrierChaos, testing::Bool(),
                         [](const testing::TestParamInfo<bool>& tested) {
                           return tested.param ? "with" : "without";
                         });

// ---- barriers, at every step

// Exit codes of a party.
constexpr int kPassed = 0;
constexpr int kBroken = 1;

int wait_once(const Barrier& barrier) {
  try {
    barrier.wait();
    return kPassed;
  } catch (const BrokenBarrier&) {
    return kBroken;
  }
}

void expect_as_new(const Barrier& barrier) {
  barrier.reset();
  std::vector<Member> parties;
  for (std::size_t i = 0; i < barrier.parties(); ++i)
    parties.emplace_back([&] { return wait_once(barrier); });
  for (auto& party : parties) EXPECT_EQ(party.wait(), kPassed);
  EXPECT_FALSE(barrier.broken());
  EXPECT_EQ(barrier.n_waiting(), 0U);
}

struct Outcome {
  const char* step;
  bool action;
  bool came;    // it had come when it died
  bool passed;  // the round was over when it died
};
std::string outcome_name(const testing::TestParamInfo<Outcome>& tested) {
  std::string step = tested.param.step;
  std::replace(step.begin(), step.end(), '.', '_');
  return step + (tested.param.action ? "_with_an_action" : "");
}

class KilledLastParty : public WithoutLeaks, public testing::WithParamInterface<Outcome> {};

TEST_P(KilledLastParty, EndsItsRoundForAllOrForNone) {
  auto [step, action, came, passed] = GetParam();
  for (bool announced : {true, false}) {
    Barrier barrier = action ? Barrier(3, [] {}) : Barrier(3);
    std::vector<Member> others;
    for (int i = 0; i < 2; ++i) others.emplace_back([&] { return wait_once(barrier); });
    ASSERT_TRUE(wait_at(barrier, 2));
    Member victim([&, step = step] {
      test::die_at(step);
      barrier.wait();
    });
    ASSERT_EQ(victim.wait(), -SIGKILL) << "the step was never reached";
    if (announced) {
      EXPECT_TRUE(victim.bury());
    }
    if (!came) {  // that is not known to the others
      EXPECT_FALSE(barrier.broken());
      barrier.abort();
    }
    for (auto& other : others) EXPECT_EQ(other.wait(), passed ? kPassed : kBroken);
    EXPECT_EQ(barrier.broken(), !passed);
    EXPECT_TRUE(victim.bury());
    expect_as_new(barrier);
  }
}
INSTANTIATE_TEST_SUITE_P(Every, KilledLastParty,
                         testing::Values(Outcome{"barrier.passing", false, false, false},
                                         Outcome{"barrier.passed", false, true, true},
                                         Outcome{"barrier.waking", false, true, true},
                                         Outcome{"barrier.named", true, false, false},
                                         Outcome{"barrier.came", true, true, false},
                                         Outcome{"barrier.passing", true, true, false},
                                         Outcome{"barrier.passed", true, true, true},
                                         Outcome{"barrier.waking", true, true, true}),
                         outcome_name);

class KilledFirstParty : public WithoutLeaks, public testing::WithParamInterface<const char*> {};

TEST_P(KilledFirstParty, BreaksTheRoundOnceItHasCome) {
  bool came = std::string(GetParam()) != "barrier.named";
  for (bool announced : {true, false}) {
    Barrier barrier(4);
    Member victim([&] {
      test::die_at(GetParam());
      std::string(GetParam()).starts_with("barrier.fail") ? barrier.wait_for(1ms) : barrier.wait();
    });
    ASSERT_EQ(victim.wait(), -SIGKILL) << "the step was never reached";
    std::vector<Member> others;
    for (int i = 0; i < 2; ++i) others.emplace_back([&] { return wait_once(barrier); });
    if (announced) {
      EXPECT_TRUE(victim.bury());
    }
    if (!came) {
      ASSERT_TRUE(wait_at(barrier, 2));
      others.emplace_back([&] { return wait_once(barrier); });
      EXPECT_EQ(wait_once(barrier), kPassed);
    }
    for (auto& other : others) EXPECT_EQ(other.wait(), came ? kBroken : kPassed);
    EXPECT_EQ(barrier.broken(), came);
    EXPECT_TRUE(victim.bury());
    expect_as_new(barrier);
  }
}
INSTANTIATE_TEST_SUITE_P(Every, KilledFirstParty,
                         testing::Values("barrier.named", "barrier.came", "barrier.sleeping",
                                         "barrier.woken", "barrier.failing", "barrier.failed"),
                         as_name);

class KilledBreaker : public WithoutLeaks, public testing::WithParamInterface<const char*> {};

TEST_P(KilledBreaker, BreaksItForAllOrForNone) {
  bool done = std::string(GetParam()) != "barrier.failing";
  for (bool reset : {false, true}) {
    Barrier barrier(3);
    std::vector<Member> others;
    for (int i = 0; i < 2; ++i) others.emplace_back([&] { return wait_once(barrier); });
    ASSERT_TRUE(wait_at(barrier, 2));
    Member victim([&] {
      test::die_at(GetParam());
      reset ? barrier.reset() : barrier.abort();
    });
    ASSERT_EQ(victim.wait(), -SIGKILL);
    EXPECT_TRUE(victim.bury());
    EXPECT_EQ(barrier.broken(), done && !reset);
    if (!done) {
      EXPECT_EQ(wait_once(barrier), kPassed);
    }
    for (auto& other : others) EXPECT_EQ(other.wait(), done ? kBroken : kPassed);
    expect_as_new(barrier);
  }
}
INSTANTIATE_TEST_SUITE_P(Every, KilledBreaker,
                         testing::Values("barrier.failing", "barrier.failed", "barrier.waking"),
                         as_name);

// Stopped, not killed: a party that takes its time to leave a round holds up nobody.
TEST_F(WithoutLeaks, APartyStoppedOnItsWayOutHoldsUpNobody) {
  Barrier barrier(2);
  Shared<std::atomic<int>> stopped;
  Member slow([&] {
    static std::atomic<int>* flag;
    flag = &*stopped;
    cohort::os::step_hook = [](const char* name) {
      if (std::strcmp(name, "barrier.woken") != 0 || flag->exchange(1) == 1) return;
      ::raise(SIGSTOP);
    };
    return wait_once(barrier);
  });
  ASSERT_TRUE(wait_at(barrier, 1));
  EXPECT_EQ(wait_once(barrier), kPassed);
  ASSERT_TRUE(eventually([&] { return stopped->load() == 1; }));
  for (int i = 0; i < 100; ++i) {
    Member other([&] { return wait_once(barrier); });
    ASSERT_EQ(wait_once(barrier), kPassed);
    ASSERT_EQ(other.wait(), kPassed);
  }
  barrier.abort();
  slow.send(SIGCONT);
  EXPECT_EQ(slow.wait(), kPassed);
}

// ---- events

class EventChaos : public WithoutLeaks {};

struct Turns {
  std::atomic<std::uint32_t> asked;
  std::array<std::atomic<std::uint32_t>, 3> seen;
};

// Setters and waiters die at any instant; those who live are told of each set.
TEST_F(EventChaos, KillsAtRandomInstantsDelayNobodyForLong) {
  std::mt19937_64 random(3);
  Event event;
  Shared<Turns> turns;
  auto waiter = [&](std::size_t i) {
    return std::make_unique<Member>([&, i] {
      for (;;) {
        event.wait();
        turns->seen[i].fetch_add(1);
        ::sched_yield();
      }
    });
  };
  std::vector<std::unique_ptr<Member>> waiters;
  for (std::size_t i = 0; i < turns->seen.size(); ++i) waiters.push_back(waiter(i));
  int kills = 0;
  auto until = Clock::now() + (kSanitized ? 4s : 2s);
  while (Clock::now() < until) {
    auto before = [&] {
      std::array<std::uint32_t, 3> seen{};
      for (std::size_t i = 0; i < seen.size(); ++i) seen[i] = turns->seen[i];
      return seen;
    }();
    Member setter([&] {
      for (;;) {
        event.set();
        if (turns->asked.load() % 2 == 0) event.clear();
      }
    });
    for (auto spin = random() % 3000; spin > 0; --spin) cohort::os::pause();
    std::size_t victim = random() % waiters.size();
    waiters[victim]->kill();
    setter.kill();
    turns->asked.fetch_add(1);
    ASSERT_TRUE(waiters[victim]->bury());
    if (kills % 8 != 0) {
      ASSERT_TRUE(setter.bury());
    }
    event.set();
    for (std::size_t i = 0; i < waiters.size(); ++i) {
      if (i == victim) continue;
      ASSERT_TRUE(eventually([&] { return turns->seen[i] != before[i]; })) << "a stall";
    }
    event.clear();
    waiters[victim] = waiter(victim);
    kills += 2;
  }
  for (auto& one : waiters) one->kill_and_bury();
  EXPECT_GE(kills, kSanitized ? 10 : 50);
}

TEST_F(EventChaos, ASetterKilledBeforeItWokeTheWaitersHasSetIt) {
  for (bool announced : {true, false}) {
    Event event;
    std::vector<Member> waiters;
    for (int i = 0; i < 3; ++i) waiters.emplace_back([&] { return event.wait() ? 0 : 1; });
    ASSERT_TRUE(sleep_comes(event, 3));
    Member victim([&] {
      test::die_at("event.set");
      event.set();
    });
    ASSERT_EQ(victim.wait(), -SIGKILL);
    if (announced) {
      EXPECT_TRUE(victim.bury());
    }
    EXPECT_TRUE(event.is_set());
    for (auto& waiter : waiters) EXPECT_EQ(waiter.wait(), 0);
  }
}

class KilledWaiter : public EventChaos, public testing::WithParamInterface<const char*> {};

TEST_P(KilledWaiter, LeavesTheOthersTheirWakeUp) {
  Event event;
  Member victim([&] {
    test::die_at(GetParam());
    event.wait();
  });
  bool asleep = std::string(GetParam()) == "event.woken";
  if (!asleep) {
    ASSERT_TRUE(victim.wait());
  }
  std::vector<Member> waiters;
  for (int i = 0; i < 2; ++i) waiters.emplace_back([&] { return event.wait() ? 0 : 1; });
  ASSERT_TRUE(sleep_comes(event, asleep ? 3 : 2));
  event.set();
  event.clear();
  EXPECT_EQ(victim.wait(), -SIGKILL);
  for (auto& waiter : waiters) EXPECT_EQ(waiter.wait(), 0);
  EXPECT_TRUE(victim.bury());
  event.clear();
  EXPECT_FALSE(event.wait_for(1ms));
}
INSTANTIATE_TEST_SUITE_P(Every, KilledWaiter, testing::Values("event.sleeping", "event.woken"),
                         as_name);

}  // namespace
