// The root killed at random instants, alone or with its servers: what should end ends, what should
// go on goes on, and nothing is left.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "chaos.hpp"
#include "member.hpp"

namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::kSanitized;
using test::Program;
using test::random_pause;
using test::soon;

constexpr int kScale = kSanitized ? 4 : 1;

std::set<std::string> shared_memory_names() {
  std::set<std::string> names;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/dev/shm", ignored))
    names.insert(entry.path());
  return names;
}

std::vector<pid_t> helpers_of(pid_t root, const std::string& name) {
  std::vector<pid_t> found;
  test::for_each_process([&](pid_t pid) {
    if (test::stat_of(pid).parent != root) return;
    std::ifstream file("/proc/" + std::to_string(pid) + "/comm");
    std::string comm;
    std::getline(file, comm);
    if (comm == name) found.push_back(pid);
  });
  return found;
}

class RootChaos : public test::Watched {
 protected:
  std::mt19937 random{std::random_device{}()};
  std::set<std::string> names_before_ = shared_memory_names();
  int rounds_ = 0;

  std::string new_mark() {
    return "COHORT_CHAOS_MARK=" + std::to_string(::getpid()) + "." + std::to_string(++rounds_);
  }
  // After the root was killed: waits until nobody holds its output, and looks for leftovers.
  void expect_nothing_left(Program& program, const std::string& mark) {
    bool over = program.read_to_end(soon());
    EXPECT_TRUE(program.wait(soon()).has_value());
    EXPECT_TRUE(eventually([&] { return test::processes_marked(mark).empty(); }));
    for (pid_t pid : test::processes_marked(mark)) {
      ADD_FAILURE() << "left: " << pid << " " << test::stat_of(pid).state;
      test::send(pid, SIGKILL);
    }
    EXPECT_TRUE(over) << "somebody kept the output open; it says " << program.printed();
    auto said = [&](char what) { return std::ranges::count(program.printed(), what); };
    EXPECT_EQ(said('b'), said('e')) << program.printed();
    EXPECT_EQ(shared_memory_names(), names_before_);
  }
};

TEST_F(RootChaos, ARootKilledAtRandomInstantsLeavesNothingThatShouldNotBe) {
  int ready = 0;
  for (int i = 0; i < 120 / kScale && !HasFailure(); ++i) {
    std::string mark = new_mark();
    Program program("chaos_root", {}, mark);
    random_pause(random, 30ms * kScale);
    program.send(SIGKILL);
    expect_nothing_left(program, mark);
    ready += program.printed().find('r') != std::string::npos ? 1 : 0;
  }
  RecordProperty("ready", ready);
}

TEST_F(RootChaos, ARootKilledWithItsWholeFamilyRunningLeavesNothing) {
  for (int i = 0; i < 40 / kScale && !HasFailure(); ++i) {
    std::string mark = new_mark();
    Program program("chaos_root", {}, mark);
    // Three outlive it, and of two of their kind and two daemons three children each.
    ASSERT_TRUE(program.read_some(1 + 3 + 4 * 3, soon())) << program.printed();
    program.send(SIGKILL);
    expect_nothing_left(program, mark);
    EXPECT_EQ(std::ranges::count(program.printed(), 'e'), 15) << program.printed();
  }
}

class KilledTogether : public RootChaos, public testing::WithParamInterface<int> {};

// Bits: 1 the server, 2 the standby, 4 the root last rather than first.
TEST_P(KilledTogether, ARootAndItsServersLeaveNothing) {
  for (int i = 0; i < 16 / kScale && !HasFailure(); ++i) {
    std::string mark = new_mark();
    Program program("chaos_root", {}, mark);
    ASSERT_TRUE(program.read_some(16, soon())) << program.printed();
    std::vector<pid_t> helpers;
    if (GetParam() & 1) helpers = helpers_of(program.pid(), "cohort-server");
    if (GetParam() & 2) {
      for (pid_t pid : helpers_of(program.pid(), "cohort-standby")) helpers.push_back(pid);
    }
    ASSERT_FALSE(helpers.empty());
    if ((GetParam() & 4) == 0) program.send(SIGKILL);
    for (pid_t pid : helpers) test::send(pid, SIGKILL);
    if ((GetParam() & 4) != 0) program.send(SIGKILL);
    expect_nothing_left(program, mark);
  }
}

INSTANTIATE_TEST_SUITE_P(Who, KilledTogether, testing::Values(1, 2, 3, 5, 6, 7));

// Without init there is no janitor: those who sleep look for themselves.
TEST_F(RootChaos, WithoutInitALockHeldByAKilledChildIsTakenOver) {
  for (int i = 0; i < 5; ++i) {
    Program program("chaos_no_init", {"lock"});
    EXPECT_EQ(program.wait(soon()), 0);
  }
}

TEST_F(RootChaos, WithoutInitAKilledChildIsNoticedByThoseWhoWait) {
  for (int i = 0; i < 5; ++i) {
    Program program("chaos_no_init", {"wait"});
    EXPECT_EQ(program.wait(soon()), 0);
  }
}

TEST_F(RootChaos, WithoutInitADaemonDiesWithItsKilledParent) {
  for (int i = 0; i < 60 / kScale && !HasFailure(); ++i) {
    std::string mark = new_mark();
    Program program("chaos_no_init", {"daemon"}, mark);
    if (i % 2 == 0) {
      ASSERT_TRUE(program.read_some(1, soon()));
    } else {
      random_pause(random, 5ms * kScale);
    }
    program.send(SIGKILL);
    expect_nothing_left(program, mark);
  }
}

}  // namespace
