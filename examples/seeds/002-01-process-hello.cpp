// A process says hello.
#include <cohort/cohort.hpp>
#include <iostream>
#include <string>

void print_name(const std::string& name) { std::cout << "hello " << name << std::endl; }

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  cohort::Process p(print_name, "foo");
  p.start();
  p.join();
}
