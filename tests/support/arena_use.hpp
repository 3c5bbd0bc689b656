// For tests of what lies in the arena: how much is there, and what a child is told that the program
// itself forked.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <exception>
#include <fstream>
#include <string>

#include "arena/space.hpp"
#include "member.hpp"

namespace test {

inline std::size_t blocks_held() { return Space::here().heap().blocks_held(); }

// The memory that all of the arena takes, in whichever process it was touched.
inline std::size_t arena_bytes() {
  struct stat status {};
  ::fstat(Space::here().memory_fd(), &status);
  return static_cast<std::size_t>(status.st_blocks) * 512;
}

// The part of it that this process has touched.
inline std::size_t resident_shared_bytes() {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("RssShmem:")) return std::stoul(line.substr(9)) * 1024;
  }
  return 0;
}

// Calls `body` in a child made by a plain fork(). Answers what it threw.
template <class Body>
std::string thrown_in_host_fork(Body&& body) {
  int ends[2];
  if (::pipe(ends) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    std::string said = "nothing was thrown";
    try {
      body();
    } catch (const std::exception& error) {
      said = error.what();
    }
    [[maybe_unused]] auto written = ::write(ends[1], said.data(), said.size());
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string said;
  char text[512];
  while (auto length = ::read(ends[0], text, sizeof text)) {
    if (length < 0) break;
    said.append(text, static_cast<std::size_t>(length));
  }
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  return status == 0 ? said : "it ended with status " + std::to_string(status);
}
inline constexpr const char* kInert = "this handle belongs to the process that made it";

// Expects every test to leave as many blocks as it found.
class ArenaUse : public Watched {
 protected:
  using Watched::Watched;
  void SetUp() override {
    Watched::SetUp();
    before_ = blocks_held();
  }
  void TearDown() override {
    EXPECT_TRUE(
        eventually([&] { return only_what_was(); }, Clock::now() + std::chrono::seconds(10)))
        << blocks_held() << " blocks are held, and " << before_ << " were before";
    Watched::TearDown();
  }
  bool only_what_was() const {
    Space::here().bury_the_dead(true);
    return blocks_held() == before_;
  }

 private:
  std::size_t before_ = 0;
};

}  // namespace test
