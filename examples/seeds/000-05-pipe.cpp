// Two processes greet through a pipe and are greeted. The original gives both the same end, where
// they may take a message to pieces when they receive at the same time: here each has its own pipe.
#include <unistd.h>

#include <cohort/cohort.hpp>
#include <cohort/connection.hpp>
#include <iostream>
#include <string>
#include <vector>

void func(const cohort::Connection& conn) {
  conn.send("Hi I'm your subprocess. My ID is " + std::to_string(getpid()));
  const auto message = conn.recv<std::string>();
  std::cout << "ID " << getpid() << " receive main_process message: " << message << std::endl;
  conn.close();
}

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  std::vector<cohort::Process> process_list;

  for (int i = 0; i < 2; ++i) {
    auto [main_conn, sub_conn] = cohort::Pipe();
    process_list.emplace_back(func, sub_conn).start();
    std::cout << "I'm main process, receive sub process message: " << main_conn.recv<std::string>()
              << std::endl;
    main_conn.send("Remember I'm your Master");
  }

  for (auto& each_process : process_list) each_process.join();
}
