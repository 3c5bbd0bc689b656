// Programs in Python, run beside the test.
#pragma once

#include <gtest/gtest.h>
#include <spawn.h>

#include <cstdlib>
#include <iostream>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "hex.hpp"
#include "member.hpp"
#include "os/fd.hpp"
#include "os/pidfd.hpp"

namespace test {

// Another interpreter than the PATH's python3 may be chosen by this variable.
inline std::string python() {
  const char* chosen = std::getenv("COHORT_TEST_PYTHON");
  return chosen ? chosen : "python3";
}

class Python {
 public:
  // `arguments`: the script, a file of this folder, and its arguments.
  explicit Python(std::vector<std::string> arguments) {
    arguments[0] = std::string(COHORT_TEST_INTEROP_DIR) + "/" + arguments[0];
    arguments.insert(arguments.begin(), {python(), "-B"});
    start(arguments);
  }
  // Of a piece of a program.
  static bool runs(const std::string& code) {
    try {
      Python program;
      program.start({python(), "-c", code});
      return program.exit_code() == 0;
    } catch (const std::system_error&) {
      return false;
    }
  }
  Python(const Python&) = delete;
  Python& operator=(const Python&) = delete;
  ~Python() {
    if (ended_) return;
    process_.send(SIGKILL);
    exit_code();
  }

  // The next line that it prints; empty at the end.
  std::string line() {
    std::size_t end;
    while ((end = printed_.find('\n')) == std::string::npos) {
      char text[4096];
      if (!cohort::os::wait_readable(output_.get(), soon())) throw std::runtime_error("it hangs");
      const auto count = ::read(output_.get(), text, sizeof text);
      if (count <= 0) return {};
      printed_.append(text, static_cast<std::size_t>(count));
    }
    std::string first = printed_.substr(0, end);
    printed_.erase(0, end + 1);
    return first;
  }
  // What stands behind the word in the line that comes next and begins with it.
  std::string after(const std::string& word) {
    const std::string text = line();
    if (!text.starts_with(word + " ")) throw std::runtime_error("it said: \"" + text + "\"");
    return text.substr(word.size() + 1);
  }
  // How it ended; empty when it did not.
  std::optional<int> exit_code() {
    if (!ended_ && cohort::os::wait_readable(process_.get(), soon())) ended_ = process_.reap();
    return ended_;
  }

 private:
  Python() = default;

  void start(std::vector<std::string> words) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category());
    output_ = cohort::os::Fd(ends[0]);
    const cohort::os::Fd theirs(ends[1]);
    std::vector<char*> argv;
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, theirs.get(), 1);
    pid_t pid = 0;
    const int error = ::posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    if (error != 0) {
      ended_ = -1;
      throw std::system_error(error, std::generic_category(), words[0]);
    }
    process_ = cohort::os::Pidfd::open(pid);
  }

  cohort::os::Fd output_;
  cohort::os::Pidfd process_;
  std::optional<int> ended_;
  std::string printed_;
};

// Tests beside Python; skipped where there is none.
class WithPython : public Watched {
 protected:
  explicit WithPython(unsigned seconds = 240) : Watched(seconds) {}
  void SetUp() override {
    static const bool there = Python::runs("import multiprocessing.connection");
    if (!there) {
      std::cout << "no " << python() << " on this machine\n";
      GTEST_SKIP() << "no " << python() << " on this machine";
    }
    Watched::SetUp();
  }
};

}  // namespace test
