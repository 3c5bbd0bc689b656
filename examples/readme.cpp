#include <cohort/cohort.hpp>
#include <csignal>
#include <iostream>

int square(int x) {
  if (x == 7) std::raise(SIGKILL);  // as the kernel does when memory runs out
  return x * x;
}

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  cohort::Pool pool(2);
  try {
    pool.apply(square, 7);
  } catch (const cohort::WorkerDied& death) {
    std::cout << "a worker died of signal " << death.signal() << ", the pool goes on\n";
  }
  for (int y : pool.map(square, {1, 2, 3})) std::cout << y << '\n';
}
