// A process puts a list with the square of its argument into a queue. It has ended before the list
// is taken, which a queue here allows for any amount: what was put is not the putter's any more.
#include <cohort/cohort.hpp>
#include <cohort/queue.hpp>
#include <iostream>
#include <vector>

void f(const cohort::Queue<std::vector<int>>& q, int value) {
  q.put(std::vector<int>{value * value});
}

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  cohort::Queue<std::vector<int>> q;
  cohort::Process p(f, q, 11);
  p.start();
  p.join();
  std::cout << '[' << q.get().at(0) << ']' << std::endl;
}
