// Names in /dev/shm for tests: of this test alone, and gone with it.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

namespace test {

inline std::vector<std::string> names_with(const std::string& prefix) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/dev/shm", ignored)) {
    std::string name = entry.path().filename();
    if (name.starts_with(prefix)) names.push_back(name);
  }
  std::ranges::sort(names);
  return names;
}

inline bool in_dev_shm(const std::string& name) {
  return ::access(("/dev/shm/" + name).c_str(), F_OK) == 0;
}

class SharedNames {
 public:
  SharedNames() {
    static int made = 0;
    prefix_ = "cohort-test-" + std::to_string(::getpid()) + "-" + std::to_string(++made) + "-";
  }
  ~SharedNames() {
    for (const auto& name : all()) ::unlink(("/dev/shm/" + name).c_str());
  }
  SharedNames(const SharedNames&) = delete;
  SharedNames& operator=(const SharedNames&) = delete;

  const std::string& prefix() const { return prefix_; }
  std::string operator()(const std::string& name) const { return prefix_ + name; }
  // Those that there are now.
  std::vector<std::string> all() const { return names_with(prefix_); }

 private:
  std::string prefix_;
};

}  // namespace test
