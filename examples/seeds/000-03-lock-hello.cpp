// Ten processes say hello, one at a time. One of them sleeps first: a tenth of a second here.
#include <chrono>
#include <cohort/cohort.hpp>
#include <cohort/sync.hpp>
#include <iostream>
#include <mutex>
#include <thread>
#include <vector>

void f(const cohort::Lock& lock, int i) {
  if (i == 5) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  std::scoped_lock guard(lock);
  std::cout << "hello " << i << std::endl;
}

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  cohort::Lock lock;

  std::vector<cohort::Process> processes;
  for (int num = 0; num < 10; ++num) processes.emplace_back(f, lock, num).start();
}
