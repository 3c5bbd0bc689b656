// Which of six large numbers are prime: by calls submitted to an executor, then by its map. The
// original prints the pid of the process that works on a number; here it is part of the answer.
#include <unistd.h>

#include <cohort/cohort.hpp>
#include <cohort/process_executor.hpp>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <vector>

using cohort::futures::Future;
using cohort::futures::ProcessPoolExecutor;

const std::vector<std::int64_t> primes = {1112272535095293, 1112582705942171, 1112272535095291,
                                          1115280095190773, 1115797848077099, 11099726899285419};

struct Answer {
  bool is_prime = false;
  int pid = 0;
};

Answer is_prime(std::int64_t n) {
  const int pid = getpid();
  if (n % 2 == 0) return {false, pid};
  for (std::int64_t i = 3; i * i <= n; i += 2) {
    if (n % i == 0) return {false, pid};
  }
  return {true, pid};
}

void print(std::int64_t number, const Answer& answer) {
  std::cout << answer.pid << ": " << number << " is prime: " << (answer.is_prime ? "True" : "False")
            << std::endl;
}

// All are submitted before the first is waited for, or they would run one after the other.
void with_submit() {
  ProcessPoolExecutor executor;
  std::vector<Future<Answer>> answers;
  for (const std::int64_t number : primes) answers.push_back(executor.submit(is_prime, number));
  for (std::size_t i = 0; i < primes.size(); ++i) print(primes[i], answers[i].get());
}

void with_map() {
  ProcessPoolExecutor executor;
  auto number = primes.begin();
  for (const Answer& answer : executor.map(is_prime, primes)) print(*number++, answer);
}

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  with_submit();
  with_map();
}
