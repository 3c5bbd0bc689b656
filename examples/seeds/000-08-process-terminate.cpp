// A process before its start, while it runs, and after it was terminated.
#include <chrono>
#include <cohort/cohort.hpp>
#include <csignal>
#include <iostream>
#include <thread>

void sleep_for(std::chrono::seconds time) { std::this_thread::sleep_for(time); }

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  std::cout << std::boolalpha;

  cohort::Process p(sleep_for, std::chrono::seconds(1000));
  std::cout << p << ' ' << p.is_alive() << std::endl;

  p.start();
  std::cout << p << ' ' << p.is_alive() << std::endl;

  p.terminate();
  p.join();  // where the original slept for 0.1 s
  std::cout << p << ' ' << p.is_alive() << std::endl;

  std::cout << (p.exitcode() == -SIGTERM) << std::endl;
}
