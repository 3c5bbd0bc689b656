// Fibonacci numbers from a pool: one call after the other with apply, then all with map. Each job
// sleeps for 10 ms instead of 2 s; the plot is left out.
#include <unistd.h>

#include <chrono>
#include <cohort/cohort.hpp>
#include <iostream>
#include <numeric>
#include <thread>
#include <vector>

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

int job(int n) {
  std::cout << getpid() << " is working on " << n << "..." << std::endl;
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
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

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  cohort::Pool pool;  // as many workers as there are CPUs
  std::vector<int> ms(19);
  std::iota(ms.begin(), ms.end(), 1);

  // One at a time: each call is waited for.
  std::vector<int> results;
  for (const int m : ms) {
    std::cout << m << " will be applied in main" << std::endl;
    const int result = pool.apply(job, m);
    std::cout << result << std::endl;
    std::cout << m << " is applied in main" << std::endl;
    results.push_back(result);
  }
  print(results);

  // All together.
  print(pool.map(job, ms));
  pool.close();
  pool.join();
}
