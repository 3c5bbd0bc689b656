#include <set>
#include <sstream>
#include <stdexcept>

#include "sync_fixture.hpp"

namespace {

using namespace test;
using cohort::Barrier;
using cohort::BrokenBarrier;

constexpr std::size_t kParties = 5;

class MpBarrier : public EachMethodSync {};
INSTANTIATE_TEST_SUITE_P(Methods, MpBarrier, every_method(), method_name);
using SyncBarrier = SyncTest;

// What parties saw, for each of their places.
struct Round {
  Barrier barrier;
  Cells cells;
};

bool breaks(const Barrier& barrier) {
  try {
    barrier.wait();
  } catch (const BrokenBarrier&) {
    return true;
  }
  return false;
}

// All parties but one are processes; `body` runs as that one here.
template <class F, class Body>
void with_processes(StartMethod method, F party, const Round& round, Body body) {
  Children children(method);
  for (std::size_t i = 1; i < kParties; ++i) children.add(party, round);
  body();
  children.join();
}
template <class Party>
void with_threads(Party party, const Round& round) {
  Threads threads(kParties, [&](int) { party(round); });
}

// cells[p]: who has come to phase p.
void pass_in_lockstep(const Round& round, std::size_t phases) {
  for (std::size_t phase = 0; phase < phases; ++phase) {
    round.cells[phase].fetch_add(1);
    round.barrier.wait();
    require(round.cells[phase] == kParties, "all have ended the phase");
    require(phase + 1 == phases || round.cells[phase + 1] == 0, "nobody is ahead of us");
    round.barrier.wait();
  }
}
void two_phases(const Round& round) { pass_in_lockstep(round, 2); }
void ten_phases(const Round& round) { pass_in_lockstep(round, 10); }
void thousand_phases(const Round& round) { pass_in_lockstep(round, 1000); }

void is_as_new(const Barrier& barrier) {
  EXPECT_EQ(barrier.n_waiting(), 0U);
  EXPECT_FALSE(barrier.broken());
  EXPECT_EQ(barrier.parties(), kParties);
}
Round make_round(std::size_t cells = 10) { return {Barrier(kParties), Cells(cells)}; }

// behaviour: MpBarrier/lockstep
TEST_P(MpBarrier, FivePartiesPassInLockstep) {
  const Round round = make_round();
  with_processes(GetParam(), two_phases, round, [&] { two_phases(round); });
  is_as_new(round.barrier);
}

// behaviour: MpBarrier/ten-rounds
TEST_P(MpBarrier, TenRoundsInARowWork) {
  const Round round = make_round();
  with_processes(GetParam(), ten_phases, round, [&] { ten_phases(round); });
  is_as_new(round.barrier);
}

// behaviour: MpBarrier/thousand-rounds
TEST_P(MpBarrier, AThousandRoundsKeepTheirOrder) {
  const Round round = make_round(1000);
  with_processes(GetParam(), thousand_phases, round, [&] { thousand_phases(round); });
  is_as_new(round.barrier);
}

void count_place(const Round& round) { round.cells[round.barrier.wait()].fetch_add(1); }

// behaviour: MpBarrier/one-leader
TEST_P(MpBarrier, ExactlyOnePartyGetsIndexZero) {
  const Round round = make_round();
  with_processes(GetParam(), count_place, round, [&] { count_place(round); });
  for (std::size_t i = 0; i < kParties; ++i) EXPECT_EQ(round.cells[i], 1U);
}

// Waits until all the others wait.
bool others_wait(const Barrier& barrier) {
  return eventually([&] { return barrier.n_waiting() == kParties - 1; });
}

void expect_broken(const Round& round) {
  require(breaks(round.barrier), "the wait gets BrokenBarrier");
  round.cells[0].fetch_add(1);
}

// behaviour: MpBarrier/abort
TEST_P(MpBarrier, AnAbortBreaksAllWaitsAndTheBarrier) {
  const Round round = make_round();
  with_processes(GetParam(), expect_broken, round, [&] {
    EXPECT_TRUE(others_wait(round.barrier));
    round.barrier.abort();
  });
  EXPECT_EQ(round.cells[0], kParties - 1);
  EXPECT_TRUE(round.barrier.broken());
  EXPECT_TRUE(breaks(round.barrier));
}

void broken_then_passes(const Round& round) {
  expect_broken(round);
  // The barrier works for all once it is new.
  require(eventually([&] { return round.cells[1] == 1; }), "it was reset");
  round.barrier.wait();
  round.cells[2].fetch_add(1);
}

// behaviour: MpBarrier/reset-frees-waiters
TEST_P(MpBarrier, AResetFreesThoseWhoWaitAndTheNextRoundWorks) {
  const Round round = make_round();
  with_processes(GetParam(), broken_then_passes, round, [&] {
    EXPECT_TRUE(others_wait(round.barrier));
    round.barrier.reset();
    round.cells[1] = 1;
    round.barrier.wait();
  });
  EXPECT_EQ(round.cells[0], kParties - 1);
  EXPECT_EQ(round.cells[2], kParties - 1);
  is_as_new(round.barrier);
}

// behaviour: MpBarrier/reset-after-abort
TEST_P(MpBarrier, ABrokenOneWorksAgainAfterReset) {
  const Round round = make_round();
  with_processes(GetParam(), broken_then_passes, round, [&] {
    EXPECT_TRUE(others_wait(round.barrier));
    round.barrier.abort();
    EXPECT_TRUE(eventually([&] { return round.cells[0] == kParties - 1; }));
    EXPECT_TRUE(round.barrier.broken());
    round.barrier.reset();
    round.cells[1] = 1;
    round.barrier.wait();
  });
  EXPECT_EQ(round.cells[2], kParties - 1);
  is_as_new(round.barrier);
}

void expect_timeout(const Round& round) {
  try {
    round.barrier.wait_for(100ms);
  } catch (const BrokenBarrier&) {
    round.cells[0].fetch_add(1);
  }
}

// behaviour: MpBarrier/wait-timeout-breaks
TEST_P(MpBarrier, AWaitWhoseTimeIsUpBreaksItForAllTheLateOneToo) {
  const Round round = make_round();
  with_processes(GetParam(), expect_timeout, round, [&] {
    EXPECT_TRUE(eventually([&] { return round.cells[0] == kParties - 1; }));  // late
    EXPECT_TRUE(breaks(round.barrier));
  });
  EXPECT_TRUE(round.barrier.broken());
}

// behaviour: MpBarrier/default-timeout
TEST_P(MpBarrier, TheTimeoutGivenAtConstructionAppliesToWaitsWithoutOne) {
  const Round round{Barrier(kParties, nullptr, 100ms), Cells(1)};
  with_processes(GetParam(), expect_broken, round,
                 [&] { EXPECT_TRUE(eventually([&] { return round.cells[0] == kParties - 1; })); });
  EXPECT_TRUE(round.barrier.broken());
}

// behaviour: MpBarrier/explicit-overrides-default
TEST_P(MpBarrier, ALongerTimeoutOfAWaitOverridesAShortDefault) {
  const Round round{Barrier(kParties, nullptr, 1ms), Cells(1)};
  const auto party = [](const Round& met) {
    met.barrier.wait_for(kPatience);
    met.cells[0].fetch_add(1);
  };
  with_processes(GetParam(), party, round, [&] {
    EXPECT_TRUE(others_wait(round.barrier));
    const auto later = Clock::now() + 20ms;
    EXPECT_TRUE(eventually([&] { return Clock::now() > later; }));
    party(round);
  });
  EXPECT_EQ(round.cells[0], kParties);
  is_as_new(round.barrier);
}

// behaviour: MpBarrier/single-party
TEST_P(MpBarrier, ABarrierForOneNeverBlocks) {
  const auto party = [](const Barrier& barrier) {
    for (int i = 0; i < 100; ++i) require(barrier.wait() == 0, "the only place");
  };
  Barrier barrier(1);
  Children children(GetParam());
  children.add(party, barrier);
  children.join();
  party(barrier);
}

// ---- between threads

// behaviour: Barrier/parties-check
TEST_F(SyncBarrier, ZeroOrFewerPartiesAreAnError) {
  EXPECT_THROW(Barrier(0), std::invalid_argument);
  EXPECT_THROW(Barrier(-1), std::invalid_argument);
  EXPECT_EQ(Barrier(1).parties(), 1U);
}

// behaviour: Barrier/lockstep
TEST_F(SyncBarrier, FiveThreadsPassPhaseByPhase) {
  const Round round = make_round();
  with_threads(two_phases, round);
  is_as_new(round.barrier);
}

// behaviour: Barrier/ten-rounds
TEST_F(SyncBarrier, FiveThreadsPassTenRoundsInARow) {
  const Round round = make_round();
  with_threads(ten_phases, round);
  is_as_new(round.barrier);
}

// behaviour: Barrier/distinct-indices
TEST_F(SyncBarrier, TheResultsOfARoundAreAllPlacesOnce) {
  const Round round = make_round();
  for (unsigned times = 1; times <= 20; ++times) {
    with_threads(count_place, round);
    for (std::size_t i = 0; i < kParties; ++i) EXPECT_EQ(round.cells[i], times);
  }
}

// behaviour: Barrier/action-once
TEST_F(SyncBarrier, TheActionHasRunOnceWhenAnyPartyGetsOn) {
  const Cells runs(1);
  const Round round{
      Barrier(kParties, cohort::bind([](const Cells& count) { count[0].fetch_add(1); }, runs)),
      Cells(1)};
  for (unsigned times = 1; times <= 10; ++times) {
    with_threads(
        [&](const Round& met) {
          met.barrier.wait();
          EXPECT_EQ(runs[0], times);
        },
        round);
  }
}

// behaviour: Barrier/abort
TEST_F(SyncBarrier, AnAbortGivesWaitingThreadsTheErrorAndLeavesItBroken) {
  const Round round = make_round();
  Threads threads(kParties - 1, [&](int) { EXPECT_TRUE(breaks(round.barrier)); });
  EXPECT_TRUE(others_wait(round.barrier));
  round.barrier.abort();
  threads.join();
  EXPECT_TRUE(round.barrier.broken());
  EXPECT_EQ(round.barrier.n_waiting(), 0U);
}

// behaviour: Barrier/reset
TEST_F(SyncBarrier, AResetGivesWaitingThreadsTheErrorAndItWorksAgainAtOnce) {
  const Round round = make_round();
  Threads threads(kParties - 1, [&](int) { EXPECT_TRUE(breaks(round.barrier)); });
  EXPECT_TRUE(others_wait(round.barrier));
  round.barrier.reset();
  EXPECT_FALSE(round.barrier.broken());
  with_threads([](const Round& met) { met.barrier.wait(); }, round);
  threads.join();
  is_as_new(round.barrier);
}

// behaviour: Barrier/reset-after-abort
TEST_F(SyncBarrier, ABrokenOneWorksAgainAfterAReset) {
  const Round round = make_round();
  round.barrier.abort();
  EXPECT_TRUE(breaks(round.barrier));
  round.barrier.reset();
  with_threads(two_phases, round);
  is_as_new(round.barrier);
}

// behaviour: Barrier/wait-timeout
TEST_F(SyncBarrier, AWaitShorterThanAPartysLatenessGivesAllTheError) {
  const Round round = make_round();
  Threads threads(kParties - 1, [&](int i) {
    // One of them loses its patience.
    if (i == 0) {
      EXPECT_THROW(round.barrier.wait_for(100ms), BrokenBarrier);
    } else {
      EXPECT_TRUE(breaks(round.barrier));
    }
  });
  threads.join();
  EXPECT_TRUE(breaks(round.barrier));
}

// behaviour: Barrier/default-timeout
TEST_F(SyncBarrier, TheConstructorsTimeoutBreaksAWaitThatNoOneJoinsNotTooEarly) {
  const Barrier barrier(kParties, nullptr, 150ms);
  const auto before = Clock::now();
  EXPECT_TRUE(breaks(barrier));
  EXPECT_GE(Clock::now() - before, 150ms);
}

// behaviour: Barrier/single-party
TEST_F(SyncBarrier, OneForOnePartyPassesFreely) {
  const Barrier barrier(1);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(barrier.wait(), 0U);
}

// behaviour: Barrier/describe
TEST_F(SyncBarrier, TheTextShowsWhoWaitsOrThatItIsBroken) {
  const auto text_of = [](const Barrier& barrier) {
    std::ostringstream out;
    out << barrier;
    return out.str();
  };
  const Barrier barrier(2);
  EXPECT_EQ(text_of(barrier), "<Barrier waiting=0 of 2>");
  std::thread waiter([&] { EXPECT_TRUE(breaks(barrier)); });
  EXPECT_TRUE(eventually([&] { return barrier.n_waiting() == 1; }));
  EXPECT_EQ(text_of(barrier), "<Barrier waiting=1 of 2>");
  barrier.abort();
  waiter.join();
  EXPECT_EQ(text_of(barrier), "<Barrier broken>");
}

}  // namespace
