// For tests of whole processes: a way back from a child, programs run beside the test, start
// methods as parameters.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cohort/process.hpp>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "channel.hpp"
#include "member.hpp"

namespace test {

// ---- start methods as parameters

class EachMethod : public Watched, public testing::WithParamInterface<StartMethod> {
 protected:
  using Watched::Watched;
  // Options with the method under test.
  static cohort::ProcessOptions with(cohort::ProcessOptions options = {}) {
    options.start_method = GetParam();
    return options;
  }
};

inline auto every_method() {
  return testing::Values(StartMethod::fork, StartMethod::forkserver, StartMethod::spawn);
}
inline std::string method_name(const testing::TestParamInfo<StartMethod>& info) {
  return std::string(cohort::to_string(info.param));
}
// Waits for the end of a process by its sentinel. Answers whether it came.
inline bool ends(const Process& process) {
  return cohort::os::wait_readable(process.sentinel(), soon());
}

// Waits until a process that is not ours is gone, zombies included in the gone.
inline bool disappears(pid_t pid) {
  auto process = cohort::os::Pidfd::open(pid);
  return !process || cohort::os::wait_readable(process.get(), soon());
}

// ---- files

class Folder {
 public:
  Folder() {
    std::string pattern = std::filesystem::temp_directory_path() / "cohort-test-XXXXXX";
    if (!::mkdtemp(pattern.data())) throw std::runtime_error("mkdtemp");
    path_ = pattern;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

inline std::string content_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// ---- programs

struct Outcome {
  int code = 0;  // minus the signal that ended it
  std::string out;
  std::string err;
};
inline std::ostream& operator<<(std::ostream& stream, const Outcome& outcome) {
  return stream << "exit code " << outcome.code << "\nstdout: " << outcome.out
                << "\nstderr: " << outcome.err;
}

struct RunOptions {
  std::vector<int> closed = {};  // descriptors that are not open when it starts
  std::string kill_after = {};   // kill the program once its output contains this
};

// Runs a program to its end, and to the end of everybody who has its standard streams.
inline Outcome run_file(const std::filesystem::path& program, std::vector<std::string> arguments,
                        const RunOptions& options = {}) {
  int out[2];
  int err[2];
  if (::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(err, O_CLOEXEC) != 0)
    throw std::system_error(errno, std::generic_category(), "pipe2");
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  ::posix_spawn_file_actions_adddup2(&actions, err[1], 2);
  for (int fd : options.closed) ::posix_spawn_file_actions_addclose(&actions, fd);
  std::vector<char*> argv{const_cast<char*>(program.c_str())};
  for (auto& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  pid_t pid = 0;
  int error = ::posix_spawn(&pid, program.c_str(), &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(out[1]);
  ::close(err[1]);
  if (error != 0) throw std::system_error(error, std::generic_category(), program.string());

  Outcome outcome;
  pollfd open[2] = {{out[0], POLLIN, 0}, {err[0], POLLIN, 0}};
  auto deadline = std::chrono::steady_clock::now() + 2 * kPatience;
  bool hangs = false;
  bool killed = false;
  while (open[0].fd >= 0 || open[1].fd >= 0) {
    if (::poll(open, 2, 1000) < 0 && errno != EINTR) break;
    for (int i = 0; i < 2; ++i) {
      if (open[i].fd < 0 || open[i].revents == 0) continue;
      char text[4096];
      auto count = ::read(open[i].fd, text, sizeof text);
      if (count > 0) (i == 0 ? outcome.out : outcome.err).append(text, static_cast<size_t>(count));
      if (count == 0) open[i].fd = -1;
    }
    if (!killed && !options.kill_after.empty() &&
        outcome.out.find(options.kill_after) != std::string::npos) {
      ::kill(pid, SIGKILL);
      killed = true;
    }
    if (std::chrono::steady_clock::now() > deadline && !hangs) {
      hangs = true;
      outcome.err += "[it hangs]";
      ::kill(pid, SIGKILL);
      break;
    }
  }
  ::close(out[0]);
  ::close(err[0]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  outcome.code = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
  return outcome;
}

#ifdef COHORT_TEST_PROGRAMS_DIR
inline std::filesystem::path program_path(const std::string& name) {
  return std::filesystem::path(COHORT_TEST_PROGRAMS_DIR) / name;
}
inline std::filesystem::path library_path(const std::string& name) {
  return std::filesystem::path(COHORT_TEST_PROGRAMS_DIR) / "lib" / ("lib" + name + ".so");
}
inline Outcome run_program(const std::string& name, std::vector<std::string> arguments,
                           const RunOptions& options = {}) {
  return run_file(program_path(name), std::move(arguments), options);
}
#endif

}  // namespace test
