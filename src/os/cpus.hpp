// How many CPUs this process may use.
#pragma once

#include <cstddef>
#include <filesystem>

namespace cohort::os {

std::size_t cpus_by_affinity();
// The quota of the cgroup (version 2) that this process is in and of those above it, in whole CPUs,
// rounded up; 0: none. `root`: where the hierarchy is mounted; `own`: /proc/self/cgroup.
std::size_t cpus_by_quota(const std::filesystem::path& root = "/sys/fs/cgroup",
                          const std::filesystem::path& own = "/proc/self/cgroup");

}  // namespace cohort::os
