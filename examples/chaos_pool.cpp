// A worker is killed every 10 ms while 100,000 tasks run, in each of four ways to hand them out.
// Every task has exactly one outcome: its value, or WorkerDied where it may not be run again.
#include <algorithm>
#include <chrono>
#include <cohort/cohort.hpp>
#include <csignal>
#include <cstddef>
#include <iomanip>
#include <iostream>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

constexpr int kTasks = 100'000;
constexpr int kWorkers = 2;

long expected(int number) { return 3L * number + 1; }

cohort::Value<long> begun;  // in every worker the same one

void share(const cohort::Value<long>& counter) { begun = counter; }

long work(int number) {
  begun.fetch_add(1);
  volatile int spin = 2000;
  while (spin > 0) spin = spin - 1;
  return expected(number);
}

// Kills a random worker every 10 ms.
template <class Workers>
class Killer {
 public:
  explicit Killer(const Workers& workers)
      : thread_([this, &workers](const std::stop_token& stop) {
          std::mt19937 random(1);
          while (!stop.stop_requested()) {
            std::this_thread::sleep_for(10ms);
            auto all = workers.stats();
            auto victim = all[random() % all.size()].pid;
            if (victim != 0 && kill(victim, SIGKILL) == 0) ++kills_;
          }
        }) {}
  int stop() {
    thread_.request_stop();
    thread_.join();
    return kills_;
  }

 private:
  int kills_ = 0;
  std::jthread thread_;
};

struct Tally {
  int right = 0;
  int died = 0;
  int wrong = 0;

  template <class Get>
  void count(int number, Get&& get) {
    try {
      ++(get() == expected(number) ? right : wrong);
    } catch (const cohort::WorkerDied&) {
      ++died;
    }
  }
};

// Runs all tasks, prints what became of them, and throws when that is not as it should be.
template <class Workers, class Options, class Run>
void storm(const std::string& how, Options options, Run&& run) {
  const cohort::Value<long> counter(0);
  options.initializer = cohort::bind(share, counter);
  Workers workers(options);
  Killer<Workers> killer(workers);
  const Tally tally = run(workers);
  const int kills = killer.stop();
  // A task that was killed before its first instruction has not begun.
  const long again = std::max(0L, counter.get() - kTasks);
  std::cout << std::left << std::setw(26) << how << std::right << std::setw(6) << tally.right
            << " right, " << tally.died << " died, " << again << " begun again, " << kills
            << " kills" << std::endl;
  const bool all = tally.right + tally.died == kTasks && tally.wrong == 0;
  const bool allowed = options.retries == 0 ? tally.died <= kills : tally.died == 0;
  if (!all || !allowed) throw std::runtime_error("not every task has the outcome that it should");
}

int main(int argc, char** argv) try {
  cohort::init(argc, argv);
  std::vector<int> numbers(kTasks);
  std::iota(numbers.begin(), numbers.end(), 0);
  const cohort::PoolOptions strict{.processes = kWorkers};
  const cohort::PoolOptions again{.processes = kWorkers, .retries = 20};

  storm<cohort::Pool>("imap", strict, [&](cohort::Pool& pool) {
    Tally tally;
    auto results = pool.imap({.chunksize = 100}, work, numbers);
    for (int number : numbers) tally.count(number, [&] { return results.next().value(); });
    return tally;
  });
  storm<cohort::Pool>("map, retries", again, [&](cohort::Pool& pool) {
    Tally tally;
    const std::vector<long> results = pool.map(work, numbers);
    for (int number : numbers)
      tally.count(number, [&] { return results[static_cast<std::size_t>(number)]; });
    return tally;
  });
  storm<cohort::Pool>("apply_async, retries", again, [&](cohort::Pool& pool) {
    Tally tally;
    std::vector<cohort::AsyncResult<long>> results;
    for (int number : numbers) results.push_back(pool.apply_async(work, number));
    for (int number : numbers)
      tally.count(number, [&] { return results[static_cast<std::size_t>(number)].get(); });
    return tally;
  });
  using Executor = cohort::futures::ProcessPoolExecutor;
  const cohort::futures::ProcessPoolOptions executor{.max_workers = kWorkers};
  storm<Executor>("executor", executor, [&](Executor& workers) {
    Tally tally;
    std::vector<cohort::futures::Future<long>> results;
    for (int number : numbers) results.push_back(workers.submit(work, number));
    for (int number : numbers)
      tally.count(number, [&] { return results[static_cast<std::size_t>(number)].get(); });
    return tally;
  });
  std::cout << "every task is accounted for" << std::endl;
} catch (const std::exception& error) {
  std::cerr << "chaos_pool: " << error.what() << std::endl;
  return 1;
}
