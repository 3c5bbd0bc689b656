#include "cpu_use.hpp"

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <system_error>

namespace bench {

CpuUse cpu_use(pid_t pid) {
  CpuUse use;
  const std::filesystem::path process = "/proc/" + std::to_string(pid);
  std::ifstream stat(process / "stat");
  std::string line;
  std::getline(stat, line);
  if (const std::size_t name_end = line.rfind(')'); name_end != std::string::npos) {
    // After the name: state and ten more fields, then user and kernel time in clock ticks.
    long user = 0;
    long kernel = 0;
    std::size_t at = name_end + 1;
    for (int field = 0; field < 11; ++field) at = line.find(' ', at + 1);
    if (std::sscanf(line.c_str() + at, "%ld %ld", &user, &kernel) == 2) {
      const double ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
      use.user = static_cast<double>(user) / ticks;
      use.kernel = static_cast<double>(kernel) / ticks;
    }
  }
  std::error_code gone;
  for (const auto& thread : std::filesystem::directory_iterator(process / "task", gone)) {
    std::ifstream status(thread.path() / "status");
    for (std::string key; status >> key;) {
      long value = 0;
      if (key == "voluntary_ctxt_switches:" && status >> value) use.sleeps += value;
      if (key == "nonvoluntary_ctxt_switches:" && status >> value) use.preempted += value;
      status.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
    }
  }
  return use;
}

}  // namespace bench
