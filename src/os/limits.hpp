// Resource limits, niceness and CPU affinity of this process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace cohort::os {

inline constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();

// In bytes, seconds, and one more than the highest descriptor.
enum class Resource { data, cpu, files };

struct Limit {
  std::uint64_t soft = kNoLimit;
  std::uint64_t hard = kNoLimit;
};

Limit limit_of(Resource resource);
// These three answer 0 or an errno, for a message that tells whose wish it was.
int set_limit(Resource resource, Limit limit) noexcept;
// Of the calling thread and those it starts.
int add_nice(int steps) noexcept;
int run_on(int cpu);

// The CPUs that the calling thread may use, in ascending order.
std::vector<int> usable_cpus();

// What counts towards Resource::data now; 0 if the system does not tell.
std::size_t private_bytes();

}  // namespace cohort::os
