// A spawned process puts a word into a queue.
#include <cohort/cohort.hpp>
#include <cohort/queue.hpp>
#include <iostream>
#include <string>

void foo(const cohort::Queue<std::string>& q) { q.put("hello"); }

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  cohort::set_start_method(cohort::StartMethod::spawn);
  cohort::Queue<std::string> q;
  cohort::Process p(foo, q);
  p.start();
  std::cout << q.get() << std::endl;
  p.join();
}
