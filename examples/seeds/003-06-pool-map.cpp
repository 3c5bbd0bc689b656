// A hundred squares from a pool of ten, which sleeps for 10 ms over each instead of 1 s.
#include <chrono>
#include <cohort/cohort.hpp>
#include <iostream>
#include <ranges>
#include <thread>

int f(int x) {
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return x * x;
}

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  cohort::Pool pool({.processes = 10});
  const char* separator = "[";
  for (const int y : pool.map(f, std::views::iota(0, 100))) {
    std::cout << separator << y;
    separator = ", ";
  }
  std::cout << "]\n";
}
