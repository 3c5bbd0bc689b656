// A skewed map: most pieces take 2 ms, the last ten 40 ms each. Three ways to hand them out, and
// how busy each keeps the workers. Run it with COHORT_TRACE=run.json in the environment and open
// the file at https://ui.perfetto.dev: the gaps in the workers' rows are what the percentages miss.
//
// The work is waiting, so that the picture is the same on every machine.
#include <algorithm>
#include <chrono>
#include <cohort/cohort.hpp>
#include <iomanip>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::duration<double, std::milli>;

int piece(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
  return milliseconds;
}

Milliseconds busy_time(const cohort::Pool& pool) {
  Milliseconds sum(0);
  for (const cohort::WorkerStats& worker : pool.stats()) sum += worker.busy;
  return sum;
}

void run(const std::string& how, const cohort::MapOptions& options,
         const std::vector<int>& pieces) {
  cohort::Pool pool(4);
  pool.map(piece, std::vector<int>(4));  // the workers are there
  const Milliseconds busy_before = busy_time(pool);
  const auto start = Clock::now();
  pool.map(options, piece, pieces);
  const Milliseconds lasted = Clock::now() - start;
  const double share = (busy_time(pool) - busy_before) / (4 * lasted);
  std::cout << std::left << std::setw(18) << how << std::right << std::fixed << std::setprecision(0)
            << std::setw(5) << lasted.count() << " ms, workers " << std::setw(3) << 100 * share
            << " % busy" << std::endl;
  pool.close();  // or the end of this function would kill the workers
}

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  std::vector<int> pieces(190, 2);
  pieces.insert(pieces.end(), 10, 40);

  run("a quarter each", {.chunksize = pieces.size() / 4}, pieces);
  run("measured", {}, pieces);
  std::ranges::reverse(pieces);
  run("the longest first", {}, pieces);
}
