// The behaviours of the clean-up of names: done by the fork server, however the program ends.
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cohort/pool.hpp>
#include <cohort/process.hpp>
#include <cohort/shared_memory.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "chaos.hpp"
#include "processes.hpp"
#include "shared_names.hpp"

namespace {

using namespace test;
using cohort::SharedMemory;

class ResourceTracker : public EachMethod {
 protected:
  SharedNames name;
  std::string method() const { return std::string(cohort::to_string(GetParam())); }
  bool all_gone() {
    return eventually([&] { return name.all().empty(); });
  }
};
INSTANTIATE_TEST_SUITE_P(Methods, ResourceTracker, every_method(), method_name);

// behaviour: ResourceTracker/cleans-after-kill
TEST_P(ResourceTracker, TheNamesOfAKilledProgramAreRemoved) {
  auto outcome =
      run_program("shared_memory_family", {"leave", name(""), method()}, {.kill_after = "ready"});
  EXPECT_EQ(outcome.code, -SIGKILL) << outcome;
  EXPECT_EQ(outcome.err, "");
  EXPECT_TRUE(all_gone()) << testing::PrintToString(name.all());
}

TEST_P(ResourceTracker, TheNamesOfAProgramThatEndsAreGoneWithIt) {
  auto outcome = run_program("shared_memory_family", {"end", name(""), method()});
  EXPECT_EQ(outcome.code, 0) << outcome;
  EXPECT_EQ(outcome.err, "");
  EXPECT_TRUE(name.all().empty()) << testing::PrintToString(name.all());
}

TEST_P(ResourceTracker, AChildStillFindsWhatItWasSentWhenMainHasReturned) {
  auto outcome = run_program("shared_memory_family", {"late", name(""), method()});
  EXPECT_EQ(outcome.code, 0) << outcome;
  EXPECT_EQ(outcome.out, "opened\n") << outcome;
  EXPECT_EQ(outcome.err, "");
  EXPECT_TRUE(name.all().empty());
}

class ResourceTrackerOf : public Watched {
 protected:
  SharedNames name;
};

TEST_F(ResourceTrackerOf, AProgramThatAbortsLeavesNoName) {
  auto outcome = run_program("shared_memory_family", {"abort", name("")});
  EXPECT_EQ(outcome.code, -SIGABRT) << outcome;
  EXPECT_TRUE(eventually([&] { return name.all().empty(); }));
}

TEST_F(ResourceTrackerOf, AProgramThatBecomesAnotherLeavesNoName) {
  auto outcome = run_program("shared_memory_family", {"exec", name("")});
  EXPECT_EQ(outcome.code, 0) << outcome;
  EXPECT_TRUE(eventually([&] { return name.all().empty(); }));
}

TEST_F(ResourceTrackerOf, WithoutInitTheNormalEndRemovesTheNames) {
  auto outcome = run_program("shared_memory_family", {"no_init", name("")});
  EXPECT_EQ(outcome.code, 0) << outcome;
  EXPECT_TRUE(name.all().empty()) << testing::PrintToString(name.all());
}

TEST_F(ResourceTrackerOf, AChildThatTheHostForkedRemovesOnlyItsOwnNames) {
  auto outcome = run_program("shared_memory_family", {"host_fork", name("")});
  EXPECT_EQ(outcome.code, 0) << outcome;
  EXPECT_TRUE(name.all().empty()) << testing::PrintToString(name.all());
}

// behaviour: ResourceTracker/ignores-sigint-and-sigterm
TEST_P(ResourceTracker, NeitherSigintNorSigtermEndsIt) {
  pid_t server = cohort::fork_server_pid().value();
  ASSERT_TRUE(eventually([] { return standby_pid().has_value(); }));
  pid_t standby = *standby_pid();
  for (int number : {SIGINT, SIGTERM}) {
    ASSERT_TRUE(test::send(server, number));
    ASSERT_TRUE(test::send(standby, number));
    Process child(
        with(), [](const std::string& its) { SharedMemory::create(its, 10); }, name("after"));
    child.start();
    child.join();
    EXPECT_EQ(child.exitcode(), 0);
    SharedMemory::unlink(name("after"));
    // Children are not deaf as it is.
    Process other(
        with(), [](int signal_number) { ::raise(signal_number); }, number);
    other.start();
    other.join();
    EXPECT_EQ(other.exitcode(), -number);
  }
  EXPECT_EQ(cohort::fork_server_pid(), server);
  EXPECT_EQ(standby_pid(), standby);
}

// behaviour: ResourceTracker/shared-with-children
TEST_P(ResourceTracker, AChildUsesItsCreatorsTracker) {
  auto answers = Channel::make();
  Process child(
      with(),
      [](const Channel& to, const std::string& its) {
        to.send(cohort::fork_server_pid().value_or(0));
        SharedMemory::create(its, 10);
        to.send(cohort::fork_server_pid().value_or(0));
      },
      answers, name("childs"));
  child.start();
  EXPECT_EQ(answers.receive<pid_t>(), cohort::fork_server_pid());
  EXPECT_EQ(answers.receive<pid_t>(), cohort::fork_server_pid());
  child.join();
  EXPECT_TRUE(in_dev_shm(name("childs")));
  SharedMemory::unlink(name("childs"));
}

// behaviour: ResourceTracker/name-too-long
TEST_F(ResourceTrackerOf, ANameThatIsTooLongIsAValueError) {
  for (std::size_t length : {256U, 512U, 5000U}) {
    EXPECT_THROW(SharedMemory::create(std::string(length, 'x'), 10), std::invalid_argument);
    EXPECT_THROW(SharedMemory::open(std::string(length, 'x')), std::invalid_argument);
  }
}

// behaviour: ResourceTracker/keeps-caller-signal-mask
TEST_F(ResourceTrackerOf, StartingItLeavesTheCallersSignalsAsTheyWere) {
  auto outcome = run_program("shared_memory_family", {"signals", name("")});
  EXPECT_EQ(outcome.code, 0) << outcome;
  EXPECT_EQ(outcome.err, "");
}

// behaviour: ResourceTracker/library-fork-keeps-pipe
TEST_F(ResourceTrackerOf, AForkedChildsNamesAreTrackedAndTheTrackerEndsWithTheProgram) {
  auto outcome = run_program("shared_memory_family", {"end", name(""), "fork"});
  EXPECT_EQ(outcome.code, 0) << outcome;  // its server had closed the streams, too
  EXPECT_TRUE(name.all().empty());
}

// behaviour: ResourceTracker/bare-fork-drops-pipe
TEST_F(ResourceTrackerOf, AChildThatTheHostForkedDoesNotKeepItAlive) {
  auto outcome = run_program("shared_memory_family", {"bare_fork", name("")});
  EXPECT_EQ(outcome.code, 0) << outcome;
  std::istringstream pids(outcome.out);
  pid_t child = 0;
  pid_t server = 0;
  pids >> child >> server;
  ASSERT_GT(child, 0) << outcome;
  EXPECT_TRUE(disappears(server));
  EXPECT_TRUE(name.all().empty());
  EXPECT_TRUE(test::send(child, SIGKILL)) << "it did not outlive the program";
  EXPECT_TRUE(disappears(child));
}

// behaviour: ResourceTracker/lock-reset-in-child
TEST_P(ResourceTracker, AForkWhileAnotherThreadTracksLeavesTheChildAbleTo) {
  std::atomic<bool> stop{false};
  std::atomic<int> rounds{0};
  std::thread tracking([&] {
    while (!stop) {
      SharedMemory::create(name("busy"), 10).unlink();
      ++rounds;
    }
  });
  EXPECT_TRUE(eventually([&] { return rounds > 0; }));
  for (int i = 0; i < 30; ++i) {
    Process child(
        with(), [](const std::string& its) { SharedMemory::create(its, 10).unlink(); },
        name(std::to_string(i)));
    child.start();
    EXPECT_TRUE(ends(child)) << "the child hangs";
    if (child.is_alive()) child.kill();
    child.join();
    EXPECT_EQ(child.exitcode(), 0);
  }
  stop = true;
  tracking.join();
  EXPECT_TRUE(name.all().empty());
}

// behaviour: ResourceTracker/failed-initializers-leak-nothing
TEST_P(ResourceTracker, APoolWhoseInitializersFailLeavesNothing) {
  auto blocks = Space::here().heap().blocks_held();
  {
    cohort::PoolOptions options;
    options.processes = 2;
    options.start_method = GetParam();
    options.initializer = cohort::bind(
        +[](int) { throw std::runtime_error("no"); }, 1);
    cohort::Pool pool(options);
    EXPECT_THROW(pool.apply(+[] { return 1; }), cohort::BrokenPool);
  }
  EXPECT_TRUE(eventually([&] { return Space::here().heap().blocks_held() <= blocks; }));
}

}  // namespace
