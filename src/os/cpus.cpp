#include "os/cpus.hpp"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

namespace cohort::os {

std::size_t cpus_by_affinity() {
  // Machines with more CPUs than the plain mask holds need a larger one.
  for (int cpus = 1024; cpus <= 1 << 16; cpus *= 2) {
    cpu_set_t* mask = CPU_ALLOC(cpus);
    std::size_t bytes = CPU_ALLOC_SIZE(cpus);
    int result = ::sched_getaffinity(0, bytes, mask);
    int count = result == 0 ? CPU_COUNT_S(bytes, mask) : 0;
    CPU_FREE(mask);
    if (count > 0) return static_cast<std::size_t>(count);
  }
  return static_cast<std::size_t>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
}

std::size_t cpus_by_quota(const std::filesystem::path& root, const std::filesystem::path& own) {
  std::ifstream groups(own);
  std::string line;
  std::string path;
  while (std::getline(groups, line)) {
    if (line.starts_with("0::/")) path = line.substr(4);
  }
  std::size_t least = 0;
  for (std::filesystem::path group = root / path;; group = group.parent_path()) {
    std::ifstream file(group / "cpu.max");
    std::string quota;
    double period = 0;
    if (file >> quota >> period && quota != "max" && period > 0) {
      double share = std::strtod(quota.c_str(), nullptr) / period;
      auto whole = std::max<std::size_t>(1, static_cast<std::size_t>(share + 0.999999));
      least = least ? std::min(least, whole) : whole;
    }
    if (group == root || !group.has_relative_path() || group == group.parent_path()) return least;
  }
}

}  // namespace cohort::os
