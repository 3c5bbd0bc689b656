#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cohort/barrier.hpp>
#include <cohort/event.hpp>
#include <cohort/pool.hpp>
#include <cohort/process.hpp>
#include <cohort/semaphore.hpp>
#include <functional>
#include <limits>
#include <optional>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "chaos.hpp"
#include "processes.hpp"
#include "sleepers.hpp"

namespace {

using namespace test;
using cohort::Barrier;
using cohort::BrokenBarrier;
using cohort::Event;
using cohort::Process;
using cohort::Semaphore;

std::string text(const Barrier& barrier) {
  std::ostringstream out;
  out << barrier;
  return out.str();
}

// Runs `body(i)` in `count` threads.
void in_threads(int count, const std::function<void(int)>& body) {
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) threads.emplace_back([&, i] { body(i); });
  for (auto& thread : threads) thread.join();
}

// Waits; answers its place, or nothing when it was broken.
std::optional<std::size_t> try_wait(const Barrier& barrier) {
  try {
    return barrier.wait();
  } catch (const BrokenBarrier&) {
    return std::nullopt;
  }
}

// A thread that waits at the barrier, and what came of it.
class Party {
 public:
  explicit Party(const Barrier& barrier)
      : thread_([this, barrier] { place_ = try_wait(barrier); }) {}
  ~Party() {
    if (thread_.joinable()) thread_.join();
  }
  Party(const Party&) = delete;
  Party& operator=(const Party&) = delete;

  std::optional<std::size_t> end() {
    thread_.join();
    return place_;
  }

 private:
  std::optional<std::size_t> place_;
  std::thread thread_;
};

bool come(const Barrier& barrier, std::size_t count) {
  return eventually([&] { return barrier.n_waiting() == count; });
}

class BarrierTest : public Watched {};
class BarrierBetweenProcesses : public EachMethod {};
INSTANTIATE_TEST_SUITE_P(Methods, BarrierBetweenProcesses, every_method(), method_name);

// ---- making one

// behaviour: Barrier/parties-check
TEST_F(BarrierTest, RefusesPartiesOutOfRangeAndNamesThem) {
  for (std::int64_t parties : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{65537},
                               std::int64_t{1} << 32, std::numeric_limits<std::int64_t>::min()}) {
    try {
      Barrier barrier(parties);
      ADD_FAILURE() << parties;
    } catch (const std::invalid_argument& error) {
      EXPECT_NE(std::string(error.what()).find(std::to_string(parties)), std::string::npos);
    }
  }
  EXPECT_EQ(Barrier(1).parties(), 1U);
  EXPECT_EQ(Barrier(65536).parties(), 65536U);
}

// behaviour: Barrier/describe
TEST_F(BarrierTest, TheTextFormShowsWhoWaitsOrBroken) {
  Barrier barrier(2);
  EXPECT_EQ(text(barrier), "<Barrier waiting=0 of 2>");
  Party party(barrier);
  EXPECT_TRUE(come(barrier, 1));
  EXPECT_EQ(text(barrier), "<Barrier waiting=1 of 2>");
  barrier.abort();
  EXPECT_EQ(text(barrier), "<Barrier broken>");
  EXPECT_FALSE(party.end());
}

// behaviour: Barrier/single-party
// behaviour: MpBarrier/single-party
TEST_F(BarrierTest, OneForASinglePartyNeverBlocks) {
  Barrier barrier(1);
  Barrier acting(1, [] {});
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(barrier.wait(), 0U);
    EXPECT_EQ(barrier.wait_for(0s), 0U);
    EXPECT_EQ(acting.wait_for(-1s), 0U);
  }
  EXPECT_EQ(barrier.n_waiting(), 0U);
}

TEST_F(BarrierTest, CopiesAreTheSameObject) {
  Barrier barrier(2);
  Barrier copy = barrier;
  EXPECT_EQ(barrier, copy);
  EXPECT_FALSE(barrier == Barrier(2));
  copy.abort();
  EXPECT_TRUE(barrier.broken());
  Barrier moved = std::move(copy);
  EXPECT_EQ(moved, barrier);
  EXPECT_THROW(copy.wait(), cohort::Error);
  EXPECT_THROW(copy.reset(), cohort::Error);
}

// ---- rounds

// behaviour: Barrier/lockstep
// behaviour: Barrier/ten-rounds
TEST_F(BarrierTest, ThreadsPassPhaseByPhase) {
  constexpr int kParties = 5;
  Barrier barrier(kParties);
  std::atomic<int> done{0};
  std::atomic<int> wrong{0};
  for (int round = 0; round < 10; ++round) {
    in_threads(kParties, [&](int) {
      for (int phase = 0; phase < 20; ++phase) {
        int before = done.load();
        if (before < phase * kParties || before >= (phase + 1) * kParties) ++wrong;
        ++done;
        barrier.wait();
        if (done.load() < (phase + 1) * kParties) ++wrong;
        barrier.wait();
      }
    });
    EXPECT_EQ(done.exchange(0), 20 * kParties);
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(barrier.n_waiting(), 0U);
  EXPECT_FALSE(barrier.broken());
}

// behaviour: Barrier/distinct-indices
TEST_F(BarrierTest, EachPartyOfARoundGetsAPlaceOfItsOwn) {
  constexpr int kParties = 6;
  Barrier barrier(kParties);
  std::vector<std::atomic<int>> times(kParties);
  in_threads(kParties, [&](int) {
    for (int i = 0; i < 200; ++i) ++times[barrier.wait()];
  });
  for (auto& count : times) EXPECT_EQ(count, 200);
}

TEST_F(BarrierTest, PlacesAreInTheOrderOfComing) {
  Barrier barrier(3);
  Party first(barrier);
  EXPECT_TRUE(come(barrier, 1));
  Party second(barrier);
  EXPECT_TRUE(come(barrier, 2));
  EXPECT_EQ(barrier.wait(), 2U);
  EXPECT_EQ(first.end(), 0U);
  EXPECT_EQ(second.end(), 1U);
}

TEST_F(BarrierTest, MoreThreadsThanPartiesMayUseIt) {
  Barrier barrier(3);
  std::atomic<int> passed{0};
  std::atomic<int> leaders{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 7; ++i) {
    threads.emplace_back([&] {
      while (auto place = try_wait(barrier)) {
        ++passed;
        leaders += *place == 0 ? 1 : 0;
      }
    });
  }
  EXPECT_TRUE(eventually([&] { return passed > 1000; }));
  barrier.abort();
  for (auto& thread : threads) thread.join();
  // Of each round all passed, or none.
  EXPECT_EQ(passed % 3, 0);
  EXPECT_EQ(leaders, passed / 3);
}

// ---- the action

// behaviour: Barrier/action-once
TEST_F(BarrierTest, TheActionHasRunOnceWhenAPartyGetsOn) {
  constexpr int kParties = 4;
  Cells runs(1);
  Barrier barrier(kParties, cohort::bind([](const Cells& cells) { ++cells[0]; }, runs));
  std::atomic<int> wrong{0};
  for (std::uint32_t round = 1; round <= 100; ++round) {
    in_threads(kParties, [&](int) {
      barrier.wait();
      if (runs[0] != round) ++wrong;
    });
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(runs[0], 100U);
}

TEST_F(BarrierTest, ANullActionIsNone) {
  Barrier barrier(2, nullptr, 30s);
  Party party(barrier);
  EXPECT_TRUE(barrier.wait() < 2);
  EXPECT_TRUE(party.end());
}

TEST_F(BarrierTest, WhatTheActionThrowsComesToItsCallerAndBreaksTheOthers) {
  Barrier barrier(3, [] { throw std::logic_error("no"); });
  Party first(barrier);
  Party second(barrier);
  EXPECT_TRUE(come(barrier, 2));
  EXPECT_THROW(barrier.wait(), std::logic_error);
  EXPECT_FALSE(first.end());
  EXPECT_FALSE(second.end());
  EXPECT_TRUE(barrier.broken());
  EXPECT_THROW(barrier.wait(), BrokenBarrier);
}

// A barrier of two whose action says that it began and waits to be let go on.
struct Slow {
  Semaphore began{0};
  Semaphore go{0};
  Barrier barrier{2, cohort::bind(
                         [](const Semaphore& running, const Semaphore& further) {
                           running.release();
                           further.acquire();
                         },
                         began, go)};
};

TEST_F(BarrierTest, WhoeverComesDuringTheActionWaitsForTheNextRound) {
  Slow slow;
  Party first(slow.barrier);
  EXPECT_TRUE(come(slow.barrier, 1));
  Party second(slow.barrier);
  slow.began.acquire();
  Party third(slow.barrier);
  EXPECT_TRUE(sleep_comes(slow.barrier, 2));
  slow.go.release();
  EXPECT_EQ(first.end(), 0U);
  EXPECT_EQ(second.end(), 1U);
  EXPECT_TRUE(come(slow.barrier, 1));
  slow.go.release();
  EXPECT_EQ(slow.barrier.wait(), 1U);
  EXPECT_EQ(third.end(), 0U);
}

TEST_F(BarrierTest, AnAbortDuringTheActionFailsItsRound) {
  Slow slow;
  Party first(slow.barrier);
  Party second(slow.barrier);
  slow.began.acquire();
  slow.barrier.abort();
  slow.go.release();
  EXPECT_FALSE(first.end());
  EXPECT_FALSE(second.end());
  EXPECT_TRUE(slow.barrier.broken());
}

TEST_F(BarrierTest, AResetDuringTheActionFailsItsRoundOnly) {
  Slow slow;
  Party first(slow.barrier);
  Party second(slow.barrier);
  slow.began.acquire();
  slow.barrier.reset();
  EXPECT_FALSE(slow.barrier.broken());
  Party third(slow.barrier);
  EXPECT_TRUE(come(slow.barrier, 1));
  slow.go.release(2);
  EXPECT_FALSE(first.end());
  EXPECT_FALSE(second.end());
  EXPECT_EQ(slow.barrier.wait(), 1U);
  EXPECT_EQ(third.end(), 0U);
}

TEST_F(BarrierTest, TimeThatIsUpDuringTheActionBreaksIt) {
  Slow slow;
  Barrier& barrier = slow.barrier;
  Party last(barrier);
  EXPECT_TRUE(come(barrier, 1));
  std::thread let_go([&] {
    slow.began.acquire();
    EXPECT_THROW(barrier.wait_for(20ms), BrokenBarrier);  // not of this round, but it counts
    EXPECT_TRUE(barrier.broken());
    slow.go.release();
  });
  EXPECT_THROW(barrier.wait(), BrokenBarrier);
  EXPECT_FALSE(last.end());
  let_go.join();
}

TEST_F(BarrierTest, TheActionMayBreakItsBarrier) {
  static const Barrier* mine = nullptr;
  Barrier barrier(2, [] { mine->abort(); });
  mine = &barrier;
  Party party(barrier);
  EXPECT_TRUE(come(barrier, 1));
  EXPECT_THROW(barrier.wait(), BrokenBarrier);
  EXPECT_FALSE(party.end());
}

// ---- broken ones

// behaviour: Barrier/abort
TEST_F(BarrierTest, AnAbortBreaksAllWhoWaitAndStays) {
  Barrier barrier(4);
  Party first(barrier);
  Party second(barrier);
  EXPECT_TRUE(come(barrier, 2));
  barrier.abort();
  EXPECT_FALSE(first.end());
  EXPECT_FALSE(second.end());
  EXPECT_TRUE(barrier.broken());
  EXPECT_EQ(barrier.n_waiting(), 0U);
  EXPECT_THROW(barrier.wait(), BrokenBarrier);
  barrier.abort();
  EXPECT_TRUE(barrier.broken());
}

// behaviour: Barrier/reset
TEST_F(BarrierTest, AResetBreaksThoseWhoWaitAndTheNextRoundWorks) {
  Barrier barrier(3);
  for (int round = 0; round < 20; ++round) {
    Party first(barrier);
    Party second(barrier);
    ASSERT_TRUE(come(barrier, 2));
    barrier.reset();
    EXPECT_FALSE(barrier.broken());
    EXPECT_FALSE(first.end());
    EXPECT_FALSE(second.end());
    std::atomic<std::size_t> sum{0};
    in_threads(3, [&](int) { sum += barrier.wait(); });
    EXPECT_EQ(sum, 3U);
  }
  barrier.reset();  // of one where nobody waits
  EXPECT_EQ(barrier.n_waiting(), 0U);
  EXPECT_FALSE(barrier.broken());
}

// behaviour: Barrier/reset-after-abort
TEST_F(BarrierTest, ABrokenOneWorksAgainAfterAReset) {
  Barrier barrier(3);
  Party party(barrier);
  EXPECT_TRUE(come(barrier, 1));
  barrier.abort();
  EXPECT_FALSE(party.end());
  barrier.reset();
  EXPECT_FALSE(barrier.broken());
  std::atomic<std::size_t> sum{0};
  in_threads(3, [&](int) { sum += barrier.wait(); });
  EXPECT_EQ(sum, 3U);
}

// Stops a thread behind its sleep until it is let go on.
struct LateWaker {
  static inline std::atomic<pid_t> thread{0};
  static inline std::atomic<bool> woken{false};
  static inline std::atomic<bool> go_on{false};

  LateWaker() {
    thread = 0;
    woken = false;
    go_on = false;
    cohort::os::step_hook = [](const char* step) {
      if (thread != ::gettid() || std::strcmp(step, "barrier.woken") != 0) return;
      woken = true;
      eventually([] { return go_on.load(); });
    };
  }
  ~LateWaker() { cohort::os::step_hook = nullptr; }
};

TEST_F(BarrierTest, APartyThatWakesLateIsToldThatItsOwnRoundPassed) {
  for (int failed_after : {0, 1, 5, 63, 64, 200}) {
    Barrier barrier(2);
    LateWaker late;
    std::optional<std::size_t> place;
    std::thread slow([&] {
      LateWaker::thread = ::gettid();
      place = try_wait(barrier);
    });
    EXPECT_TRUE(sleep_comes(barrier, 1));
    EXPECT_EQ(barrier.wait(), 1U);
    EXPECT_TRUE(eventually([] { return LateWaker::woken.load(); }));
    for (int i = 0; i < failed_after; ++i) {
      barrier.abort();
      barrier.reset();
    }
    LateWaker::go_on = true;
    slow.join();
    // Beyond what the barrier remembers, it does not claim to have passed.
    EXPECT_EQ(place.has_value(), failed_after < 64) << failed_after;
  }
}

TEST_F(BarrierTest, APartyThatWakesLateIsToldThatItsOwnRoundWasReset) {
  for (int passed_after : {0, 1, 300}) {
    Barrier barrier(2);
    LateWaker late;
    std::optional<std::size_t> place = 7;
    std::thread slow([&] {
      LateWaker::thread = ::gettid();
      place = try_wait(barrier);
    });
    EXPECT_TRUE(sleep_comes(barrier, 1));
    barrier.reset();
    EXPECT_TRUE(eventually([] { return LateWaker::woken.load(); }));
    for (int i = 0; i < passed_after; ++i) in_threads(2, [&](int) { barrier.wait(); });
    barrier.abort();  // of another round
    LateWaker::go_on = true;
    slow.join();
    EXPECT_FALSE(place);
  }
}

// ---- time

// behaviour: Barrier/wait-timeout
TEST_F(BarrierTest, AWaitShorterThanOnePartysLatenessBreaksAllAndTheLateOneToo) {
  Barrier barrier(4);
  std::atomic<int> broken{0};
  in_threads(3, [&](int i) {
    try {
      if (i == 0) {
        barrier.wait_for(30ms);
      } else {
        barrier.wait();
      }
    } catch (const BrokenBarrier&) {
      ++broken;
    }
  });
  EXPECT_EQ(broken, 3);
  EXPECT_THROW(barrier.wait(), BrokenBarrier);
  EXPECT_TRUE(barrier.broken());
}

TEST_F(BarrierTest, AWaitOfNoTimePassesOnlyAsTheLast) {
  Barrier barrier(2);
  Party party(barrier);
  EXPECT_TRUE(come(barrier, 1));
  EXPECT_EQ(barrier.wait_for(0s), 1U);
  EXPECT_EQ(party.end(), 0U);
  EXPECT_THROW(barrier.wait_for(-1s), BrokenBarrier);
  EXPECT_TRUE(barrier.broken());
}

// behaviour: Barrier/default-timeout
// behaviour: MpBarrier/default-timeout
TEST_F(BarrierTest, TheConstructorsTimeoutBreaksAWaitThatNobodyJoinsAndNotTooEarly) {
  for (auto limit : {20ms, 150ms}) {
    Barrier barrier(2, nullptr, limit);
    auto before = Clock::now();
    EXPECT_THROW(barrier.wait(), BrokenBarrier);
    EXPECT_GE(Clock::now() - before, limit);
    EXPECT_TRUE(barrier.broken());
  }
}

// behaviour: MpBarrier/explicit-overrides-default
TEST_F(BarrierTest, ALimitOfItsOwnOverridesTheDefault) {
  Barrier barrier(2, nullptr, 1ms);
  std::atomic<bool> passed{false};
  std::thread patient([&] {
    barrier.wait_for(30s);
    passed = true;
  });
  EXPECT_TRUE(come(barrier, 1));
  auto until = Clock::now() + 10ms;
  EXPECT_TRUE(eventually([&] { return Clock::now() > until; }));
  EXPECT_FALSE(barrier.broken());
  EXPECT_EQ(barrier.wait(), 1U);
  patient.join();
  EXPECT_TRUE(passed);
}

// ---- processes

// In each phase every party writes its mark, and sees all marks behind the barrier.
void march(const Barrier& barrier, const Cells& marks, std::uint32_t me, std::uint32_t phases) {
  const auto parties = static_cast<std::uint32_t>(barrier.parties());
  for (std::uint32_t phase = 1; phase <= phases; ++phase) {
    marks[me] = phase;
    barrier.wait();
    for (std::uint32_t i = 0; i < parties; ++i) {
      if (marks[i] != phase) std::exit(1);
    }
    if (barrier.wait() == 0) ++marks[parties];
  }
}

// behaviour: MpBarrier/lockstep
// behaviour: MpBarrier/ten-rounds
// behaviour: MpBarrier/one-leader
TEST_P(BarrierBetweenProcesses, PartiesPassInLockstepWithOneLeaderEach) {
  constexpr std::uint32_t kParties = 5;
  Barrier barrier(kParties);
  Cells marks(kParties + 1);
  std::vector<Process> children;
  for (std::uint32_t i = 0; i < kParties - 1; ++i)
    children.emplace_back(with(), march, barrier, marks, i, 10U);
  for (auto& child : children) child.start();
  march(barrier, marks, kParties - 1, 10);
  for (auto& child : children) {
    child.join();
    EXPECT_EQ(child.exitcode(), 0);
  }
  EXPECT_EQ(marks[kParties], 10U);
  EXPECT_EQ(barrier.n_waiting(), 0U);
  EXPECT_FALSE(barrier.broken());
}

// behaviour: MpBarrier/thousand-rounds
TEST_F(BarrierBetweenProcesses, AThousandRoundsKeepEachRoundsMessagesApart) {
  constexpr std::uint32_t kParties = 5;
  Barrier barrier(kParties);
  Cells marks(kParties + 1);
  std::vector<Process> children;
  for (std::uint32_t i = 0; i < kParties; ++i)
    children.emplace_back(march, barrier, marks, i, 1000U);
  for (auto& child : children) child.start();
  for (auto& child : children) {
    child.join();
    EXPECT_EQ(child.exitcode(), 0);
  }
  EXPECT_EQ(marks[kParties], 1000U);
}

// Ends with 0 when it passed, 1 when the barrier was broken.
void wait_once(const Barrier& barrier) { std::exit(try_wait(barrier) ? 0 : 1); }

// behaviour: MpBarrier/abort
// behaviour: MpBarrier/reset-after-abort
TEST_P(BarrierBetweenProcesses, AnAbortOfOneBreaksAllUntilAReset) {
  Barrier barrier(3);
  std::vector<Process> children;
  for (int i = 0; i < 2; ++i) children.emplace_back(with(), wait_once, barrier);
  for (auto& child : children) child.start();
  EXPECT_TRUE(come(barrier, 2));
  Process breaker(
      with(), [](const Barrier& theirs) { theirs.abort(); }, barrier);
  breaker.start();
  for (auto& child : children) {
    child.join();
    EXPECT_EQ(child.exitcode(), 1);
  }
  breaker.join();
  EXPECT_TRUE(barrier.broken());
  barrier.reset();
  std::vector<Process> more;
  for (int i = 0; i < 2; ++i) more.emplace_back(with(), wait_once, barrier);
  for (auto& child : more) child.start();
  EXPECT_LT(barrier.wait(), 3U);
  for (auto& child : more) {
    child.join();
    EXPECT_EQ(child.exitcode(), 0);
  }
}

// behaviour: MpBarrier/reset-frees-waiters
TEST_P(BarrierBetweenProcesses, AResetFreesTheWaitersAndTheNextRoundWorks) {
  Barrier barrier(3);
  for (bool pass : {false, true}) {
    std::vector<Process> children;
    for (int i = 0; i < 2; ++i) children.emplace_back(with(), wait_once, barrier);
    for (auto& child : children) child.start();
    EXPECT_TRUE(come(barrier, 2));
    if (pass) {
      EXPECT_EQ(barrier.wait(), 2U);
    } else {
      barrier.reset();
    }
    for (auto& child : children) {
      child.join();
      EXPECT_EQ(child.exitcode(), pass ? 0 : 1);
    }
    EXPECT_FALSE(barrier.broken());
  }
}

// behaviour: MpBarrier/wait-timeout-breaks
TEST_P(BarrierBetweenProcesses, OnePartyWhoseTimeIsUpBreaksAll) {
  Barrier barrier(4);
  Process patient(with(), wait_once, barrier);
  Process hasty(
      with(),
      [](const Barrier& theirs) {
        try {
          theirs.wait_for(20ms);
        } catch (const BrokenBarrier&) {
          std::exit(1);
        }
      },
      barrier);
  patient.start();
  EXPECT_TRUE(come(barrier, 1));
  hasty.start();
  patient.join();
  hasty.join();
  EXPECT_EQ(patient.exitcode(), 1);
  EXPECT_EQ(hasty.exitcode(), 1);
  EXPECT_THROW(barrier.wait(), BrokenBarrier);
}

TEST_P(BarrierBetweenProcesses, TheDefaultLimitGoesWithIt) {
  Barrier barrier(2, nullptr, 10ms);
  Process child(with(), wait_once, barrier);
  child.start();
  child.join();
  EXPECT_EQ(child.exitcode(), 1);
  EXPECT_TRUE(barrier.broken());
}

struct Hall {
  Barrier entrance{1};
  std::vector<Barrier> doors;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(entrance, doors);
  }
};

TEST_P(BarrierBetweenProcesses, CrossInStructsAndVectors) {
  Hall hall{Barrier(2), {Barrier(2), Barrier(3)}};
  auto walk = [](const Hall& theirs) {
    theirs.entrance.wait();
    theirs.doors[0].wait();
    if (theirs.doors[1].parties() != 3) std::exit(1);
  };
  Process child(with(), walk, hall);
  child.start();
  walk(hall);
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
}

struct Counter {
  Cells cells{1};
  std::uint32_t step = 0;
  void operator()() const { cells[0] += step; }
  template <class Archive>
  void serialize(Archive& archive) {
    archive(cells, step);
  }
};

// The action goes with the barrier, with all that it refers to, and runs in whoever comes last.
TEST_P(BarrierBetweenProcesses, TheActionCrossesWithWhatItRefersTo) {
  Event ran;
  Cells who(2);
  Barrier bound(2, cohort::bind(
                       [](const Event& done, const Cells& cells, const std::string& word) {
                         cells[0] = static_cast<std::uint32_t>(::getpid());
                         cells[1] = static_cast<std::uint32_t>(word.size());
                         done.set();
                       },
                       ran, who, "seven"));
  Counter counter;
  counter.step = 40;
  Barrier object(2, counter);
  Barrier free(
      2, +[] {});
  Barrier none(2);
  std::vector<Barrier> all{bound, object, free, none};
  Process child(
      with(),
      [](const std::vector<Barrier>& theirs) {
        for (const Barrier& one : theirs) {
          if (!eventually([&] { return one.n_waiting() == 1; })) std::exit(1);
          if (one.wait() != 1) std::exit(2);
        }
      },
      all);
  child.start();
  for (const Barrier& one : all) EXPECT_EQ(one.wait(), 0U);
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
  EXPECT_TRUE(ran.is_set());
  EXPECT_EQ(who[0].load(), static_cast<std::uint32_t>(child.pid()));
  EXPECT_EQ(who[1].load(), 5U);
  EXPECT_EQ(counter.cells[0].load(), 40U);
}

TEST_P(BarrierBetweenProcesses, TheActionHoldsWhatItRefersToWhenItsMakerHasLetGo) {
  auto before = Space::here().heap().blocks_held();
  {
    auto make = [] {
      Event ran;
      auto body = [](const Event& done) { done.set(); };
      return std::pair(Barrier(2, cohort::bind(body, ran)), ran);
    };
    auto made = std::optional(make());
    Process child(with(), wait_once, made->first);
    Event ran = made->second;
    child.start();
    EXPECT_TRUE(come(made->first, 1));
    made->first.wait();
    child.join();
    EXPECT_EQ(child.exitcode(), 0);
    EXPECT_TRUE(ran.is_set());
  }
  EXPECT_TRUE(eventually([&] { return Space::here().heap().blocks_held() == before; }))
      << Space::here().heap().blocks_held() << " blocks, and before " << before;
}

TEST_P(BarrierBetweenProcesses, TasksOfAPoolMeetAtIt) {
  cohort::Pool pool({.processes = 3, .start_method = GetParam()});
  Cells runs(1);
  Barrier barrier(3, cohort::bind([](const Cells& cells) { ++cells[0]; }, runs), 30s);
  auto places = pool.map(
      {.chunksize = 1}, [](const Barrier& theirs) { return theirs.wait(); },
      std::vector<Barrier>(3, barrier));
  EXPECT_EQ(std::set<std::size_t>(places.begin(), places.end()), (std::set<std::size_t>{0, 1, 2}));
  EXPECT_EQ(runs[0], 1U);
}

// ---- deaths

TEST_P(BarrierBetweenProcesses, APartyThatDiesAfterItCameBreaksIt) {
  Barrier barrier(3);
  Process victim(with(), wait_once, barrier);
  victim.start();
  EXPECT_TRUE(come(barrier, 1));
  Party party(barrier);
  EXPECT_TRUE(come(barrier, 2));
  victim.kill();
  EXPECT_FALSE(party.end());
  victim.join();
  EXPECT_TRUE(barrier.broken());
}

TEST_P(BarrierBetweenProcesses, APartyThatDiesInTheActionBreaksIt) {
  Event began;
  Barrier barrier(2, cohort::bind(
                         [](const Event& running) {
                           running.set();
                           for (;;) ::pause();
                         },
                         began));
  Party party(barrier);
  EXPECT_TRUE(come(barrier, 1));
  Process victim(with(), wait_once, barrier);
  victim.start();
  began.wait();
  Party next(barrier);  // for a round that will not be
  EXPECT_TRUE(sleep_comes(barrier, 2));
  victim.kill();
  EXPECT_FALSE(party.end());
  EXPECT_FALSE(next.end());
  victim.join();
  EXPECT_TRUE(barrier.broken());
}

TEST_F(BarrierTest, APartyThatDiedUnnoticedBreaksItForTheNextWhoComes) {
  Barrier barrier(2);
  Member victim([&] { barrier.wait(); });
  EXPECT_TRUE(come(barrier, 1));
  victim.kill_and_bury();
  EXPECT_THROW(barrier.wait(), BrokenBarrier);
  barrier.reset();
  Party party(barrier);
  EXPECT_LT(barrier.wait(), 2U);
  EXPECT_TRUE(party.end());
}

}  // namespace
