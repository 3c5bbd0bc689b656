// The behaviours of a process's end: exit codes, signals, uncaught exceptions.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "processes.hpp"

namespace {

using namespace test;

class ProcessExit : public EachMethod {};
INSTANTIATE_TEST_SUITE_P(Methods, ProcessExit, every_method(), method_name);

void say_and_wait(Channel& running) {
  running.send(1);
  for (;;) ::pause();
}

// A child that certainly runs its target.
Process running_child(const cohort::ProcessOptions& options) {
  auto running = Channel::make();
  Process child(options, say_and_wait, running);
  child.start();
  running.receive<int>();
  return child;
}

bool is_active(pid_t pid) {
  for (const auto& child : cohort::active_children()) {
    if (child.pid() == pid) return true;
  }
  return false;
}

// behaviour: Process/exitcode-of-terminate, Process/gone-after-signal
TEST_P(ProcessExit, ATerminatedChildHasMinusSigtermAndIsGone) {
  Process child = running_child(with());
  child.terminate();
  child.join();
  EXPECT_EQ(child.exitcode(), -SIGTERM);
  EXPECT_FALSE(child.is_alive());
  EXPECT_FALSE(is_active(child.pid()));
}

// behaviour: Process/exitcode-of-kill
TEST_P(ProcessExit, AKilledChildHasMinusSigkill) {
  Process child = running_child(with());
  child.kill();
  child.join();
  EXPECT_EQ(child.exitcode(), -SIGKILL);
  EXPECT_FALSE(child.is_alive());
  EXPECT_FALSE(is_active(child.pid()));
}

// behaviour: Process/interrupt-default-disposition
TEST_P(ProcessExit, AnInterruptedChildHasMinusSigint) {
  Process child = running_child(with());
  child.interrupt();
  child.join();
  EXPECT_EQ(child.exitcode(), -SIGINT);
}

TEST_P(ProcessExit, ASignalBetweenTheEndAndTheJoinDoesNothing) {
  Process child(with(), [] {});
  child.start();
  ASSERT_TRUE(ends(child));
  child.terminate();
  child.kill();
  child.interrupt();
  child.join();
  child.terminate();
  EXPECT_EQ(child.exitcode(), 0);
}

TEST_P(ProcessExit, AStoppedChildIsAliveUntilItIsKilled) {
  Process child = running_child(with());
  ::kill(child.pid(), SIGSTOP);
  EXPECT_TRUE(child.is_alive());
  EXPECT_FALSE(child.join_for(5ms));
  child.kill();
  child.join();
  EXPECT_EQ(child.exitcode(), -SIGKILL);
}

// behaviour: Process/uncaught-exception-reported
TEST_P(ProcessExit, AnUncaughtExceptionIsReportedOnABufferedStderrToo) {
  Folder folder;
  Process child(
      with({.name = "the failing one"}),
      [](const std::string& path) {
        if (!std::freopen(path.c_str(), "w", stderr)) std::exit(9);
        std::setvbuf(stderr, nullptr, _IOFBF, 1 << 16);
        std::fputs("earlier output\n", stderr);
        throw std::out_of_range("the number is too large");
      },
      (folder / "stderr").string());
  child.start();
  child.join();
  EXPECT_EQ(child.exitcode(), 1);
  std::string text = content_of(folder / "stderr");
  EXPECT_TRUE(text.starts_with("earlier output\n")) << text;
  EXPECT_NE(text.find("Process the failing one:\n"), std::string::npos) << text;
  EXPECT_NE(text.find("std::out_of_range: the number is too large\n"), std::string::npos) << text;
}

TEST_P(ProcessExit, WhatIsNoStdExceptionIsReportedByItsType) {
  Folder folder;
  Process child(
      with(),
      [](const std::string& path) {
        if (!std::freopen(path.c_str(), "w", stderr)) std::exit(9);
        throw 42;
      },
      (folder / "stderr").string());
  child.start();
  child.join();
  EXPECT_EQ(child.exitcode(), 1);
  EXPECT_NE(content_of(folder / "stderr").find("int"), std::string::npos);
}

// behaviour: Process/exit-with-integer
TEST_P(ProcessExit, ARequestedStatusBecomesTheExitCode) {
  for (int status : {0, 1, 8, 255}) {
    Process child(
        with(), [](int s) { std::exit(s); }, status);
    child.start();
    child.join();
    EXPECT_EQ(child.exitcode(), status);
  }
  for (bool status : {true, false}) {
    Process child(
        with(), [](bool s) { std::exit(s); }, status);
    child.start();
    child.join();
    EXPECT_EQ(child.exitcode(), status ? 1 : 0);
  }
}

TEST_P(ProcessExit, AnExitPastTheLibraryKeepsItsCode) {
  for (bool quick : {true, false}) {
    Process child(
        with(),
        [](bool q) {
          if (q) std::quick_exit(17);
          ::_exit(17);
        },
        quick);
    child.start();
    child.join();
    EXPECT_EQ(child.exitcode(), 17);
  }
}

// behaviour: Process/exit-without-status
TEST_P(ProcessExit, LeavingWithoutAStatusIsCodeZero) {
  Process returns(with(), [] { return; });
  Process returns_something(with(), [] { return 7; });
  Process exits(with(), [] { std::exit(EXIT_SUCCESS); });
  for (Process* child : {&returns, &returns_something, &exits}) {
    child->start();
    child->join();
    EXPECT_EQ(child->exitcode(), 0);
  }
}

// behaviour: Process/exit-with-message
TEST_P(ProcessExit, AnExceptionThatLeavesTheTargetIsItsMessageAndCodeOne) {
  auto outcome = run_program("leaves", {"throw", std::string(cohort::to_string(GetParam()))});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.err.find("std::runtime_error: the disk is on fire"), std::string::npos)
      << outcome;
  EXPECT_EQ(outcome.out, "");
}

}  // namespace
