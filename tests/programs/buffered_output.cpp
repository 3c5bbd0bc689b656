// Leaves output in the buffers of its standard streams around a start.
//
// usage: buffered_output METHOD
#include <cohort/process.hpp>
#include <cstdio>
#include <iostream>

#include "channel.hpp"

int main(int argc, char** argv) {
  // A spawned child runs main from its start, and would say it again.
  if (test::method_of(argv[1]) != test::StartMethod::spawn) std::printf("printf before init\n");
  cohort::init(argc, argv);
  std::ios::sync_with_stdio(false);
  std::printf("printf before start\n");
  std::fflush(stdout);
  std::cout << "cout before start\n";
  test::Process child({.start_method = test::method_of(argv[1])}, [] {
    std::printf("printf in child\n");
    std::fflush(stdout);
    std::cout << "cout in child\n";
  });
  child.start();
  child.join();
  std::printf("printf after\n");
  return child.exitcode().value_or(99);
}
