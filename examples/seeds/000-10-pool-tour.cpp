// A tour of the pool: map, results as they come, calls that are waited for later, and one that
// takes too long. Calls that should succeed get a minute instead of a second, for a busy machine.
#include <unistd.h>

#include <chrono>
#include <cohort/cohort.hpp>
#include <iostream>
#include <ranges>
#include <vector>

using namespace std::chrono_literals;

int f(int x) { return x * x; }

void print(const std::vector<int>& numbers) {
  const char* separator = "[";
  for (const int number : numbers) {
    std::cout << separator << number;
    separator = ", ";
  }
  std::cout << "]" << std::endl;
}

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  {
    cohort::Pool pool({.processes = 4});
    const auto numbers = std::views::iota(0, 10);

    print(pool.map(f, numbers));

    for (const int y : pool.imap_unordered(f, numbers)) std::cout << y << std::endl;

    print(pool.map_async(f, numbers).get(1min));

    auto one = pool.apply_async(f, 20);
    std::cout << one.get(1min) << std::endl;

    // Functions of the system can be called as well as our own.
    auto pid = pool.apply_async(getpid);
    std::cout << pid.get(1min) << std::endl;

    std::vector<cohort::AsyncResult<pid_t>> several;
    for (int i = 0; i < 4; ++i) several.push_back(pool.apply_async(getpid));
    std::vector<int> pids;
    for (const auto& result : several) pids.push_back(result.get(1min));
    print(pids);

    auto sleeper = pool.apply_async(sleep, 10U);
    try {
      std::cout << sleeper.get(1s) << std::endl;
    } catch (const cohort::TimeoutError&) {
      std::cout << "We lacked patience and got a timeout error" << std::endl;
    }

    std::cout << "work" << std::endl;
  }  // ends the workers, the sleeping one too
  std::cout << "pool end" << std::endl;
}
