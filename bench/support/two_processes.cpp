#include "two_processes.hpp"

#include <sched.h>

#include <atomic>
#include <chrono>
#include <cohort/process.hpp>
#include <stdexcept>
#include <utility>
#include <vector>

#include "shared.hpp"

namespace bench {
namespace {

std::vector<int> usable_cpus() {
  cpu_set_t usable;
  CPU_ZERO(&usable);
  sched_getaffinity(0, sizeof usable, &usable);
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &usable)) cpus.push_back(cpu);
  }
  return cpus;
}

void pin(Placement placement, std::size_t which) {
  if (placement == Placement::anywhere) return;
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(usable_cpus().at(placement == Placement::apart ? which : 0), &only);
  sched_setaffinity(0, sizeof only, &only);
}

}  // namespace

std::string missing_for(Placement placement) {
  return placement == Placement::apart && usable_cpus().size() < 2 ? "there is one CPU only" : "";
}

void in_two_processes(Placement placement, std::function<void()> first,
                      std::function<void()> second) {
  const Shared<std::atomic<int>> here(0);
  const auto start = [&](std::size_t which, std::function<void()> work) {
    auto process = cohort::Process::forked([&here, placement, which, work = std::move(work)] {
      pin(placement, which);
      for (here->fetch_add(1); here->load() < 2;) sched_yield();
      work();
    });
    process.start();
    return process;
  };
  cohort::Process one = start(0, std::move(first));
  cohort::Process other = start(1, std::move(second));
  // One that fails leaves the other to wait for ever.
  const auto failed = [](const cohort::Process& process) {
    return process.exitcode().value_or(0) != 0;
  };
  while (!one.join_for(std::chrono::milliseconds(20)) && !failed(other)) {
  }
  if (!failed(one) && !failed(other)) other.join();
  if (!failed(one) && !failed(other)) return;
  one.kill();
  other.kill();
  throw std::runtime_error("a process of the benchmark failed");
}

}  // namespace bench
