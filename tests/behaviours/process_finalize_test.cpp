// The behaviours of finalizers and exit hooks.
#include <unistd.h>

#include <cohort/finalize.hpp>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "launch/finalizers.hpp"
#include "processes.hpp"

namespace {

using namespace test;
using cohort::Finalizer;

class Finalizing : public EachMethod {};
INSTANTIATE_TEST_SUITE_P(Methods, Finalizing, every_method(), method_name);

// What a child sent by its end, in order.
std::vector<std::string> all_of(const Channel& channel) {
  std::vector<std::string> texts;
  while (!channel.empty()) texts.push_back(channel.receive<std::string>());
  return texts;
}

// behaviour: Finalize/fires-with-owner
TEST_F(Finalizing, AFinalizerRunsWhenItsOwnerGoes) {
  int runs = 0;
  {
    struct Owner {
      Finalizer finalizer;
    } owner{Finalizer([&] { ++runs; })};
    EXPECT_EQ(runs, 0);
  }
  EXPECT_EQ(runs, 1);
}

// behaviour: Finalize/explicit-once
TEST_F(Finalizing, AFinalizerCalledByHandRunsOnce) {
  int runs = 0;
  {
    Finalizer finalizer([&] { ++runs; }, {.exit_priority = 3});
    EXPECT_TRUE(finalizer.still_active());
    EXPECT_TRUE(finalizer());
    EXPECT_EQ(runs, 1);
    EXPECT_FALSE(finalizer());
    EXPECT_FALSE(finalizer.still_active());
    EXPECT_FALSE(finalizer.cancel());
  }
  EXPECT_EQ(runs, 1);
}

TEST_F(Finalizing, ACancelledFinalizerNeverRuns) {
  int runs = 0;
  {
    Finalizer finalizer([&] { ++runs; });
    EXPECT_TRUE(finalizer.cancel());
    EXPECT_FALSE(finalizer());
  }
  EXPECT_EQ(runs, 0);
}

TEST_F(Finalizing, AMovedFinalizerRunsOnceAndAnAssignedOneRunsTheOld) {
  std::string runs;
  {
    Finalizer a([&] { runs += 'a'; });
    Finalizer b(std::move(a));
    EXPECT_FALSE(a.still_active());
    EXPECT_TRUE(b.still_active());
    b = Finalizer([&] { runs += 'c'; });
    EXPECT_EQ(runs, "a");
  }
  EXPECT_EQ(runs, "ac");
}

// behaviour: Finalize/no-priority-no-exit-run, Finalize/exit-order
TEST_P(Finalizing, TheExitRunsThoseOfAPriorityHighestAndNewestFirst) {
  auto channel = Channel::make();
  Process child(
      with(),
      [](Channel& c) {
        auto& kept = *new std::vector<Finalizer>;  // owned by nobody who goes
        auto add = [&](const std::string& text, std::optional<int> priority) {
          kept.push_back(Finalizer([c, text] { c.send(text); }, {.exit_priority = priority}));
        };
        add("a", 0);
        add("b1", 1);
        add("b2", 1);
        add("never", std::nullopt);
        add("d10", 10);
        add("minus", -5);
        add("d10 again", 10);
        std::exit(0);
      },
      channel);
  child.start();
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
  EXPECT_EQ(all_of(channel),
            (std::vector<std::string>{"d10 again", "d10", "b2", "b1", "a", "minus"}));
}

TEST_P(Finalizing, AFinalizerThatThrowsStopsNoOther) {
  auto channel = Channel::make();
  Process child(
      with(),
      [](Channel& c) {
        if (!std::freopen("/dev/null", "w", stderr)) std::exit(9);
        cohort::at_exit([c] { c.send(std::string("last")); });
        cohort::at_exit([] { throw std::runtime_error("no"); });
        cohort::at_exit([] { throw 5; });
        cohort::at_exit([c] { c.send(std::string("first")); });
      },
      channel);
  child.start();
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
  EXPECT_EQ(all_of(channel), (std::vector<std::string>{"first", "last"}));
}

// behaviour: AtExit/runs-in-child
TEST_P(Finalizing, AnExitHookOfAChildRunsAtItsEndAndTheCreatorsDoNot) {
  auto channel = Channel::make();
  Finalizer creators([channel] { channel.send(std::string("the creator's")); },
                     {.exit_priority = 0});
  for (bool exits : {false, true}) {
    Process child(
        with(),
        [](Channel& c, bool e) {
          cohort::at_exit([c] { c.send(std::string("the child's")); });
          if (e) std::exit(0);
        },
        channel, exits);
    child.start();
    child.join();
    EXPECT_EQ(child.exitcode(), 0);
    EXPECT_EQ(all_of(channel), (std::vector<std::string>{"the child's"}));
  }
  creators.cancel();
}

TEST_P(Finalizing, AnExitInAChildRunsNeitherHooksNorStaticDestructorsOfTheProgram) {
  auto outcome = run_program("leaves", {"exit", std::string(cohort::to_string(GetParam()))});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.err, "");
  EXPECT_EQ(outcome.out,
            "hook of the child\nchild left with 8\natexit of the program\nhook of the program\n"
            "static destructor\n")
      << outcome;
}

void count_hooks(Channel& channel, int generations, StartMethod method) {
  cohort::at_exit([] {});
  channel.send(cohort::Finalizers::count());
  if (generations == 1) return;
  Process child({.start_method = method}, count_hooks, channel, generations - 1, method);
  child.start();
  child.join();
  if (child.exitcode() != 0) std::exit(1);
}

// behaviour: AtFork/registry-does-not-grow
TEST_P(Finalizing, FiveGenerationsOfChildrenDoNotAccumulateHooks) {
  auto channel = Channel::make();
  Process child(with(), count_hooks, channel, 5, GetParam());
  child.start();
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
  auto first = channel.receive<std::size_t>();
  for (int generation = 2; generation <= 5; ++generation)
    EXPECT_EQ(channel.receive<std::size_t>(), first);
}

}  // namespace
