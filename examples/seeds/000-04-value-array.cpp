// A Value and an Array are changed by a process. As in the original the array is of range(1), which
// is the one element 0; a second one shows more.
#include <cohort/process.hpp>
#include <cohort/shared.hpp>
#include <cstddef>
#include <iostream>
#include <ranges>
#include <string_view>

void f(const cohort::Value<double>& n, const cohort::Array<int>& a) {
  n.set(3.1415927);
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = -a[i];
}

void print(const cohort::Array<int>& a) {
  std::string_view before = "[";
  for (const int x : a) {
    std::cout << before << x;
    before = ", ";
  }
  std::cout << "]" << std::endl;
}

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  std::cout.precision(8);
  for (const int count : {1, 10}) {
    const cohort::Value<double> num(0.0);
    const cohort::Array<int> arr(std::views::iota(0, count));

    cohort::Process p(f, num, arr);
    p.start();
    p.join();

    std::cout << num.get() << std::endl;
    print(arr);
  }
}
