// What tests of pools share: each runs under every start method, is ended when it hangs, and leaves
// no process, no descriptor and no block of the arena behind.
#pragma once

#include <dirent.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cohort/pool.hpp>
#include <cstddef>
#include <cstdlib>
#include <string>
#include <thread>
#include <utility>

#include "arena/space.hpp"
#include "member.hpp"
#include "os/pidfd.hpp"

namespace pool_tests {

using namespace std::chrono_literals;

// Waits for an event to a deadline.
template <class Event>
bool eventually(Event&& event, std::chrono::seconds limit = 20s) {
  auto deadline = std::chrono::steady_clock::now() + limit;
  while (!event()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

inline std::size_t open_descriptors() {
  std::size_t count = 0;
  DIR* folder = ::opendir("/proc/self/fd");
  while (::readdir(folder)) ++count;
  ::closedir(folder);
  return count;
}

inline std::size_t blocks_held() { return cohort::arena::Space::here().heap().blocks_held(); }

inline bool send_signal(pid_t pid, int signal) {
  if (pid == 0) return false;
  auto process = cohort::os::Pidfd::open(pid);
  return process && process.send(signal);
}

// A file that workers of any start method find by its name. Gone with the object.
class SharedFile {
 public:
  SharedFile() {
    const char* folder = std::getenv("TMPDIR");
    path_ = std::string(folder ? folder : "/tmp") + "/pool-test-XXXXXX";
    int fd = ::mkstemp(path_.data());
    if (fd >= 0) ::close(fd);
  }
  ~SharedFile() { ::unlink(path_.c_str()); }
  SharedFile(const SharedFile&) = delete;
  SharedFile& operator=(const SharedFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class PoolTest : public testing::TestWithParam<cohort::StartMethod> {
 protected:
  void SetUp() override {
    // The allocator of a sanitizer has locks that a fork copies as other threads hold them.
    if (test::kSanitized && GetParam() == cohort::StartMethod::fork)
      GTEST_SKIP() << "a sanitized program with threads cannot be forked safely";
    begun_ = true;
    ::alarm(250);  // a hang ends the program with SIGALRM
    cohort::Pool(cohort::PoolOptions{.processes = 1, .start_method = GetParam()}).apply(+[] {});
    blocks_ = blocks_held();
    descriptors_ = open_descriptors();
  }
  void TearDown() override {
    if (!begun_) return;
    EXPECT_TRUE(cohort::active_children().empty());
    EXPECT_TRUE(eventually([&] { return blocks_held() <= blocks_; }))
        << blocks_held() << " blocks of the arena are held, before: " << blocks_;
    EXPECT_EQ(open_descriptors(), descriptors_);
    ::alarm(0);
  }

  cohort::PoolOptions options(int processes) const {
    cohort::PoolOptions made;
    made.processes = processes;
    made.start_method = GetParam();
    return made;
  }

 private:
  bool begun_ = false;
  std::size_t blocks_ = 0;
  std::size_t descriptors_ = 0;
};

inline std::string method_name(const testing::TestParamInfo<cohort::StartMethod>& info) {
  return std::string(cohort::to_string(info.param));
}

inline const auto kEveryMethod = testing::Values(
    cohort::StartMethod::fork, cohort::StartMethod::forkserver, cohort::StartMethod::spawn);

}  // namespace pool_tests
