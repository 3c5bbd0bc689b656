// Which of six large numbers are prime, found by a pool's map. The original prints the pid of the
// process that works on a number; here it is part of the answer.
#include <unistd.h>

#include <cohort/cohort.hpp>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <vector>

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

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  cohort::Pool pool;
  const std::vector<Answer> answers = pool.map(is_prime, primes);
  for (std::size_t i = 0; i < primes.size(); ++i) {
    std::cout << answers[i].pid << ": " << primes[i]
              << " is prime: " << (answers[i].is_prime ? "True" : "False") << '\n';
  }
}
