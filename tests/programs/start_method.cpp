// Says which start method is the default as it goes on.
#include <cohort/process.hpp>
#include <iostream>

#include "channel.hpp"

int main(int argc, char** argv) {
  // A spawned child leaves main in init and shall say nothing.
  auto before = cohort::get_start_method();
  cohort::init(argc, argv);
  std::cout << "before init: " << cohort::to_string(before) << std::endl;
  std::cout << "after init: " << cohort::to_string(cohort::get_start_method()) << std::endl;
  auto child = cohort::get_context(test::StartMethod::spawn).process([] {});
  child.start();
  child.join();
  std::cout << "after a context's process: " << cohort::to_string(cohort::get_start_method())
            << std::endl;
  cohort::set_start_method(test::StartMethod::spawn);
  std::cout << "after set_start_method: " << cohort::to_string(cohort::get_start_method())
            << std::endl;
  test::Process unnamed([] {});
  std::cout << "a process of no method: " << cohort::to_string(unnamed.start_method()) << std::endl;
  return child.exitcode().value_or(99);
}
