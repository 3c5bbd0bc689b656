// Its child leaves in the way named, and its own exit code is the child's.
//
// usage: leaves throw|exit|global METHOD
#include <cohort/finalize.hpp>
#include <cohort/process.hpp>
#include <cstdlib>
#include <iostream>
#include <stdexcept>
#include <string>

#include "channel.hpp"

namespace {

// Made before main, and again in a spawned child.
const test::Channel global = test::Channel::make();

struct SaysGoodbye {
  ~SaysGoodbye() { std::cout << "static destructor\n"; }
} goodbye;

void leave(const std::string& how) {
  if (how == "throw") throw std::runtime_error("the disk is on fire");
  if (how == "exit") {
    cohort::at_exit([] { std::cout << "hook of the child\n"; });
    std::exit(8);
  }
  if (how == "global") {
    global.send(1);
    global.receive<int>();
  }
}

}  // namespace

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  std::string how = argv[1];
  if (how == "exit") {
    cohort::at_exit([] { std::cout << "hook of the program\n"; });
    std::atexit([] { std::cout << "atexit of the program\n"; });
  }
  test::Process child({.start_method = test::method_of(argv[2])}, leave, how);
  child.start();
  child.join();
  if (how == "throw") std::_Exit(*child.exitcode());
  std::cout << "child left with " << *child.exitcode() << std::endl;
  return how == "exit" ? 0 : *child.exitcode();
}
