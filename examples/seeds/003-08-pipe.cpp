// A process sends a list with the square of its argument through a pipe. The sleep is 0.1 s instead
// of 3 s.
#include <chrono>
#include <cohort/cohort.hpp>
#include <cohort/connection.hpp>
#include <iostream>
#include <thread>
#include <vector>

void f(const cohort::Connection& conn, int value) {
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  conn.send(std::vector<int>{value * value});
  conn.close();
}

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  auto [parent_conn, child_conn] = cohort::Pipe();
  cohort::Process p(f, child_conn, 11);
  p.start();
  std::cout << '[' << parent_conn.recv<std::vector<int>>().at(0) << ']' << std::endl;
  p.join();
}
