// A matrix in shared memory: each process fills rows of its own, and nothing is copied.
#include <cohort/process.hpp>
#include <cohort/shared.hpp>
#include <cstddef>
#include <iostream>
#include <span>
#include <vector>

constexpr std::size_t kSize = 300;
constexpr std::size_t kProcesses = 3;

// What crosses to a process is where the elements are, however many they are.
struct Matrix {
  cohort::RawArray<double> elements = cohort::RawArray<double>(kSize * kSize);

  std::span<double> row(std::size_t i) const { return elements.subspan(i * kSize, kSize); }
};

// Every kProcesses-th row of the product. No lock: nobody else writes there.
void multiply(const Matrix& a, const Matrix& b, const Matrix& product, std::size_t first) {
  for (std::size_t i = first; i < kSize; i += kProcesses) {
    const auto sums = product.row(i);
    for (std::size_t k = 0; k < kSize; ++k) {
      const double factor = a.row(i)[k];
      const auto row = b.row(k);
      for (std::size_t j = 0; j < kSize; ++j) sums[j] += factor * row[j];
    }
  }
}

int main(int argc, char** argv) {
  cohort::init(argc, argv);

  const Matrix a;
  const Matrix b;
  const Matrix product;  // zero, as all shared memory at first
  for (std::size_t i = 0; i < kSize; ++i) {
    for (std::size_t j = 0; j < kSize; ++j) {
      a.row(i)[j] = static_cast<double>(i + j);
      b.row(i)[j] = i == j ? 2 : 0;
    }
  }

  std::vector<cohort::Process> processes;
  for (std::size_t first = 0; first < kProcesses; ++first) {
    processes.emplace_back(multiply, a, b, product, first);
    processes.back().start();
  }
  for (auto& process : processes) process.join();

  std::size_t right = 0;
  for (std::size_t i = 0; i < product.elements.size(); ++i)
    right += product.elements[i] == 2 * a.elements[i] ? 1 : 0;
  std::cout << kProcesses << " processes filled " << kSize << " rows of " << kSize << std::endl;
  std::cout << right << " of " << product.elements.size() << " elements are right" << std::endl;
  return right == product.elements.size() ? 0 : 1;
}
