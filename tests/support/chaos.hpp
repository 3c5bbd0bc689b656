// For tests that kill members of a family and then look at what is left of them.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "arena/block_refs.hpp"
#include "arena/space.hpp"
#include "cohort/process.hpp"
#include "os/pidfd.hpp"

namespace test {

// Counters that processes share, as a handle that can be passed.
class Cells {
 public:
  using Cell = std::atomic<std::uint32_t>;
  Cells() = default;
  explicit Cells(std::size_t count)
      : block_(cohort::detail::BlockRefs::create(count * sizeof(Cell),
                                                 cohort::arena::BlockKind::plain)) {}
  Cell& operator[](std::size_t index) const {
    return reinterpret_cast<Cell*>(block_.data())[index];
  }
  template <class Archive>
  void serialize(Archive& archive) {
    archive(block_);
  }

 private:
  cohort::detail::BlockRef block_;
};

// A pause of random length: where in its work another process is killed.
inline void random_pause(std::mt19937& random, std::chrono::microseconds most) {
  std::uniform_int_distribution<long> length(0, most.count());
  auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(length(random));
  std::this_thread::sleep_until(until);
}

inline std::optional<pid_t> janitor_pid(std::size_t which) {
  auto& space = cohort::arena::Space::here();
  cohort::arena::MemberId id{space.header().janitors[which].load()};
  if (!id || space.members().phase(id) != cohort::arena::Phase::running) return std::nullopt;
  if (space.members().process_gone(id)) return std::nullopt;
  return space.members().slot(id).pid.load();
}
inline std::optional<pid_t> standby_pid() {
  auto standby = janitor_pid(1);
  return standby && standby != janitor_pid(0) ? standby : std::nullopt;
}

// A signal to a process that is no child of ours, or not yet: answers whether it was there.
inline bool send(pid_t pid, int signal) {
  auto process = cohort::os::Pidfd::open(pid);
  return process && process.send(signal);
}

inline std::size_t slots_in_use() {
  auto& members = cohort::arena::Space::here().members();
  std::size_t count = 0;
  for (std::uint32_t i = 0; i < members.used(); ++i) count += members.at(i) ? 1 : 0;
  return count;
}

template <class Visit>
void for_each_process(Visit&& visit) {
  DIR* folder = ::opendir("/proc");
  if (!folder) return;
  while (const dirent* entry = ::readdir(folder)) {
    if (int pid = std::atoi(entry->d_name)) visit(pid);
  }
  ::closedir(folder);
}

struct Stat {
  char state = '?';
  pid_t parent = 0;
};
inline Stat stat_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  Stat stat;
  std::getline(file, text);
  auto end = text.rfind(") ");
  if (end == std::string::npos) return stat;
  stat.state = text[end + 2];
  stat.parent = std::atoi(text.c_str() + end + 4);
  return stat;
}

inline std::size_t descriptors_of(pid_t pid) {
  std::error_code gone;
  std::filesystem::directory_iterator folder("/proc/" + std::to_string(pid) + "/fd", gone);
  return gone ? 0 : static_cast<std::size_t>(std::distance(begin(folder), end(folder)));
}

// Children of `parent` that ended and that it has not reaped.
inline std::size_t zombies_of(pid_t parent) {
  std::size_t count = 0;
  for_each_process([&](pid_t pid) {
    Stat stat = stat_of(pid);
    count += stat.parent == parent && stat.state == 'Z' ? 1 : 0;
  });
  return count;
}

// A program of tests/programs, with its standard output in a pipe whose end shows that it and all
// that it started are gone.
class Program {
 public:
  explicit Program(const std::string& name, std::vector<std::string> arguments = {},
                   const std::string& variable = {}) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category());
    output_ = cohort::os::Fd(ends[0]);
    cohort::os::Fd theirs(ends[1]);
    std::string path = std::string(COHORT_TEST_PROGRAMS_DIR) + "/" + name;
    std::vector<char*> argv{path.data()};
    for (auto& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    std::string added = variable;
    std::vector<char*> variables;
    for (char** one = environ; *one; ++one) variables.push_back(*one);
    if (!added.empty()) variables.push_back(added.data());
    variables.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    int error =
        ::posix_spawn(&pid_, path.c_str(), &actions, nullptr, argv.data(), variables.data());
    ::posix_spawn_file_actions_destroy(&actions);
    if (error != 0) throw std::system_error(error, std::generic_category(), path);
    process_ = cohort::os::Pidfd::open(pid_);
  }
  ~Program() {
    if (ended_) return;
    process_.send(SIGKILL);
    wait({});
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  pid_t pid() const { return pid_; }
  void send(int signal) const { process_.send(signal); }
  // How it ended; empty when it did not.
  std::optional<int> wait(cohort::os::Deadline deadline) {
    if (!ended_ && cohort::os::wait_readable(process_.get(), deadline)) ended_ = process_.reap();
    return ended_;
  }
  // Reads what is written; answers false when the end of the output did not come.
  bool read_to_end(cohort::os::Deadline deadline) {
    char text[4096];
    while (cohort::os::wait_readable(output_.get(), deadline)) {
      auto length = ::read(output_.get(), text, sizeof text);
      if (length <= 0) return true;
      printed_.append(text, static_cast<std::size_t>(length));
    }
    return false;
  }
  // Reads until it has written this many bytes, or the deadline.
  bool read_some(std::size_t bytes, cohort::os::Deadline deadline) {
    char text[4096];
    while (printed_.size() < bytes && cohort::os::wait_readable(output_.get(), deadline)) {
      auto length = ::read(output_.get(), text, sizeof text);
      if (length <= 0) break;
      printed_.append(text, static_cast<std::size_t>(length));
    }
    return printed_.size() >= bytes;
  }
  const std::string& printed() const { return printed_; }

 private:
  pid_t pid_ = 0;
  cohort::os::Fd output_;
  cohort::os::Pidfd process_;
  std::optional<int> ended_;
  std::string printed_;
};

// The processes whose environment holds this text.
inline std::vector<pid_t> processes_marked(const std::string& text) {
  std::vector<pid_t> found;
  for_each_process([&](pid_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/environ", std::ios::binary);
    std::string all((std::istreambuf_iterator<char>(file)), {});
    if (all.find(text) != std::string::npos) found.push_back(pid);
  });
  return found;
}

}  // namespace test
