// Takes its own file away, or puts another in its place, and goes on starting processes.
//
// usage: replaced_program unlink|replace METHOD
#include <cohort/async.hpp>
#include <filesystem>
#include <fstream>
#include <string>

#include "channel.hpp"

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  std::filesystem::remove(argv[0]);
  if (std::string(argv[1]) == "replace") std::ofstream(argv[0]) << "not a program";
  cohort::set_start_method(test::method_of(argv[2]));
  for (int i = 0; i < 3; ++i) {
    if (cohort::async([](int x) { return x * x; }, i).get() != i * i) return 1;
  }
  return 0;
}
