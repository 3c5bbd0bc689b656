// Squares from a pool of five.
#include <cohort/cohort.hpp>
#include <iostream>

int f(int x) { return x * x; }

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  cohort::Pool pool(5);
  const char* separator = "[";
  for (const int y : pool.map(f, {1, 2, 3})) {
    std::cout << separator << y;
    separator = ", ";
  }
  std::cout << "]\n";
}
