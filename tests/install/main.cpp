#include <cohort/process.hpp>

void greet() {}

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  cohort::Process child(greet);
  child.start();
  child.join();
  return child.exitcode().value_or(1);
}
