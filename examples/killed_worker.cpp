// A worker is killed while it works; nothing else is lost.
#include <unistd.h>

#include <chrono>
#include <cohort/cohort.hpp>
#include <csignal>
#include <iostream>
#include <numeric>
#include <thread>
#include <vector>

struct Job {
  int number = 0;
  int victim = 0;  // the process that shall not survive it
};

int work(const Job& job) {
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  if (getpid() == job.victim) std::raise(SIGKILL);  // as the kernel does when memory runs out
  return job.number;
}

std::vector<Job> jobs_for(cohort::Pool& pool) {
  std::vector<Job> jobs;
  for (int i = 1; i <= 100; ++i) jobs.push_back({i, static_cast<int>(pool.stats().front().pid)});
  return jobs;
}

int main(int argc, char** argv) {
  cohort::init(argc, argv);

  // Without retries the call fails with the name of what died, and the pool goes on.
  cohort::Pool strict(2);
  try {
    strict.map(work, jobs_for(strict));
  } catch (const cohort::WorkerDied& death) {
    std::cout << "process " << death.pid() << " died of signal " << death.signal() << std::endl;
  }
  std::cout << "the pool goes on: " << strict.apply(work, Job{.number = 42}) << std::endl;

  // With retries the task that it was running is given to another worker.
  cohort::Pool pool({.processes = 2, .retries = 1});
  const std::vector<Job> jobs = jobs_for(pool);
  const std::vector<int> results = pool.map(work, jobs);
  std::cout << "1 + ... + 100 = " << std::accumulate(results.begin(), results.end(), 0)
            << std::endl;
  for (const auto& worker : pool.stats()) {
    if (worker.pid == jobs.front().victim) return 1;
  }
  std::cout << "the killed worker was replaced" << std::endl;
}
