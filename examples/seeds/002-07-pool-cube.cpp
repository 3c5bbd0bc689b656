// Cubes of 1 to 100, each by a call of its own in a pool of four.
#include <cohort/cohort.hpp>
#include <iostream>
#include <vector>

int cube(int x) { return x * x * x; }

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  cohort::Pool pool(4);
  std::vector<int> results;
  for (int x = 1; x <= 100; ++x) results.push_back(pool.apply(cube, x));
  const char* separator = "[";
  for (const int result : results) {
    std::cout << separator << result;
    separator = ", ";
  }
  std::cout << "]\n";
}
