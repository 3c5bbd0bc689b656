// What is slow to load is loaded once, before the first start; every child has it from then on, in
// memory that all share.
#include <unistd.h>

#include <algorithm>
#include <cohort/cohort.hpp>
#include <cstddef>
#include <iostream>
#include <vector>

std::vector<int> primes;
pid_t loaded_by = 0;

void load_primes(int below) {
  std::vector<bool> composite(static_cast<std::size_t>(below));
  for (int n = 2; n < below; ++n) {
    if (composite[static_cast<std::size_t>(n)]) continue;
    primes.push_back(n);
    for (int m = 2 * n; m < below; m += n) composite[static_cast<std::size_t>(m)] = true;
  }
  loaded_by = getpid();
}

struct Answer {
  bool prime = false;
  pid_t loaded_by = 0;
};

Answer is_prime(int n) { return {std::binary_search(primes.begin(), primes.end(), n), loaded_by}; }

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  cohort::preload(load_primes, 1'000'000);

  std::cout << "primes loaded in this process: " << primes.size() << std::endl;
  cohort::Pool pool(2);
  for (const int n : {999'983, 999'985}) {
    const Answer answer = pool.apply(is_prime, n);
    std::cout << n << (answer.prime ? " is prime" : " is not prime") << ", by a list loaded in "
              << (answer.loaded_by == cohort::fork_server_pid() ? "the fork server" : "a worker")
              << std::endl;
  }
}
