// A process is started with two tuples and joined. The original prints nothing; what is printed
// here are the functions that its text names beside it. The sleep is 0.1 s instead of 1 s.
#include <chrono>
#include <cohort/cohort.hpp>
#include <iostream>
#include <thread>
#include <tuple>

using Pair = std::tuple<int, int>;

Pair callable(const Pair& a, const Pair& b) {
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  return {std::get<0>(a) + std::get<0>(b), std::get<1>(a) + std::get<1>(b)};
}

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  std::cout << "current process: " << cohort::current_process().name() << std::endl;
  std::cout << "CPUs: " << cohort::cpu_count() << std::endl;

  cohort::Process p(callable, Pair(1, 3), Pair(3, 6));
  p.start();
  std::cout << "active children: " << cohort::active_children().size() << std::endl;
  p.join();
  std::cout << "active children: " << cohort::active_children().size() << std::endl;
}
