// Fibonacci numbers from a pool in the original's five ways: apply, apply_async, a callback, map,
// map_async. Its plot is drawn as an SVG picture: the numbers, and when each of them was there.
//
// usage: 001-02-pool-fibonacci [SECONDS [PICTURE]]
// Each job sleeps for so many seconds, 2 as in the original unless told.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cohort/cohort.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "001-02-pool-fibonacci/chart.hpp"

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

int fib(int max) {
  int a = 0;
  int b = 1;
  for (int n = 0; n < max; ++n) {
    const int next = a + b;
    a = b;
    b = next;
  }
  return b;
}

Seconds time_for_each(2);  // in the workers, set by the pool's initializer
void set_time(double seconds) { time_for_each = Seconds(seconds); }

int job(int n) {
  std::cout << getpid() << " is working on " << n << "..." << std::endl;
  std::this_thread::sleep_for(time_for_each);
  return fib(n);
}

void print(const std::vector<int>& results) {
  const char* separator = "[";
  for (const int result : results) {
    std::cout << separator << result;
    separator = ", ";
  }
  std::cout << "]" << std::endl;
}

// One way to get the numbers, and the seconds after which each was there.
struct Run {
  explicit Run(std::string name_of_way) : name(std::move(name_of_way)) {}

  void add(int result) {
    results.push_back(result);
    times.push_back(Seconds(Clock::now() - start).count());
  }
  void add_all(const std::vector<int>& all) {
    for (const int result : all) add(result);
  }

  std::string name;
  Clock::time_point start = Clock::now();
  std::vector<int> results;
  std::vector<double> times;
};

// Each call is waited for before the next: only one process works at a time.
Run with_apply(cohort::Pool& pool, const std::vector<int>& ms) {
  Run run("apply");
  for (const int m : ms) {
    std::cout << m << " will be applied in main" << std::endl;
    run.add(pool.apply(job, m));
    std::cout << run.results.back() << std::endl;
    std::cout << m << " is applied in main" << std::endl;
  }
  return run;
}

// All are begun, then waited for in turn.
Run with_apply_async(cohort::Pool& pool, const std::vector<int>& ms) {
  Run run("apply_async");
  std::vector<cohort::AsyncResult<int>> calls;
  for (const int m : ms) calls.push_back(pool.apply_async(job, m));
  pool.close();
  for (const auto& call : calls) run.add(call.get());
  return run;
}

// This process is told of each result, in the order in which they are ready.
Run with_callback(cohort::Pool& pool, const std::vector<int>& ms) {
  Run run("callback");
  const auto add_result = [&](int result) {
    std::cout << "called by " << getpid() << ", result is " << result << std::endl;
    run.add(result);
  };
  for (const int m : ms) pool.apply_async({.callback = add_result}, job, m);
  pool.close();
  pool.join();  // all callbacks have run then
  std::sort(run.results.begin(), run.results.end());
  return run;
}

Run with_map(cohort::Pool& pool, const std::vector<int>& ms) {
  Run run("map");
  run.add_all(pool.map(job, ms));
  return run;
}

Run with_map_async(cohort::Pool& pool, const std::vector<int>& ms) {
  Run run("map_async");
  const auto add_results = [&](const std::vector<int>& results) {
    std::cout << "called by " << getpid() << ", there are " << results.size() << " results"
              << std::endl;
    run.add_all(results);
  };
  pool.map_async({.callback = add_results}, job, ms);
  pool.close();
  pool.join();
  return run;
}

void draw(const std::filesystem::path& path, const std::vector<int>& ms,
          const std::vector<Run>& runs) {
  const std::vector<double> x(ms.begin(), ms.end());
  const std::vector<double> numbers(runs[0].results.begin(), runs[0].results.end());
  chart::Chart times{"When each number was there", "n", "seconds", x, {}};
  for (const Run& run : runs) times.lines.push_back({run.name, run.times});

  std::ofstream file;
  file.exceptions(std::ios::failbit | std::ios::badbit);
  file.open(path);
  file << chart::to_svg({{"Fibonacci numbers", "n", "fib(n)", x, {{"fib", numbers}}}, times});
  file.close();
}

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  const double seconds = argc > 1 ? std::atof(argv[1]) : 2;
  const std::filesystem::path picture =
      argc > 2 ? argv[2] : std::filesystem::temp_directory_path() / "fibonacci.svg";
  std::vector<int> ms(19);
  std::iota(ms.begin(), ms.end(), 1);

  std::vector<Run> runs;
  for (auto* way : {with_apply, with_apply_async, with_callback, with_map, with_map_async}) {
    // As many workers as there are CPUs.
    cohort::Pool pool({.initializer = cohort::bind(set_time, seconds)});
    runs.push_back(way(pool, ms));
    print(runs.back().results);
  }
  draw(picture, ms, runs);
  std::cout << "drawn: " << picture.filename().string() << std::endl;
}
