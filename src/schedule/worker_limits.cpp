#include "schedule/worker_limits.hpp"

#include <algorithm>
#include <cerrno>
#include <stdexcept>
#include <string>

#include "os/call.hpp"
#include "os/limits.hpp"

namespace cohort::schedule {
namespace {

constexpr int kLeastNice = -20;
constexpr int kMostNice = 19;

[[noreturn]] void refuse(const std::string& field, const std::string& reason) {
  throw std::invalid_argument("WorkerLimits::" + field + ": " + reason);
}

void check_cpus(const std::vector<int>& cpus) {
  if (cpus.empty()) return;
  const std::vector<int> usable = os::usable_cpus();
  for (int cpu : cpus) {
    if (cpu < 0) refuse("cpus", "a CPU has no negative number such as " + std::to_string(cpu));
    if (std::find(usable.begin(), usable.end(), cpu) == usable.end())
      refuse("cpus", "this process may not use CPU " + std::to_string(cpu) +
                         " (see sched_getaffinity, taskset)");
  }
}

// "WorkerLimits::memory = 4096"
std::string setting(const char* field, std::uint64_t value) {
  return std::string("WorkerLimits::") + field + " = " + std::to_string(value);
}

// `grace`: by how much the hard limit, which the worker cannot pass, lies above the soft one.
void set(os::Resource resource, const char* field, std::uint64_t value, std::uint64_t grace = 0) {
  const std::uint64_t most = os::limit_of(resource).hard;
  std::uint64_t hard = value + grace;
  if (value <= most) hard = std::min(hard, most);
  const int error = os::set_limit(resource, {.soft = value, .hard = hard});
  if (error == 0) return;
  std::string text = setting(field, value);
  // Only a privileged process passes its hard limit, and not even that the system's own.
  if (value > most)
    text += " is more than this process may have, " + std::to_string(most) +
            ": ask for less, or raise the hard limit (ulimit -H)";
  os::fail(text, error);
}

void limit_memory(std::size_t bytes) {
  const std::size_t used = os::private_bytes();
  if (used >= bytes)
    os::fail(setting("memory", bytes) + " is less than the worker has when it starts, " +
                 std::to_string(used) +
                 " bytes: allow more, or choose a start method that copies less "
                 "(StartMethod::forkserver)",
             ENOMEM);
  set(os::Resource::data, "memory", bytes);
}

void add_nice(int steps) {
  const int error = os::add_nice(steps);
  if (error == 0) return;
  os::fail("WorkerLimits::nice = " + std::to_string(steps) +
               ": below zero needs CAP_SYS_NICE or a higher RLIMIT_NICE (ulimit -e)",
           error);
}

void pin(const std::vector<int>& cpus, std::uint32_t worker_index) {
  const int cpu = cpus[worker_index % cpus.size()];
  const int error = os::run_on(cpu);
  if (error == 0) return;
  os::fail("WorkerLimits::cpus: worker " + std::to_string(worker_index) + " cannot run on CPU " +
               std::to_string(cpu) +
               ", which is offline or outside its cpuset: name others (see taskset -pc)",
           error);
}

}  // namespace

void check(const WorkerLimits& limits) {
  if (limits.memory && *limits.memory == 0) refuse("memory", "zero bytes are too few");
  if (limits.cpu_time && limits.cpu_time->count() <= 0)
    refuse("cpu_time", "must be at least a second");
  if (limits.open_files && *limits.open_files == 0) refuse("open_files", "zero are too few");
  if (limits.nice && (*limits.nice < kLeastNice || *limits.nice > kMostNice))
    refuse("nice", std::to_string(*limits.nice) + " is outside -20 to 19");
  check_cpus(limits.cpus);
}

void apply(const WorkerLimits& limits, std::uint32_t worker_index) {
  if (!limits.cpus.empty()) pin(limits.cpus, worker_index);
  if (limits.nice) add_nice(*limits.nice);
  if (limits.open_files) set(os::Resource::files, "open_files", *limits.open_files);
  if (limits.cpu_time) {
    const auto seconds = static_cast<std::uint64_t>(limits.cpu_time->count());
    set(os::Resource::cpu, "cpu_time", seconds, 1);  // a second to handle SIGXCPU, then SIGKILL
  }
  if (limits.memory) limit_memory(*limits.memory);  // last: the others may allocate
}

}  // namespace cohort::schedule
