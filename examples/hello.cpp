// A function runs in a process of its own.
#include <unistd.h>

#include <cohort/cohort.hpp>
#include <iostream>
#include <string>

void greet(const std::string& whom, int times) {
  for (int i = 0; i < times; ++i) {
    std::cout << "hello " << whom << " from " << cohort::current_process().name() << std::endl;
  }
}

int main(int argc, char** argv) {
  cohort::init(argc, argv);  // the first line: some children start here, too

  cohort::Process greeter({.name = "greeter"}, greet, "world", 2);
  greeter.start();
  std::cout << "it is process " << greeter.pid() << ", this one is " << getpid() << std::endl;
  greeter.join();
  std::cout << "its exit code is " << greeter.exitcode().value() << std::endl;
}
