// What is loaded once in the fork server.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cohort/async.hpp>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "processes.hpp"

namespace {

using namespace test;
using cohort::async;

class Preload : public Watched {};

// What the fork server has loaded.
std::vector<std::string> loaded;
int loader = 0;

void load(const std::string& what) {
  loaded.push_back(what);
  loader = ::getpid();
}

using Seen = std::pair<std::vector<std::string>, int>;
Seen seen() { return {loaded, loader}; }

bool contains(const std::vector<std::string>& all, const std::string& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

// Kills the fork server and waits until its standby serves.
void kill_server() {
  pid_t server = cohort::fork_server_pid().value();
  ::kill(server, SIGKILL);
  ASSERT_TRUE(eventually([&] {
    auto now = cohort::fork_server_pid();
    return now && *now != server;
  }));
}

TEST_F(Preload, ItRunsInTheForkServerAndEveryLaterChildHasIt) {
  cohort::preload(load, "once");
  for (int i = 0; i < 3; ++i) {
    auto [what, by] = async(seen).get();
    EXPECT_EQ(std::count(what.begin(), what.end(), "once"), 1);
    EXPECT_EQ(by, cohort::fork_server_pid());
  }
  EXPECT_FALSE(contains(loaded, "once"));
}

TEST_F(Preload, ChildrenOfChildrenHaveItToo) {
  cohort::preload(load, "for grandchildren");
  auto nested = [] { return async(seen).get(); };
  EXPECT_TRUE(contains(async(nested).get().first, "for grandchildren"));
}

TEST_F(Preload, ItsArgumentsMayBeHandles) {
  auto channel = Channel::make();
  cohort::preload([](const Channel& c) { c.send(static_cast<int>(::getpid())); }, channel);
  EXPECT_EQ(channel.receive<int>(), cohort::fork_server_pid());
}

TEST_F(Preload, WhatItThrowsComesHomeAndTheServerGoesOn) {
  pid_t server = cohort::fork_server_pid().value();
  try {
    cohort::preload([](int) { throw std::out_of_range("cannot load"); }, 1);
    FAIL();
  } catch (const std::out_of_range& error) {
    EXPECT_EQ(std::string(error.what()), "cannot load");
    const auto* origin = dynamic_cast<const cohort::RemoteInfo*>(&error);
    ASSERT_NE(origin, nullptr);
    EXPECT_EQ(origin->pid(), server);
  }
  EXPECT_EQ(async([](int x) { return x; }, 3).get(), 3);
  EXPECT_EQ(cohort::fork_server_pid(), server);
}

TEST_F(Preload, TheStandbyHasItAfterTheServerIsKilled) {
  cohort::preload(load, "survives");
  for (int i = 0; i < 3; ++i) {
    kill_server();
    EXPECT_TRUE(contains(async(seen).get().first, "survives")) << i;
  }
  cohort::preload(load, "loaded later");
  kill_server();
  auto what = async(seen).get().first;
  EXPECT_TRUE(contains(what, "survives"));
  EXPECT_TRUE(contains(what, "loaded later"));
}

TEST_F(Preload, ChildrenLiveOnWhenTheServerIsKilled) {
  auto gate = Channel::make();
  std::vector<Process> children;
  for (auto method : cohort::get_all_start_methods()) {
    children.emplace_back(
        cohort::ProcessOptions{.start_method = method},
        [](Channel& g) { std::exit(g.receive<int>()); }, gate);
    children.back().start();
  }
  kill_server();
  for (auto& child : children) EXPECT_TRUE(child.is_alive()) << child;
  for (std::size_t i = 0; i < children.size(); ++i) gate.send(6);
  for (auto& child : children) {
    child.join();
    EXPECT_EQ(child.exitcode(), 6) << child;
  }
}

}  // namespace
