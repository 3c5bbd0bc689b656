// The three ways to start a process, and what each knows of the one that started it.
#include <chrono>
#include <cohort/cohort.hpp>
#include <iostream>
#include <string>

std::string setting = "as the program starts";

void look() {
  std::cout << "  setting: " << setting << std::endl;
  std::cout << "  started by: " << cohort::parent_process()->name() << std::endl;
}

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  setting = "changed after init";  // pass as an argument what all children shall see

  for (const auto method :
       {cohort::StartMethod::fork, cohort::StartMethod::forkserver, cohort::StartMethod::spawn}) {
    std::cout << cohort::to_string(method) << std::endl;
    const auto begin = std::chrono::steady_clock::now();
    cohort::Process child({.start_method = method}, look);
    child.start();
    child.join();
    const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - begin;
    std::cout << "  took " << time.count() << " ms" << std::endl;
  }

  // Only a fork inherits this process as it is, so only a fork can run what captures its memory.
  int counter = 1;
  auto child = cohort::Process::forked([&] {
    ++counter;
    std::cout << "in the fork the counter is " << counter << std::endl;
  });
  child.start();
  child.join();
  std::cout << "here it is still " << counter << std::endl;
}
