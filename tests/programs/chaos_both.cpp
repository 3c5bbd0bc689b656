// chaos_both WAY: kills server and standby for good, at once or by a step that only the last of
// them comes to; says what went wrong, and ends with 0 if nothing did.
#include <sched.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

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

void wait_and_exit(Cells cells, int code) {
  cells[1].fetch_add(1);
  while (cells[0].load() == 0) Space::here().sleep_on(cells[0], 0, std::nullopt);
  std::exit(code);
}

void sleep_in_the_family(Cells cells) {
  cells[2].store(static_cast<std::uint32_t>(::getpid()));
  for (;;) Space::here().sleep_on(cells[3], 0, std::nullopt);
}

std::string error_of_a_start(StartMethod method, Cells cells) {
  try {
    Process process({.start_method = method}, wait_and_exit, cells, 1);
    process.start();
  } catch (const cohort::Error& error) {
    return error.what();
  }
  return "";
}

// Its children are made by the server; they end when nobody is left to relay how.
void ask_and_join(Cells cells) {
  Process exits({.start_method = StartMethod::forkserver}, wait_and_exit, cells, 21);
  Process spawned({.start_method = StartMethod::spawn}, wait_and_exit, cells, 22);
  Process killed({.start_method = StartMethod::forkserver}, wait_and_exit, cells, 23);
  Process daemon({.daemon = true, .start_method = StartMethod::forkserver}, sleep_in_the_family,
                 cells);
  exits.start();
  spawned.start();
  killed.start();
  daemon.start();
  cells[1].fetch_add(1);
  while (cells[0].load() == 0) Space::here().sleep_on(cells[0], 0, std::nullopt);
  killed.kill();
  exits.join();
  spawned.join();
  killed.join();
  bool refused =
      error_of_a_start(StartMethod::forkserver, cells).find("both gone") != std::string::npos;
  bool right = refused && exits.exitcode() == 21 && spawned.exitcode() == 22 &&
               (killed.exitcode() == -SIGKILL || killed.exitcode() == 23);
  if (!right)
    std::printf("nested: refused %d, %d %d %d\n", refused, *exits.exitcode(), *spawned.exitcode(),
                *killed.exitcode());
  std::fflush(stdout);
  if (!right) std::exit(1);
  ::raise(SIGKILL);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  bool at_once = std::strcmp(argv[1], "at_once") == 0;
  auto& kill_at = test::KillAt::set_up(argv[1]);
  cohort::init(argc, argv);
  expect(eventually([] { return test::standby_pid().has_value(); }), "no standby");
  auto server = cohort::fork_server_pid();
  auto standby = test::standby_pid();
  Cells cells(4);
  Process exits({.start_method = StartMethod::forkserver}, wait_and_exit, cells, 11);
  Process spawned({.start_method = StartMethod::spawn}, wait_and_exit, cells, 12);
  Process asker({.start_method = StartMethod::forkserver}, ask_and_join, cells);
  exits.start();
  spawned.start();
  asker.start();
  expect(eventually([&] { return cells[1].load() == 6 && cells[2].load() != 0; }),
         "the children do not begin");

  kill_at.armed.store(1);
  if (at_once) test::send(*standby, SIGSTOP);
  test::send(*server, SIGKILL);
  if (at_once) test::send(*standby, SIGKILL);
  expect(eventually([&] { return !test::janitor_pid(0) && !test::janitor_pid(1); }),
         "the servers live on");
  kill_at.armed.store(0);

  for (auto method : {StartMethod::forkserver, StartMethod::spawn}) {
    std::string error = error_of_a_start(method, cells);
    expect(error.find("both gone") != std::string::npos, "the error is: " + error);
  }
  Process forked({.start_method = StartMethod::fork}, wait_and_exit, cells, 13);
  forked.start();
  cells[0].store(1);
  expect(exits.join_for(15s) && exits.exitcode() == 11, "the child does not end well");
  expect(spawned.join_for(15s) && spawned.exitcode() == 12, "the spawned one does not end well");
  expect(forked.join_for(15s) && forked.exitcode() == 13, "the forked one does not end well");
  // The asker kills itself: its daemon sees that.
  auto daemon = cohort::os::Pidfd::open(static_cast<pid_t>(cells[2].load()));
  expect(asker.join_for(15s) && asker.exitcode() == -SIGKILL,
         "the asker ended with " + std::to_string(asker.exitcode().value_or(0)));
  expect(!daemon || cohort::os::wait_readable(daemon.get(), std::chrono::steady_clock::now() + 15s),
         "the daemon outlived its parent");
  return faults == 0 ? 0 : 1;
}
