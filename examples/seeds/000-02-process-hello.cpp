// A process says who it is, and who its parent is. The module's name becomes that of the process.
#include <unistd.h>

#include <cohort/cohort.hpp>
#include <iostream>
#include <string>

void info(const std::string& title) {
  std::cout << title << std::endl;
  std::cout << "process name: " << cohort::current_process().name() << std::endl;
  std::cout << "parent process: " << getppid() << std::endl;
  std::cout << "process id: " << getpid() << std::endl;
}

void f(const std::string& name) {
  info("function f");
  std::cout << "hello " << name << std::endl;
}

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  info("main line");
  cohort::Process p(f, "GG");
  p.start();
  p.join();
}
