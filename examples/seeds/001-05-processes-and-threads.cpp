// The time that processes and threads take for calculation, and for waiting; then pools of both,
// behind executors. C++ has no interpreter lock, so here threads calculate as fast as processes. An
// argument makes all of it shorter: 0.05 is a twentieth of what the original does.
#include <chrono>
#include <cohort/cohort.hpp>
#include <cohort/process_executor.hpp>
#include <cstdlib>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

using cohort::futures::Future;
using cohort::futures::ProcessPoolExecutor;
using cohort::futures::ThreadPoolExecutor;

void dense_cal(double scale) {
  volatile long result = 1;
  for (long i = 0; i < static_cast<long>(scale * 100'000'000); ++i) result = result * i;
}

void dense_io(double scale) {
  std::this_thread::sleep_for(std::chrono::duration<double>(2 * scale));
}

using Clock = std::chrono::steady_clock;

void report(const std::string& name, Clock::time_point start) {
  std::cout << name << " run time is "
            << std::chrono::duration<double>(Clock::now() - start).count() << std::endl;
}

void time_processes(int number, void (*target)(double), double scale) {
  const auto start = Clock::now();
  std::vector<cohort::Process> processes;
  for (int i = 0; i < number; ++i) processes.emplace_back(target, scale).start();
  for (cohort::Process& process : processes) process.join();
  report("multi-process", start);
}

void time_threads(int number, void (*target)(double), double scale) {
  const auto start = Clock::now();
  std::vector<std::thread> threads;
  for (int i = 0; i < number; ++i) threads.emplace_back(target, scale);
  for (std::thread& thread : threads) thread.join();
  report("multi-thread", start);
}

// One worker for each call, as above: its start and end are part of the time.
template <cohort::futures::Executor Executor>
void time_executor(const std::string& name, int number, void (*target)(double), double scale) {
  const auto start = Clock::now();
  {
    Executor executor(number);
    std::vector<Future<void>> calls;
    for (int i = 0; i < number; ++i) calls.push_back(executor.submit(target, scale));
    for (const auto& call : calls) call.get();
  }
  report(name, start);
}

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  const double scale = argc > 1 ? std::atof(argv[1]) : 1;

  time_processes(4, dense_cal, scale);
  time_threads(4, dense_cal, scale);
  time_processes(100, dense_io, scale);
  time_threads(100, dense_io, scale);

  time_executor<ProcessPoolExecutor>("process pool", 4, dense_cal, scale);
  time_executor<ThreadPoolExecutor>("thread pool", 4, dense_cal, scale);
  time_executor<ProcessPoolExecutor>("process pool", 100, dense_io, scale);
  time_executor<ThreadPoolExecutor>("thread pool", 100, dense_io, scale);
}
