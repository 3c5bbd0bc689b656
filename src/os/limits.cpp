#include "os/limits.hpp"

#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <fstream>
#include <memory>
#include <string>

#include "os/call.hpp"

namespace cohort::os {
namespace {

static_assert(kNoLimit == RLIM_INFINITY);

__rlimit_resource number_of(Resource resource) {
  switch (resource) {
    case Resource::data:
      return RLIMIT_DATA;
    case Resource::cpu:
      return RLIMIT_CPU;
    case Resource::files:
      return RLIMIT_NOFILE;
  }
  __builtin_unreachable();
}

// A set of CPUs of any size: machines with more CPUs than the plain mask holds need a larger one.
class CpuSet {
 public:
  explicit CpuSet(int cpus) : bytes_(CPU_ALLOC_SIZE(cpus)), mask_(CPU_ALLOC(cpus)) {
    if (!mask_) throw std::bad_alloc();
    CPU_ZERO_S(bytes_, mask_.get());
  }
  cpu_set_t* get() const { return mask_.get(); }
  std::size_t bytes() const { return bytes_; }

 private:
  struct Free {
    void operator()(cpu_set_t* mask) const { CPU_FREE(mask); }
  };
  std::size_t bytes_;
  std::unique_ptr<cpu_set_t, Free> mask_;
};

constexpr int kMostCpus = 1 << 16;

}  // namespace

Limit limit_of(Resource resource) {
  rlimit now{};
  must("getrlimit", [&] { return ::getrlimit(number_of(resource), &now); });
  return {.soft = now.rlim_cur, .hard = now.rlim_max};
}

int set_limit(Resource resource, Limit limit) noexcept {
  const rlimit wanted{limit.soft, limit.hard};
  return ::setrlimit(number_of(resource), &wanted) == 0 ? 0 : errno;
}

int add_nice(int steps) noexcept {
  errno = 0;
  const int now = ::getpriority(PRIO_PROCESS, 0);  // -1 is a niceness, too
  if (errno != 0) return errno;
  const int wanted = std::clamp(now + std::clamp(steps, -40, 40), -20, 19);
  return ::setpriority(PRIO_PROCESS, 0, wanted) == 0 ? 0 : errno;
}

int run_on(int cpu) {
  if (cpu < 0 || cpu >= kMostCpus) return EINVAL;
  const CpuSet set(cpu + 1);
  CPU_SET_S(static_cast<std::size_t>(cpu), set.bytes(), set.get());
  return ::sched_setaffinity(0, set.bytes(), set.get()) == 0 ? 0 : errno;
}

std::vector<int> usable_cpus() {
  for (int cpus = CPU_SETSIZE; cpus <= kMostCpus; cpus *= 2) {
    const CpuSet set(cpus);
    if (::sched_getaffinity(0, set.bytes(), set.get()) != 0) {
      if (errno == EINVAL && cpus < kMostCpus) continue;
      fail("sched_getaffinity", errno);
    }
    std::vector<int> found;
    for (int cpu = 0; cpu < cpus; ++cpu) {
      if (CPU_ISSET_S(static_cast<std::size_t>(cpu), set.bytes(), set.get())) found.push_back(cpu);
    }
    return found;
  }
  return {};
}

std::size_t private_bytes() {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    if (line.starts_with("VmData:")) return std::stoull(line.substr(7)) * 1024;  // "  132 kB"
  }
  return 0;
}

}  // namespace cohort::os
