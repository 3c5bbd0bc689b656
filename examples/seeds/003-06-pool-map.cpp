// A hundred squares from a pool of ten, which sleeps for a second over each: ten seconds. Another
// time can be given as an argument.
#include <chrono>
#include <cohort/cohort.hpp>
#include <cstdlib>
#include <iostream>
#include <ranges>
#include <thread>

std::chrono::duration<double> time_for_each(1);

int f(int x) {
  std::this_thread::sleep_for(time_for_each);
  return x * x;
}

void set_time(double seconds) { time_for_each = std::chrono::duration<double>(seconds); }

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  const double seconds = argc > 1 ? std::atof(argv[1]) : 1;
  cohort::Pool pool({.processes = 10, .initializer = cohort::bind(set_time, seconds)});
  const char* separator = "[";
  for (const int y : pool.map(f, std::views::iota(0, 100))) {
    std::cout << separator << y;
    separator = ", ";
  }
  std::cout << "]\n";
}
