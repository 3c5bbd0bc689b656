#include "schedule/crash_report.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <link.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "os/call.hpp"
#include "os/pidfd.hpp"
#include "processes.hpp"

namespace {

using namespace cohort::schedule;
using cohort::Process;
using test::Shared;
using test::soon;

// ---- ways to crash, each in a function to be found in the report

int* volatile bad_place = reinterpret_cast<int*>(0x10);
int volatile zero = 0;
int volatile seven = 7;  // the compiler need not divide a constant
void (*volatile nowhere)() = nullptr;

[[gnu::noinline]] void crash_here() {
  *bad_place = 1;
  asm volatile("" ::: "memory");  // no tail call, here and below
}
[[gnu::noinline]] void crash_by_division() {
  zero = seven / zero;
  asm volatile("" ::: "memory");
}
[[gnu::noinline]] void crash_by_abort() { std::abort(); }
[[gnu::noinline]] void crash_by_calling_nowhere() {
  nowhere();
  asm volatile("" ::: "memory");
}
[[gnu::noinline]] void crash_by_breakpoint() {
  asm volatile("int3" ::: "memory");
  asm volatile("nop" ::: "memory");
}
[[gnu::noinline]] void crash_by_illegal_instruction() { asm volatile("ud2" ::: "memory"); }
// Loses its stack: nothing above can be found, and looking for it faults as well.
[[gnu::noinline]] void crash_without_stack() {
  asm volatile(
      "mov $0x1000, %%rbp\n"
      "mov $0x1000, %%rsp\n"
      "push %%rax\n" ::
          : "memory");
}
[[gnu::noinline]] int crash_by_recursion(int depth) {
  volatile char filler[512];
  filler[depth % 512] = static_cast<char>(depth);
  if (zero != 0) return depth;
  return crash_by_recursion(depth + 1) + filler[depth % 512];
}
[[gnu::noinline]] int crash_by_large_frame() {
  volatile char filler[32 << 20];
  for (std::size_t i = 0; i < sizeof filler; i += 4096) filler[i] = 1;
  return filler[zero];
}

// ---- workers

class CrashReports : public test::Watched {
 protected:
  void SetUp() override {
    Watched::SetUp();
    if (test::kSanitized) GTEST_SKIP() << "the sanitizer reports crashes by itself";
  }

  // The end of a forked child that runs `body`: its exit code, or minus its signal.
  int end_of(const std::function<void()>& body) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      const rlimit none{0, 0};
      ::setrlimit(RLIMIT_CORE, &none);
      body();
      ::_exit(0);
    }
    if (pid < 0) cohort::os::fail("fork", errno);
    auto process = cohort::os::Pidfd::open(pid);
    if (!cohort::os::wait_readable(process.get(), soon())) process.send(SIGKILL);
    return process.reap().value_or(99);
  }

  // As end_of, for a worker that catches crashes.
  int end_of_worker(const std::function<void()>& body) {
    return end_of([&] {
      catch_crashes(*report_);
      body();
    });
  }

  std::string description() const { return describe(*report_); }
  std::vector<std::string> lines() const {
    std::istringstream text(description());
    std::vector<std::string> all;
    for (std::string line; std::getline(text, line);) all.push_back(line);
    return all;
  }
  // The headline and the innermost frame of the report.
  void expect_top(const std::string& headline, const std::string& function) const {
    ASSERT_GE(lines().size(), 2U) << description();
    EXPECT_EQ(lines()[0], headline);
    EXPECT_NE(lines()[1].find(function), std::string::npos) << description();
  }
  void expect_frame(const std::string& function) const {
    EXPECT_NE(description().find(function), std::string::npos) << description();
  }

  Shared<CrashReport> report_;
};

TEST_F(CrashReports, AWorkerThatDoesNotCrashLeavesNone) {
  EXPECT_EQ(end_of_worker([] {}), 0);
  EXPECT_EQ(description(), "");
  EXPECT_EQ(end_of_worker([] { ::raise(SIGKILL); }), -SIGKILL);
  EXPECT_EQ(description(), "");
}

TEST_F(CrashReports, AWriteToNowhereTellsAddressAndStack) {
  EXPECT_EQ(end_of_worker(crash_here), -SIGSEGV);
  expect_top("SIGSEGV at address 0x10", "crash_here()");
  expect_frame("TestBody()");
}

TEST_F(CrashReports, TheHandlersFramesAreLeftOut) {
  EXPECT_EQ(end_of_worker(crash_here), -SIGSEGV);
  EXPECT_EQ(description().find("on_crash"), std::string::npos) << description();
  EXPECT_EQ(description().find("Unwind"), std::string::npos) << description();
}

TEST_F(CrashReports, AStackOverflowIsCalledSo) {
  EXPECT_EQ(end_of_worker([] { crash_by_recursion(0); }), -SIGSEGV);
  expect_top("SIGSEGV: stack overflow", "crash_by_recursion(");
  EXPECT_EQ(report_->frames.load(), CrashReport::kMostFrames);
}

TEST_F(CrashReports, AFrameLargerThanTheStackIsAnOverflow) {
  EXPECT_EQ(end_of_worker([] { zero = crash_by_large_frame(); }), -SIGSEGV);
  expect_top("SIGSEGV: stack overflow", "crash_by_large_frame()");
}

TEST_F(CrashReports, AStackOverflowOfAWorkerForkedFromAThreadIsCalledSo) {
  int end = 0;
  std::thread([&] { end = end_of_worker([] { crash_by_recursion(0); }); }).join();
  EXPECT_EQ(end, -SIGSEGV);
  expect_top("SIGSEGV: stack overflow", "crash_by_recursion(");
}

TEST_F(CrashReports, AnAbortTellsWhoCalledIt) {
  EXPECT_EQ(end_of_worker(crash_by_abort), -SIGABRT);
  EXPECT_EQ(lines().at(0), "SIGABRT");
  expect_frame("crash_by_abort()");
}

TEST_F(CrashReports, AnIntegerDivisionByZeroIsCalledSo) {
  EXPECT_EQ(end_of_worker(crash_by_division), -SIGFPE);
  expect_top("SIGFPE: integer division by zero", "crash_by_division()");
}

TEST_F(CrashReports, ABreakpointAndAnIllegalInstructionStillEndTheProcess) {
  EXPECT_EQ(end_of_worker(crash_by_breakpoint), -SIGTRAP);
  expect_top("SIGTRAP", "crash_by_breakpoint()");
  EXPECT_EQ(end_of_worker(crash_by_illegal_instruction), -SIGILL);
  expect_top("SIGILL", "crash_by_illegal_instruction()");
}

TEST_F(CrashReports, ACallOfANullFunctionTellsTheCaller) {
  EXPECT_EQ(end_of_worker(crash_by_calling_nowhere), -SIGSEGV);
  EXPECT_EQ(lines().at(0), "SIGSEGV at address 0x0");
  EXPECT_NE(lines().at(2).find("crash_by_calling_nowhere()"), std::string::npos) << description();
  expect_frame("TestBody()");
}

TEST_F(CrashReports, EverySignalOfACrashIsReportedAndEndsTheProcess) {
  const std::vector<std::pair<int, std::string>> all = {
      {SIGSEGV, "SIGSEGV"}, {SIGBUS, "SIGBUS"}, {SIGFPE, "SIGFPE"},  {SIGILL, "SIGILL"},
      {SIGTRAP, "SIGTRAP"}, {SIGSYS, "SIGSYS"}, {SIGABRT, "SIGABRT"}};
  for (const auto& [number, name] : all) {
    clear(*report_);
    EXPECT_EQ(end_of_worker([n = number] { ::raise(n); }), -number) << name;
    EXPECT_EQ(lines().at(0), name);
    EXPECT_EQ(report_->signal.load(), number);
  }
}

TEST_F(CrashReports, ACrashOfASecondThreadIsReported) {
  EXPECT_EQ(end_of_worker([] { std::thread(crash_here).join(); }), -SIGSEGV);
  expect_top("SIGSEGV at address 0x10", "crash_here()");
}

TEST_F(CrashReports, ManyThreadsThatCrashTogetherEndTheProcess) {
  EXPECT_EQ(end_of_worker([] {
              std::vector<std::thread> threads;
              for (int i = 0; i < 8; ++i) threads.emplace_back(crash_here);
              for (auto& thread : threads) thread.join();
            }),
            -SIGSEGV);
  expect_top("SIGSEGV at address 0x10", "crash_here()");
}

void exit_as_expected(int, siginfo_t* info, void*) {
  ::_exit(info->si_addr == reinterpret_cast<void*>(0x10) ? 7 : 8);
}
void exit_as_without_stack(int, siginfo_t* info, void*) {
  ::_exit(info->si_addr == reinterpret_cast<void*>(0xff8) ? 7 : 8);
}
void exit_as_nowhere(int, siginfo_t*, void* context) {
  ::_exit(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP] == 0 ? 7 : 8);
}
void handle_segv(void (*handler)(int, siginfo_t*, void*)) {
  struct sigaction action {};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  ::sigaction(SIGSEGV, &action, nullptr);
}

TEST_F(CrashReports, AHandlerFromBeforeIsToldTheSameFault) {
  EXPECT_EQ(end_of([&] {
              handle_segv(exit_as_expected);
              catch_crashes(*report_);
              crash_here();
            }),
            7);
  expect_top("SIGSEGV at address 0x10", "crash_here()");
}

TEST_F(CrashReports, AHandlerFromBeforeIsToldTheSamePlace) {
  EXPECT_EQ(end_of([&] {
              handle_segv(exit_as_nowhere);
              catch_crashes(*report_);
              crash_by_calling_nowhere();
            }),
            7);
  expect_frame("crash_by_calling_nowhere()");
}

TEST_F(CrashReports, AStackThatCannotBeWalkedLeavesThePlaceAndTheSignal) {
  EXPECT_EQ(end_of([&] {
              handle_segv(exit_as_without_stack);
              catch_crashes(*report_);
              crash_without_stack();
            }),
            7);
  expect_top("SIGSEGV at address 0xff8", "crash_without_stack()");
}

TEST_F(CrashReports, AnIgnoredSignalStaysIgnored) {
  EXPECT_EQ(end_of([&] {
              ::signal(SIGFPE, SIG_IGN);
              catch_crashes(*report_);
              ::raise(SIGFPE);
            }),
            0);
  EXPECT_EQ(description(), "");
}

TEST_F(CrashReports, WhatAWorkerForksDoesNotReportInItsName) {
  int inner = 0;
  EXPECT_EQ(end_of_worker([&] {
              inner = end_of(crash_here);
              ::_exit(inner == -SIGSEGV ? 7 : 8);
            }),
            7);
  EXPECT_EQ(description(), "");
}

TEST_F(CrashReports, TheLaterReportCounts) {
  Shared<CrashReport> later;
  EXPECT_EQ(end_of_worker([&] {
              catch_crashes(*later);
              crash_here();
            }),
            -SIGSEGV);
  EXPECT_EQ(description(), "");
  EXPECT_NE(describe(*later).find("crash_here()"), std::string::npos);
}

TEST_F(CrashReports, AreEmptyOnceCleared) {
  EXPECT_EQ(end_of_worker(crash_here), -SIGSEGV);
  EXPECT_NE(description(), "");
  clear(*report_);
  EXPECT_EQ(description(), "");
  EXPECT_EQ(end_of_worker(crash_by_abort), -SIGABRT);
  EXPECT_EQ(lines().at(0), "SIGABRT");
}

TEST_F(CrashReports, OfADamagedCellAreReadable) {
  report_->frames.store(0xFFFFFFFF);
  report_->signal.store(1234);
  EXPECT_EQ(lines().at(0), "signal 1234");
  EXPECT_EQ(lines().size(), 1 + CrashReport::kMostFrames);
}

TEST_F(CrashReports, AProgramLoadedElsewhereIsNamedAndTheRestByAddress) {
  EXPECT_EQ(end_of_worker(crash_by_abort), -SIGABRT);
  const std::vector<std::string> before = lines();
  const std::uint64_t base = report_->main_base.load();
  constexpr std::uint64_t kShift = 0x10'0000'0000;
  std::vector<bool> in_program;
  for (std::size_t i = 0; i < report_->frames.load(); ++i) {
    std::uint64_t& address = report_->addresses[i];
    Dl_info info{};
    link_map* map = nullptr;
    const bool found = ::dladdr1(reinterpret_cast<void*>(address), &info,
                                 reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP) != 0;
    in_program.push_back(found && map->l_addr == base);
    if (in_program.back()) address += kShift;
  }
  report_->main_base.store(base + kShift);
  const std::vector<std::string> after = lines();
  ASSERT_LE(after.size(), in_program.size() + 1);
  ASSERT_EQ(after.size(), before.size());
  bool named = false;
  bool unnamed = false;
  for (std::size_t i = 1; i < after.size(); ++i) {
    if (in_program[i - 1]) {
      EXPECT_EQ(after[i], before[i]);
    } else {
      EXPECT_TRUE(after[i].starts_with("? (?+0x")) << after[i];
    }
    named = named || in_program[i - 1];
    unnamed = unnamed || !in_program[i - 1];
  }
  EXPECT_TRUE(named);
  EXPECT_TRUE(unnamed);  // abort() itself
  expect_frame("crash_by_abort()");
}

TEST_F(CrashReports, LibrariesLoadedElsewhereAreLeftUnnamedThoughTheProgramIsNot) {
  EXPECT_EQ(end_of_worker(crash_by_abort), -SIGABRT);
  const std::string before = description();
  EXPECT_NE(before.find("(libc.so"), std::string::npos) << before;
  report_->linker_base.fetch_add(4096);
  EXPECT_EQ(description().find("(libc.so"), std::string::npos) << description();
  expect_frame("crash_by_abort()");
}

class SanitizedCrash : public CrashReports {
 protected:
  void SetUp() override {
    Watched::SetUp();
    if (!test::kSanitized) GTEST_SKIP() << "for programs under a sanitizer";
  }
};

TEST_F(SanitizedCrash, IsLeftToTheSanitizer) {
  EXPECT_NE(end_of_worker(crash_here), 0);
  EXPECT_EQ(description(), "");
}

// ---- under each start method

class CrashReportsOf : public test::EachMethod {
 protected:
  void SetUp() override {
    EachMethod::SetUp();
    if (test::kSanitized) GTEST_SKIP() << "the sanitizer reports crashes by itself";
  }
};

CrashReport& map_report(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0 || ::ftruncate(file, sizeof(CrashReport)) != 0) cohort::os::fail("open", errno);
  void* place = ::mmap(nullptr, sizeof(CrashReport), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  ::close(file);
  if (place == MAP_FAILED) cohort::os::fail("mmap", errno);
  return *static_cast<CrashReport*>(place);
}

[[gnu::noinline]] void crash_as_worker(const std::string& path) {
  catch_crashes(map_report(path));
  crash_here();
  asm volatile("" ::: "memory");  // no tail call
}

TEST_P(CrashReportsOf, NameTheProgramsFunctionsInTheOwner) {
  test::Folder folder;
  const std::string path = folder / "report";
  const CrashReport& report = map_report(path);
  Process worker(with(), crash_as_worker, path);
  worker.start();
  worker.join();
  EXPECT_EQ(worker.exitcode(), -SIGSEGV);
  const std::string text = describe(report);
  EXPECT_TRUE(text.starts_with("SIGSEGV at address 0x10\n")) << text;
  EXPECT_NE(text.find("crash_here()"), std::string::npos) << text;
  EXPECT_NE(text.find("crash_as_worker("), std::string::npos) << text;
  EXPECT_EQ(text.find("run_traced("), std::string::npos) << text;  // from there on: the library's
}

INSTANTIATE_TEST_SUITE_P(StartMethods, CrashReportsOf, test::every_method(), test::method_name);

}  // namespace
