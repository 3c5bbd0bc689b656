// Five processes wait for an event. Sleeps are a tenth of the document's.
#include <chrono>
#include <cohort/cohort.hpp>
#include <cohort/sync.hpp>
#include <iostream>
#include <random>
#include <sstream>
#include <thread>
#include <vector>

// A line in one piece.
template <class... Parts>
void print(const Parts&... parts) {
  std::ostringstream line;
  (line << ... << parts) << '\n';
  std::cout << line.str() << std::flush;
}

void task(const cohort::Event& event, int number) {
  print("Process ", number, " waiting...");
  event.wait();
  std::random_device random;
  const double value = std::uniform_real_distribution<double>()(random);
  std::this_thread::sleep_for(std::chrono::duration<double>(value / 10));
  print("Process ", number, " got ", value);
}

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  cohort::Event event;
  std::vector<cohort::Process> processes;
  for (int i = 0; i < 5; ++i) processes.emplace_back(task, event, i);

  for (auto& process : processes) process.start();

  print("main process blocking");
  std::this_thread::sleep_for(std::chrono::milliseconds(200));

  event.set();

  for (auto& process : processes) process.join();
}
