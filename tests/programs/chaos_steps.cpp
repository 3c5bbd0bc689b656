// chaos_steps STEP TIMES: kills whoever of server, standby and children comes to the step, over and
// over, while processes are started and joined; says what went wrong, and ends with 0 if nothing
// did.
#include <sched.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "chaos.hpp"
#include "cohort/process.hpp"
#include "kill_at.hpp"

namespace {

using namespace std::chrono_literals;
using cohort::Process;
using cohort::StartMethod;
using cohort::arena::Space;
using test::Cells;

int faults = 0;
void expect(bool right, const std::string& what) {
  if (right) return;
  ++faults;
  std::printf("%s\n", what.c_str());
  std::fflush(stdout);
}

template <class Condition>
bool eventually(Condition&& condition) {
  auto deadline = std::chrono::steady_clock::now() + 15s;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    ::sched_yield();
  }
  return true;
}

void count(Cells runs, std::size_t index) {
  runs[index].fetch_add(1);
  std::exit(static_cast<int>(index % 50) + 1);
}

// Starts and joins `number` children, counted from `first`; answers how many ended wrongly.
std::string start_some(Cells runs, std::size_t first, std::size_t number, bool deadly) {
  std::vector<Process> children;
  for (std::size_t i = first; i < first + number; ++i) {
    StartMethod method = i % 5 == 0 ? StartMethod::spawn : StartMethod::forkserver;
    children.emplace_back(cohort::ProcessOptions{.start_method = method}, count, runs, i);
    try {
      children.back().start();
    } catch (const std::exception& error) {
      bool expected = deadly && method == StartMethod::spawn;  // killed before it could run
      if (!expected) return std::string("start: ") + error.what();
      children.pop_back();
    }
  }
  std::string wrong;
  for (auto& child : children) {
    if (!child.join_for(15s)) return "join: does not end";
    int code = *child.exitcode();
    // The name ends with its number, which is the order of starting.
    if (code == -SIGKILL && deadly) continue;
    if (code < 1 || code > 50) wrong = "a child ended with " + std::to_string(code);
  }
  for (std::size_t i = first; i < first + number; ++i) {
    auto ran = runs[i].load();
    if (ran > 1 || (ran == 0 && !deadly))
      wrong = "child " + std::to_string(i) + " ran " + std::to_string(ran) + " times";
  }
  return wrong;
}

void ask_from_a_child(Cells runs, std::size_t first, bool deadly) {
  std::string wrong = start_some(runs, first, 5, deadly);
  if (!wrong.empty()) std::printf("nested: %s\n", wrong.c_str());
  std::fflush(stdout);
  std::exit(wrong.empty() ? 0 : 3);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  auto& kill_at = test::KillAt::set_up(argv[1]);
  cohort::init(argc, argv);
  bool deadly = std::string_view(argv[1]).starts_with("child.");
  int times = std::atoi(argv[2]);
  Space& space = Space::here();
  expect(eventually([] { return test::standby_pid().has_value(); }), "no standby");
  std::size_t slots = test::slots_in_use();
  std::size_t blocks = space.heap().blocks_held();
  {
    Cells runs(static_cast<std::size_t>(times) * 10);
    for (int round = 0; round < times && faults == 0; ++round) {
      auto first = static_cast<std::size_t>(round) * 10;
      expect(eventually([] { return test::standby_pid().has_value(); }), "no new standby");
      kill_at.killed.store(0);
      kill_at.armed.store(round % 3 + 1 > 2 && !deadly ? 1 : round % 3 + 1);
      if (!deadly) kill_at.armed.store(1);
      Process asker({.start_method = StartMethod::forkserver}, ask_from_a_child, runs, first + 5,
                    deadly);
      try {
        asker.start();
      } catch (const std::exception& error) {
        expect(false, std::string("asker: ") + error.what());
      }
      // A standby that must be made anew, for the steps of that.
      if (std::string_view(argv[1]) == "server.made_standby") {
        if (auto standby = test::standby_pid()) test::send(*standby, SIGKILL);
      }
      std::string wrong = start_some(runs, first, 5, deadly);
      expect(wrong.empty(), wrong);
      expect(asker.join_for(15s), "the asker does not end");
      int code = asker.exitcode().value_or(99);
      expect(code == 0 || (deadly && code == -SIGKILL),
             "the asker ended with " + std::to_string(code));
      expect(eventually([&] { return kill_at.killed.load() > 0; }), "the step was not come to");
      kill_at.armed.store(0);
    }
  }
  auto settled = [&] {
    cohort::active_children();
    return test::slots_in_use() == slots && space.heap().blocks_held() == blocks;
  };
  expect(eventually(settled), "left: " + std::to_string(test::slots_in_use()) + " slots of " +
                                  std::to_string(slots) + ", " +
                                  std::to_string(space.heap().blocks_held()) + " blocks of " +
                                  std::to_string(blocks));
  auto zombies = [] {
    auto server = cohort::fork_server_pid();
    return test::zombies_of(::getpid()) + (server ? test::zombies_of(*server) : 0);
  };
  expect(eventually([&] { return zombies() == 0; }), "zombies are left");
  return faults == 0 ? 0 : 1;
}
