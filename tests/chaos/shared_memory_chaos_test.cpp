// Creators of named blocks killed at random instants and at each step of their work: when the
// family is over, none of its names is left.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "chaos.hpp"
#include "member.hpp"
#include "shared_names.hpp"

namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::Program;
using test::soon;

constexpr int kScale = test::kSanitized ? 10 : 1;

class SharedMemoryChaos : public test::Watched, public testing::WithParamInterface<const char*> {
 protected:
  SharedMemoryChaos() : Watched(480) {}

  std::string way() const { return GetParam(); }
  void expect_no_names(Program& program) {
    EXPECT_TRUE(program.read_to_end(soon())) << "somebody kept the output open";
    EXPECT_TRUE(program.wait(soon()).has_value());
    EXPECT_TRUE(eventually([&] { return name.all().empty(); }))
        << testing::PrintToString(name.all());
    // Other tests may be running, whose drafts come and go.
    EXPECT_TRUE(eventually([&] {
      auto drafts = test::names_with(".cohort-");
      return std::ranges::includes(drafts_before_, drafts);
    })) << testing::PrintToString(test::names_with(".cohort-"));
  }
  std::vector<pid_t> children_of(pid_t parent) {
    std::vector<pid_t> found;
    test::for_each_process([&](pid_t pid) {
      if (test::stat_of(pid).parent == parent) found.push_back(pid);
    });
    return found;
  }
  static bool is_called(const std::string& its_name, pid_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/comm");
    std::string comm;
    std::getline(file, comm);
    return comm == its_name;
  }

  // Waits until the children run, and the standby has its own name: it is not to be taken for the
  // server, as which it begins.
  bool in_full_swing(Program& program) {
    if (!program.read_some(1, soon())) return false;
    return eventually([&] {
      auto family = children_of(program.pid());
      auto called = [](const char* its_name) {
        return [=](pid_t pid) { return is_called(its_name, pid); };
      };
      return std::ranges::count_if(family, called("cohort-server")) == 1 &&
             std::ranges::count_if(family, called("cohort-standby")) == 1;
    });
  }

  test::SharedNames name;
  std::mt19937 random_{std::random_device{}()};
  std::vector<std::string> drafts_before_ = test::names_with(".cohort-");
};
INSTANTIATE_TEST_SUITE_P(Ways, SharedMemoryChaos, testing::Values("nameless", "draft"),
                         [](const auto& way) { return std::string(way.param); });

TEST_P(SharedMemoryChaos, ARootKilledAtRandomInstantsLeavesNoName) {
  int running = 0;
  for (int i = 0; i < 90 / kScale && !HasFailure(); ++i) {
    Program program("shared_memory_chaos", {"random", name(""), way()});
    if (i % 2 == 0) program.read_some(1, soon());
    test::random_pause(random_, 15ms);
    program.send(SIGKILL);
    expect_no_names(program);
    running += program.printed().empty() ? 0 : 1;
  }
  EXPECT_GT(running, 0);
}

// All but the fork server, or all but its standby, in any order.
TEST_P(SharedMemoryChaos, AWholeFamilyKilledOneByOneLeavesNoName) {
  for (int i = 0; i < 50 / kScale && !HasFailure(); ++i) {
    std::string spared = i % 2 == 0 ? "cohort-server" : "cohort-standby";
    Program program("shared_memory_chaos", {"random", name(""), way()});
    ASSERT_TRUE(in_full_swing(program));
    test::random_pause(random_, 10ms);
    auto family = children_of(program.pid());
    family.push_back(program.pid());
    std::ranges::shuffle(family, random_);
    // Before any is killed: the standby takes the server's name when it takes over.
    std::erase_if(family, [&](pid_t pid) { return is_called(spared, pid); });
    for (pid_t pid : family) test::send(pid, SIGKILL);
    expect_no_names(program);
  }
}

TEST_P(SharedMemoryChaos, AServerThatIsKilledFirstLeavesTheNamesToItsStandby) {
  for (int i = 0; i < 40 / kScale && !HasFailure(); ++i) {
    Program program("shared_memory_chaos", {"random", name(""), way()});
    ASSERT_TRUE(in_full_swing(program));
    auto servers = children_of(program.pid());
    std::erase_if(servers, [&](pid_t pid) { return !is_called("cohort-server", pid); });
    for (pid_t pid : servers) test::send(pid, SIGKILL);
    test::random_pause(random_, 5ms);
    program.send(SIGKILL);
    expect_no_names(program);
  }
}

TEST_P(SharedMemoryChaos, ACreatorKilledAtAnyStepLeavesNoName) {
  for (const char* step :
       {"heap.small_taken", "shared_block.filled", "shared_block.made", "names.noted",
        "names.linked", "names.unlinked", "names.taken_back", "heap.small_given_back"}) {
    Program program("shared_memory_chaos", {step, name(""), way()});
    expect_no_names(program);
    EXPECT_EQ(program.wait(soon()), -SIGKILL) << step;
  }
}

}  // namespace
