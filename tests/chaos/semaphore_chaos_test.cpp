// Semaphores whose users are killed: at random instants, and at every step.
//
// What holds: a permit that was held by a guard comes back exactly once, whatever its holder was
// doing with it, and whoever else is killed while giving it back for him. Nobody who waits is left
// behind for it.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cohort/semaphore.hpp>
#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "member.hpp"
#include "os/futex.hpp"
#include "sleepers.hpp"

namespace {

using namespace cohort::arena;
using namespace std::chrono_literals;
using cohort::BoundedSemaphore;
using cohort::Semaphore;
using test::Clock;
using test::eventually;
using test::kSanitized;
using test::Member;
using test::Shared;
using test::sleep_comes;
using test::sleepers_on;
using Permit = Semaphore::Permit;

std::string as_name(std::string step) {
  std::replace(step.begin(), step.end(), '.', '_');
  return step;
}

class SemaphoreChaos : public test::Watched {
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
  // All permits are there, and all can be had at once.
  static void expect_whole(const Semaphore& semaphore, std::int64_t permits) {
    EXPECT_TRUE(eventually([&] { return semaphore.value() == permits; }, Clock::now() + 10s))
        << semaphore;
    std::vector<Permit> all;
    for (std::int64_t i = 0; i < permits; ++i) {
      auto one = semaphore.try_hold_for(10s);
      ASSERT_TRUE(one) << i;
      all.push_back(std::move(*one));
    }
    EXPECT_EQ(semaphore.value(), 0);
    all.clear();
    EXPECT_EQ(semaphore.value(), permits);
  }

 private:
  std::size_t held_before_ = 0;
};

// ---- at random instants

constexpr int kPermits = 3;

struct Work {
  std::atomic<std::uint64_t> done;
  std::atomic<int> stop;
};

// Holds permits, one or two at a time, in all ways to wait for them.
void hold_for_ever(const Semaphore& semaphore, Work& work, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  while (work.stop == 0) {
    std::optional<Permit> permit;
    switch (random() % 3) {
      case 0:
        permit.emplace(semaphore.hold());
        break;
      case 1:
        permit = semaphore.try_hold();
        break;
      default:
        permit = semaphore.try_hold_for(std::chrono::microseconds(random() % 200));
    }
    if (permit && random() % 4 == 0) auto second = semaphore.try_hold();
    if (permit && random() % 8 == 0) ::sched_yield();
    work.done.fetch_add(1);
  }
}

// Takes and gives plainly, beside them. Never killed: a plain permit belongs to nobody.
int take_and_give(const Semaphore& semaphore, Work& work) {
  while (work.stop == 0) {
    semaphore.acquire();
    semaphore.release();
    work.done.fetch_add(1);
    if (semaphore.value() > kPermits) return 1;
  }
  return 0;
}

TEST_F(SemaphoreChaos, KillsAtRandomInstantsLoseAndDoubleNoPermit) {
  std::mt19937_64 random(5);
  Semaphore semaphore(kPermits);  // unbounded: one too many would show
  Shared<Work> work;
  std::vector<std::unique_ptr<Member>> holders;
  auto holder = [&] {
    auto seed = random();
    return std::make_unique<Member>([&, seed] { hold_for_ever(semaphore, *work, seed); });
  };
  for (int i = 0; i < 4; ++i) holders.push_back(holder());
  std::vector<Member> steady;
  for (int i = 0; i < 2; ++i) steady.emplace_back([&] { return take_and_give(semaphore, *work); });
  int kills = 0;
  auto until = Clock::now() + (kSanitized ? 8s : 5s);
  while (Clock::now() < until) {
    auto enough = work->done.load() + random() % 30;
    ASSERT_TRUE(eventually([&] { return work->done > enough; })) << "a stall: " << semaphore;
    for (auto spin = random() % 3000; spin > 0; --spin) cohort::os::pause();
    auto& victim = holders[random() % holders.size()];
    victim->kill();
    ASSERT_EQ(victim->wait(), -SIGKILL);
    // A few are found by those who wait for them.
    if (kills % 16 != 0) {
      ASSERT_TRUE(victim->bury());
    }
    ASSERT_LE(semaphore.value(), kPermits);
    victim = holder();
    ++kills;
    if (kills % 100 == 0) {
      // Now and then all of them at once: then no permit may be missing.
      for (auto& one : holders) one->kill();
      for (auto& one : holders) ASSERT_TRUE(one->bury());
      for (auto& one : holders) one = holder();
      kills += static_cast<int>(holders.size());
    }
  }
  work->stop = 1;
  for (auto& member : steady) EXPECT_EQ(member.wait(), 0);
  for (auto& one : holders) {
    one->kill();
    EXPECT_TRUE(one->bury());
  }
  space.bury_the_dead();
  expect_whole(semaphore, kPermits);
  EXPECT_GE(kills, kSanitized ? 10 : 100);
  std::printf("%d kills, %llu turns\n", kills, static_cast<unsigned long long>(work->done.load()));
}

TEST_F(SemaphoreChaos, KilledPlainAcquirersAndReleasersHoldUpNobody) {
  constexpr std::size_t kMembers = 4;
  std::mt19937_64 random(6);
  Semaphore semaphore(2);
  Shared<Work> work;
  auto member = [&] {
    return std::make_unique<Member>([&] {
      for (;;) {
        semaphore.acquire();
        semaphore.release();
        work->done.fetch_add(1);
      }
    });
  };
  std::vector<std::unique_ptr<Member>> members;
  for (std::size_t i = 0; i < kMembers; ++i) members.push_back(member());
  int kills = 0;
  auto until = Clock::now() + 3s;
  while (Clock::now() < until) {
    for (auto spin = random() % 10000; spin > 0; --spin) cohort::os::pause();
    auto& victim = members[random() % kMembers];
    victim->kill();
    ASSERT_TRUE(victim->bury());
    victim = member();
    ++kills;
    auto enough = work->done.load() + 5;
    ASSERT_TRUE(eventually([&] {
      // What the dead had acquired is gone with them: here, when nobody has one.
      if (semaphore.value() == 0 && sleepers_on(semaphore) == kMembers) semaphore.release();
      return work->done > enough;
    })) << "they sleep beside what was released: "
        << semaphore;
  }
  EXPECT_GE(kills, kSanitized ? 5 : 25);
  for (auto& one : members) one->kill_and_bury();
}

// ---- at every step

using StepAndTimes = std::tuple<const char*, int>;

// What a victim does: takes a permit after it slept for it, and gives it back.
void take_one_turn(const Semaphore& semaphore) {
  Permit permit = semaphore.hold();
  permit.release();
}

class KilledHolder : public SemaphoreChaos, public testing::WithParamInterface<StepAndTimes> {};

TEST_P(KilledHolder, LosesNoPermitAndHoldsUpNobody) {
  auto [step, times] = GetParam();
  for (bool announced : {true, false}) {
    Semaphore semaphore(1);
    auto permit = std::optional(semaphore.hold());
    Member victim([&, step = step, times = times] {
      test::die_at(step, times);
      take_one_turn(semaphore);
      ::raise(SIGTERM);
    });
    // Before it comes to sleep it may be dead already.
    ASSERT_TRUE(eventually([&] { return sleepers_on(semaphore) == 1 || !victim.running(); }));
    Member other([&] {
      test::die_at("never");
      take_one_turn(semaphore);
    });
    bool sleeps = victim.running();
    ASSERT_TRUE(sleep_comes(semaphore, sleeps ? 2 : 1));
    permit.reset();
    ASSERT_EQ(victim.wait(), -SIGKILL) << "the step was never reached";
    if (announced) {
      EXPECT_TRUE(victim.bury());
    }
    EXPECT_EQ(other.wait(), 0);
    EXPECT_TRUE(victim.bury());
    expect_whole(semaphore, 1);
  }
}
INSTANTIATE_TEST_SUITE_P(
    Every, KilledHolder,
    testing::Values(StepAndTimes{"heap.small_taken", 1}, StepAndTimes{"permit.allocated", 1},
                    StepAndTimes{"permit.assigned", 1}, StepAndTimes{"semaphore.sleeping", 1},
                    StepAndTimes{"semaphore.woken", 1}, StepAndTimes{"semaphore.noted", 1},
                    StepAndTimes{"semaphore.changed", 1}, StepAndTimes{"semaphore.recorded", 1},
                    StepAndTimes{"semaphore.held", 1}, StepAndTimes{"semaphore.noted", 2},
                    StepAndTimes{"semaphore.changed", 2}, StepAndTimes{"semaphore.recorded", 2},
                    StepAndTimes{"semaphore.waking", 1}, StepAndTimes{"permit.returned", 1},
                    StepAndTimes{"permit.erased", 1}, StepAndTimes{"heap.small_given_back", 1}),
    [](const testing::TestParamInfo<StepAndTimes>& tested) {
      return as_name(std::get<0>(tested.param)) + "_" + std::to_string(std::get<1>(tested.param));
    });

using TwoSteps = std::tuple<const char*, const char*>;
class KilledHeir : public SemaphoreChaos, public testing::WithParamInterface<TwoSteps> {};

// One dies with a permit in hand, or halfway to or from it; who gives it back for him dies at that,
// and so does the next.
TEST_P(KilledHeir, IsReplacedAndThePermitComesBackOnce) {
  auto [step, heirs_step] = GetParam();
  BoundedSemaphore bounded(2);
  Semaphore semaphore = bounded;
  Member victim([&, step = step] {
    Permit kept = semaphore.hold();
    test::die_at(step);
    Permit second = semaphore.hold();
    ::raise(SIGKILL);
  });
  ASSERT_EQ(victim.wait(), -SIGKILL);
  int killed = 0;
  for (int i = 0; i < 2; ++i) {
    Member heir([&, heirs_step = heirs_step] {
      test::die_at(heirs_step);
      Space::here().bury(victim.id());
      Space::here().reclaim(victim.id());
    });
    auto end = heir.wait();
    killed += end == -SIGKILL ? 1 : 0;
    EXPECT_TRUE(end == -SIGKILL || end == 0);
    EXPECT_TRUE(heir.bury());
  }
  EXPECT_TRUE(victim.bury());
  // The step is not on every way: mending follows a death under the lock only.
  bool under_lock = std::string(step) != "semaphore.held";
  if (under_lock || std::string(heirs_step) != "semaphore.mending") {
    EXPECT_GE(killed, 1);
  }
  expect_whole(semaphore, 2);
}
INSTANTIATE_TEST_SUITE_P(
    Every, KilledHeir,
    testing::Combine(testing::Values("semaphore.noted", "semaphore.changed", "semaphore.recorded",
                                     "semaphore.held"),
                     testing::Values("space.reclaiming", "semaphore.mending", "semaphore.noted",
                                     "semaphore.changed", "semaphore.recorded", "permit.returned",
                                     "permit.erased", "heap.small_given_back", "space.reclaimed")),
    [](const testing::TestParamInfo<TwoSteps>& tested) {
      return as_name(std::get<0>(tested.param)) + "_then_" + as_name(std::get<1>(tested.param));
    });

// Sleepers are woken for a permit that a plain user gives, too, and dies.
class KilledReleaser : public SemaphoreChaos, public testing::WithParamInterface<const char*> {};

TEST_P(KilledReleaser, LeavesWhatItGaveToThoseWhoWait) {
  Semaphore semaphore(0);
  Shared<std::atomic<int>> got;
  std::vector<Member> sleepers;
  for (int i = 0; i < 3; ++i) {
    sleepers.emplace_back([&] {
      semaphore.acquire();
      ++*got;
    });
  }
  ASSERT_TRUE(sleep_comes(semaphore, 3));
  Member victim([&] {
    test::die_at(GetParam());
    semaphore.release(4);
    semaphore.acquire();
  });
  ASSERT_EQ(victim.wait(), -SIGKILL);
  EXPECT_TRUE(victim.bury());
  EXPECT_TRUE(eventually([&] { return *got == 3; }));
  for (auto& sleeper : sleepers) EXPECT_EQ(sleeper.wait(), 0);
  // An acquirer takes its permit along.
  EXPECT_EQ(semaphore.value(), std::string(GetParam()) == "semaphore.taken" ? 0 : 1);
}
INSTANTIATE_TEST_SUITE_P(Every, KilledReleaser,
                         testing::Values("semaphore.waking", "semaphore.taken"),
                         [](const testing::TestParamInfo<const char*>& tested) {
                           return as_name(tested.param);
                         });

// Stopped, not killed: what is outside of the lock may stay so for ever.
class StoppedHolder : public SemaphoreChaos, public testing::WithParamInterface<const char*> {};

TEST_P(StoppedHolder, OutsideTheLockFreezesNobody) {
  static const char* stop_at;
  stop_at = GetParam();
  Semaphore semaphore(2);
  Semaphore empty(0);
  Shared<std::atomic<int>> stopped;
  Member victim([&] {
    static std::atomic<int>* flag;
    flag = &*stopped;
    cohort::os::step_hook = [](const char* name) {
      if (std::strcmp(name, stop_at) != 0) return;
      flag->store(1);
      ::raise(SIGSTOP);
    };
    for (;;) {
      Permit permit = semaphore.hold();
      permit.release();
      empty.try_acquire_for(1ms);
    }
  });
  ASSERT_TRUE(eventually([&] { return stopped->load() == 1; }));
  for (int i = 0; i < 1000; ++i) {
    auto permit = semaphore.try_hold_for(10s);
    ASSERT_TRUE(permit);
    ASSERT_FALSE(empty.try_acquire());
  }
  EXPECT_TRUE(victim.running());
  victim.kill();
  EXPECT_TRUE(victim.bury());
  expect_whole(semaphore, 2);
}
INSTANTIATE_TEST_SUITE_P(Every, StoppedHolder,
                         testing::Values("permit.assigned", "semaphore.held", "permit.returned",
                                         "permit.erased", "semaphore.sleeping", "semaphore.woken"),
                         [](const testing::TestParamInfo<const char*>& tested) {
                           return as_name(tested.param);
                         });

}  // namespace
