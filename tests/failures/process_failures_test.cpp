// Bad input and a system that refuses: each a clear error that names the cause and the way out.
#include <string>
#include <vector>

#include "processes.hpp"

namespace {

using namespace test;

class ProcessFailures : public EachMethod {
 protected:
  static std::string method() { return std::string(cohort::to_string(GetParam())); }
};
INSTANTIATE_TEST_SUITE_P(Methods, ProcessFailures, every_method(), method_name);

void expect_text(const Outcome& outcome, const std::vector<std::string>& texts) {
  for (const auto& text : texts) EXPECT_NE(outcome.out.find(text), std::string::npos) << text;
  EXPECT_EQ(outcome.out.find("a child is left"), std::string::npos);
  EXPECT_EQ(outcome.out.find("seems to be started"), std::string::npos);
  EXPECT_EQ(outcome.out.find("the target has run"), std::string::npos);
}

// The start throws this, and nothing has been started.
void expect_refused(const std::string& scenario, const std::string& method,
                    const std::vector<std::string>& texts) {
  auto outcome = run_program("refused", {scenario, method});
  SCOPED_TRACE(testing::Message() << scenario << ": " << outcome);
  EXPECT_EQ(outcome.code, 3);
  EXPECT_EQ(outcome.err, "");
  expect_text(outcome, texts);
}

void expect_works(const std::string& scenario, const std::string& method) {
  auto outcome = run_program("refused", {scenario, method});
  EXPECT_EQ(outcome.code, 0) << scenario << ": " << outcome;
  EXPECT_EQ(outcome.err, "") << scenario;
}

TEST_P(ProcessFailures, TooManyProcessesIsEagain) {
  expect_refused(
      "processes", method(),
      {"system_error: ", "too many processes", "ulimit -u", "Resource temporarily unavailable"});
}

// Not by spawn: the table is the same, and a thousand spawns take long.
TEST_F(ProcessFailures, AFullMemberTableSaysHowManyItHolds) {
  for (const char* method : {"fork", "forkserver"})
    expect_refused("members", method, {"too many processes", "1024", "join some"});
}

TEST_P(ProcessFailures, NoDescriptorsLeftIsEmfile) {
  expect_refused("descriptors", method(), {"system_error: ", "Too many open files", "ulimit -n"});
  expect_refused("descriptors-connected", method(),
                 {"system_error: ", "Too many open files", "ulimit -n"});
}

TEST_P(ProcessFailures, ADeniedClone3NamesTheSeccompFilterOrIsDoneWithout) {
  for (const char* scenario : {"clone3-enosys", "clone3-eperm"}) {
    if (GetParam() == StartMethod::fork) {
      expect_works(scenario, method());
    } else {
      expect_refused(scenario, method(),
                     {"system_error: clone3", "seccomp", "choose StartMethod::fork"});
    }
  }
}

TEST_F(ProcessFailures, ADeniedClone3AtInitSaysHowToDoWithout) {
  for (const char* scenario : {"clone3-enosys-before", "clone3-eperm-before"}) {
    auto outcome = run_program("refused", {scenario, "fork"});
    EXPECT_EQ(outcome.code, 4) << outcome;
    expect_text(outcome, {"main: clone3", "cohort::init", "seccomp", "StartMethod::fork"});
  }
  expect_works("clone3-enosys-noinit", "fork");
}

TEST_F(ProcessFailures, ADeniedMemfdNamesTheCall) {
  for (const char* scenario : {"memfd-before", "memfd-noinit"}) {
    auto outcome = run_program("refused", {scenario, "fork"});
    EXPECT_EQ(outcome.code, 4) << outcome;
    expect_text(outcome, {"memfd_create", "seccomp", "Operation not permitted"});
  }
}

TEST_P(ProcessFailures, AnArenaThatRanOutSaysHowToGetALargerOne) {
  if (GetParam() == StartMethod::fork) {
    expect_works("small-arena", method());  // copies nothing
  } else {
    expect_refused("small-arena", method(), {"arena is exhausted", ".arena_bytes"});
  }
}

// A sanitizer's own memory takes terabytes of address space: no limit can be set beside it.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_P(ProcessFailures, ALimitOnAddressSpaceGivesASmallerArena) {
  expect_works("address-space", method());
  expect_works("little-address-space", method());
}

TEST_F(ProcessFailures, TooLittleAddressSpaceSaysWhichLimitToRaise) {
  auto outcome = run_program("refused", {"no-address-space", "fork"});
  EXPECT_EQ(outcome.code, 4) << outcome;
  expect_text(outcome, {"cannot reserve even 4 MiB of address space", "ulimit -v"});
}
#endif

TEST_P(ProcessFailures, ALimitOnFileSizesGivesASmallerArena) {
  expect_works("file-size", method());
}

TEST_F(ProcessFailures, TooSmallAFileSizeSaysWhichLimitToRaise) {
  auto outcome = run_program("refused", {"no-file-size", "fork"});
  EXPECT_EQ(outcome.code, 4) << outcome;
  expect_text(outcome, {"ulimit -f"});
}

TEST_F(ProcessFailures, AProgramThatForgotInitIsToldTheLineToAdd) {
  for (const char* what : {"forkserver", "spawn", "preload"}) {
    auto outcome = run_program("no_init", {what});
    EXPECT_EQ(outcome.code, 3) << outcome;
    expect_text(outcome, {"NotInitialized: ", "cohort::init(argc, argv);", "first line of main"});
  }
  auto outcome = run_program("no_init", {"async"});
  EXPECT_EQ(outcome.code, 0) << outcome;
  EXPECT_EQ(outcome.out, "144\n");
}

TEST_P(ProcessFailures, MisuseOfAProcessNamesIt) {
  Process process(with({.name = "misused"}), [] {});
  auto message = [&](auto call) {
    try {
      call();
      return std::string("nothing was thrown");
    } catch (const cohort::InvalidStateError& error) {
      return std::string(error.what());
    }
  };
  EXPECT_EQ(message([&] { process.join(); }), "process misused was not started");
  process.start();
  EXPECT_EQ(message([&] { process.start(); }), "process misused was started already");
  process.join();
  process.close();
  EXPECT_EQ(message([&] { process.start(); }), "this Process is closed");
}

// ---- files that change under the program

TEST_F(ProcessFailures, ALibraryReplacedOnDiskIsFoundOutByASpawn) {
  Folder folder;
  std::filesystem::copy(library_path("answer_one"), folder / "libanswer.so");
  auto outcome = run_program("replaced_library", {(folder / "libanswer.so").string(),
                                                  library_path("answer_two").string(), "spawn"});
  EXPECT_EQ(outcome.code, 3) << outcome;
  EXPECT_EQ(outcome.err, "");
  expect_text(outcome, {(folder / "libanswer.so").string(), "was replaced by another build",
                        "start the program again"});
}

TEST_F(ProcessFailures, ALibraryReplacedOnDiskDoesNotMatterToAFork) {
  Folder folder;
  std::filesystem::copy(library_path("answer_one"), folder / "libanswer.so");
  auto outcome = run_program("replaced_library", {(folder / "libanswer.so").string(),
                                                  library_path("answer_two").string(), "fork"});
  EXPECT_EQ(outcome.code, 0) << outcome;
  EXPECT_EQ(outcome.out, "105\n");
}

TEST_F(ProcessFailures, ALibraryThatIsGoneIsNamed) {
  Folder folder;
  std::filesystem::copy(library_path("answer_one"), folder / "libanswer.so");
  auto outcome = run_program("replaced_library", {(folder / "libanswer.so").string(), "", "spawn"});
  EXPECT_EQ(outcome.code, 3) << outcome;
  expect_text(outcome, {(folder / "libanswer.so").string(), "could not be loaded"});
}

TEST_P(ProcessFailures, AProgramWhoseFileIsReplacedOrGoneGoesOn) {
  for (const char* how : {"unlink", "replace"}) {
    Folder folder;
    std::filesystem::copy(program_path("replaced_program"), folder / "program");
    auto outcome = run_file(folder / "program", {how, method()});
    EXPECT_EQ(outcome.code, 0) << how << ": " << outcome;
    EXPECT_EQ(outcome.err, "") << how;
  }
}

}  // namespace
