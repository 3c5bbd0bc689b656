// Pools and executors of two workers beside Python's, joblib's, oneTBB's, a pool of threads, and
// the least that two worker processes can be: tasks that do nothing, one by one and in batches; the
// round trip of one; how much of the workers' time reaches tasks that take some.
#include <unistd.h>

#include <algorithm>
#include <cohort/cohort.hpp>
#include <cohort/process_executor.hpp>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "support/bare_workers.hpp"
#include "support/comparison.hpp"
#include "support/cpu_use.hpp"
#include "support/pool_peers.hpp"
#include "support/python_peer.hpp"
#include "support/table.hpp"

namespace {

using bench::Comparison;

constexpr std::size_t kWorkers = 2;
constexpr std::size_t kTasks = 100'000;
constexpr std::size_t kItems = 10'000'000;
constexpr std::size_t kCalls = 2'000;
constexpr std::size_t kCallsAsleep = 8;
constexpr auto kPause = std::chrono::milliseconds(20);  // longer than any worker spins

// A round does not count when two bare workers needed so much longer than their tasks take.
constexpr double kBusyElsewhere = 1.1;

const std::string kPool = "pool";
const std::string kPoolSingle = "pool, chunks of 1";
const std::string kApply = "pool.apply";
const std::string kApplyAsync = "pool.apply_async";
const std::string kProcesses = "ProcessPoolExecutor";
const std::string kThreads = "ThreadPoolExecutor";
const std::string kBare = "bare workers";
const std::string kFutex = "bare futex";
const std::string kStdThreads = "std::thread pool";
const std::string kTaskGroup = "tbb task_group";
const std::string kParallelFor = "tbb parallel_for";
const std::string kPythonApply = "python Pool.apply";
const std::string kPythonApplyAsync = "python Pool.apply_async";
const std::string kPythonMap = "python Pool.map";
const std::string kPythonSingle = "python Pool.map, chunksize 1";
const std::string kPythonSubmit = "python ProcessPoolExecutor";
const std::string kLoky = "joblib/loky";
const std::string kLokySingle = "joblib/loky, batches of 1";
const std::string kPerfect = "perfect";

int same(int x) { return x; }

void expect(bool right) {
  if (!right) throw std::runtime_error("a wrong result");
}

// Those that fork come first, while there are no threads.
struct Peers {
  bench::BareWorkers bare{same, kItems};
  bench::BareWorkers bare_spinning{bench::spin, kTasks};
  bench::FutexEcho echo;
  bench::PythonPeer python{"pool.py"};
  bench::Tbb tbb{kWorkers};
  bench::ThreadPool threads{kWorkers};
};

struct Ours {
  cohort::Pool pool{kWorkers};
  cohort::futures::ProcessPoolExecutor processes{{.max_workers = kWorkers}};
  cohort::futures::ThreadPoolExecutor threads{{.max_workers = kWorkers}};
};

void add_python(Comparison& comparison, bench::PythonPeer& python, const std::string& name,
                const std::string& question, std::size_t count) {
  if (!python.missing().empty()) return comparison.skip(name, python.missing());
  comparison.add(name, [&python, line = question + " " + std::to_string(count)] {
    const double seconds = python.ask(line);
    if (!(seconds > 0)) throw std::runtime_error("peers/pool.py does not answer");
    return seconds;
  });
}

void add_joblib(Comparison& comparison, bench::PythonPeer& python, const std::string& name,
                const std::string& question, std::size_t count) {
  if (python.missing().empty() && python.ask("has_joblib") != 1)
    return comparison.skip(name, "joblib is not installed");
  add_python(comparison, python, name, question, count);
}

template <class Measure>
void add_tbb(Comparison& comparison, bench::Tbb& tbb, const std::string& name, Measure&& measure) {
  if (!tbb.missing().empty()) return comparison.skip(name, tbb.missing());
  comparison.add(name, std::forward<Measure>(measure));
}

// The items 0, 1, 2, ...
std::vector<int> ascending(std::size_t count) {
  std::vector<int> items(count);
  std::iota(items.begin(), items.end(), 0);
  return items;
}

// Seconds per item of a map that answers `items`.
template <class Map>
double time_map(const std::vector<int>& items, Map&& map) {
  std::vector<int> results;
  const double seconds = bench::time_each(1, [&] { results = map(); });
  expect(results == items);
  return seconds / static_cast<double>(items.size());
}

// Seconds per task when all are submitted, and then all results taken.
template <class Submit>
double time_tasks(std::size_t count, Submit&& submit) {
  const double seconds = bench::time_each(1, [&] {
    std::vector<decltype(submit(0))> results;
    results.reserve(count);
    for (std::size_t i = 0; i < count; ++i) results.push_back(submit(static_cast<int>(i)));
    for (std::size_t i = 0; i < count; ++i) expect(results[i].get() == static_cast<int>(i));
  });
  return seconds / static_cast<double>(count);
}

// Seconds per call, when one follows the other.
template <class Call>
double time_calls(Call&& call) {
  return bench::time_each(kCalls, [&] { expect(call(7) == 7); });
}

// The same when the workers have gone to sleep before each.
template <class Call>
double time_calls_asleep(Call&& call) {
  std::vector<double> seconds;
  for (std::size_t i = 0; i < kCallsAsleep; ++i) {
    std::this_thread::sleep_for(kPause);
    seconds.push_back(bench::time_each(1, [&] { expect(call(7) == 7); }));
  }
  return bench::median_of(std::move(seconds));
}

void tell_rate(const Comparison& comparison, const std::string& name) {
  std::printf("  %s: %.3g million/s\n", name.c_str(), 1e-6 / comparison.median(name));
}

void compare_single_tasks(Ours& ours, Peers& peers, int rounds) {
  Comparison comparison("tasks that do nothing, one by one, per task", rounds);
  const std::vector<int> items = ascending(kTasks);
  comparison.add(kProcesses, [&] {
    return time_tasks(kTasks, [&](int i) { return ours.processes.submit(same, i); });
  });
  comparison.add(kApplyAsync, [&] {
    return time_tasks(kTasks, [&](int i) { return ours.pool.apply_async(same, i); });
  });
  comparison.add(kPoolSingle, [&] {
    return time_map(items, [&] { return ours.pool.map({.chunksize = 1}, same, items); });
  });
  comparison.add(kStdThreads, [&] {
    return time_tasks(kTasks, [&](int i) { return peers.threads.submit(same, i); });
  });
  add_tbb(comparison, peers.tbb, kTaskGroup,
          [&] { return time_map(items, [&] { return peers.tbb.run_each(same, items); }); });
  add_python(comparison, peers.python, kPythonSubmit, "submit", 1'000);
  add_python(comparison, peers.python, kPythonApplyAsync, "apply_async", 2'000);
  add_python(comparison, peers.python, kPythonSingle, "map_single", 5'000);
  add_joblib(comparison, peers.python, kLokySingle, "joblib_single", 500);
  comparison.run();
  for (const std::string& name : {kProcesses, kApplyAsync}) tell_rate(comparison, name);
  comparison.ratio(kProcesses, kPythonSubmit, 0.01);
  comparison.ratio(kProcesses, kStdThreads, 1.0);
  comparison.ratio(kProcesses, kTaskGroup);
  comparison.ratio(kProcesses, kLokySingle);
  comparison.ratio(kApplyAsync, kPythonApplyAsync, 0.01);
  comparison.ratio(kApplyAsync, kStdThreads, 1.0);
  tell_rate(comparison, kPoolSingle);
  comparison.ratio(kPoolSingle, kPythonSingle);
}

void compare_map(Ours& ours, Peers& peers, int rounds) {
  Comparison comparison("map of a function that does nothing, per item", rounds);
  const std::vector<int> items = ascending(kItems);
  comparison.add(kPool,
                 [&] { return time_map(items, [&] { return ours.pool.map(same, items); }); });
  comparison.add(kBare, [&] { return time_map(items, [&] { return peers.bare.map(items); }); });
  add_tbb(comparison, peers.tbb, kParallelFor,
          [&] { return time_map(items, [&] { return peers.tbb.map(same, items); }); });
  add_python(comparison, peers.python, kPythonMap, "map", 1'000'000);
  add_joblib(comparison, peers.python, kLoky, "joblib_auto", 20'000);
  comparison.run();
  tell_rate(comparison, kPool);
  comparison.ratio(kPool, kBare, 2.0);
  comparison.ratio(kPool, kParallelFor);
  comparison.ratio(kPool, kPythonMap);
  comparison.ratio(kPool, kLoky);
}

void compare_calls(Ours& ours, Peers& peers, int rounds) {
  Comparison comparison("one task's round trip, workers awake", rounds);
  comparison.add(kApply,
                 [&] { return time_calls([&](int x) { return ours.pool.apply(same, x); }); });
  comparison.add(kProcesses, [&] {
    return time_calls([&](int x) { return ours.processes.submit(same, x).get(); });
  });
  comparison.add(kBare, [&] { return time_calls([&](int x) { return peers.bare.apply(x); }); });
  comparison.add(kStdThreads, [&] {
    return time_calls([&](int x) { return peers.threads.submit(same, x).get(); });
  });
  add_python(comparison, peers.python, kPythonApply, "apply", 300);
  add_python(comparison, peers.python, kPythonSubmit, "submit_get", 300);
  comparison.add("2 us", [] { return 2e-6; });
  comparison.run();
  comparison.ratio(kApply, "2 us", 1.0);
  comparison.ratio(kApply, kBare);
  comparison.ratio(kApply, kStdThreads);
  comparison.ratio(kApply, kPythonApply);
  comparison.ratio(kProcesses, "2 us", 1.0);
  comparison.ratio(kProcesses, kBare);
  comparison.ratio(kProcesses, kPythonSubmit);
}

void compare_calls_asleep(Ours& ours, Peers& peers, int rounds) {
  Comparison comparison("one task's round trip, workers asleep", rounds);
  const auto add = [&](const std::string& name, auto call) {
    comparison.add(name, [call] { return time_calls_asleep(call); });
  };
  add(kApply, [&](int x) { return ours.pool.apply(same, x); });
  add(kProcesses, [&](int x) { return ours.processes.submit(same, x).get(); });
  add(kFutex, [&](int x) {
    peers.echo.call();
    return x;
  });
  add(kBare, [&](int x) { return peers.bare.apply(x); });
  add_python(comparison, peers.python, kPythonApply, "apply_asleep", kCallsAsleep);
  add_python(comparison, peers.python, kPythonSubmit, "submit_get_asleep", kCallsAsleep);
  comparison.run();
  comparison.ratio(kApply, kFutex, 1.5);
  comparison.ratio(kApply, kPythonApply);
  comparison.ratio(kProcesses, kFutex, 1.5);
  comparison.ratio(kProcesses, kPythonSubmit);
}

int ticks_of(double seconds) { return static_cast<int>(seconds * bench::ticks_per_second()); }

// The time that these tasks must take at least, over so many of them.
double perfect_time(const std::vector<int>& items) {
  const double all = std::accumulate(items.begin(), items.end(), 0.0);
  return all / bench::ticks_per_second() / kWorkers / static_cast<double>(items.size());
}

// One in a hundred takes a hundred times as long, at no regular places.
std::vector<int> skewed(std::size_t count, int usual) {
  std::vector<int> items(count, usual);
  std::mt19937 random(1);
  for (int& item : items) {
    if (random() % 100 == 0) item = 100 * usual;
  }
  return items;
}

struct Aims {
  std::optional<double> perfect;
  std::optional<double> parallel_for;  // measured only with an aim
};

void compare_spinning(Ours& ours, Peers& peers, const std::string& title,
                      const std::vector<int>& items, const Aims& aims, int rounds) {
  Comparison comparison(title + ", per task", rounds);
  const double perfect = perfect_time(items);
  double bare = 0;
  comparison.leave_out_if([&] { return bare > kBusyElsewhere * perfect; },
                          "the CPUs were busy with something else");
  comparison.add(
      kPool, [&] { return time_map(items, [&] { return ours.pool.map(bench::spin, items); }); });
  comparison.add(kPerfect, [&] { return perfect; });
  comparison.add(kBare, [&] {
    return bare = time_map(items, [&] { return peers.bare_spinning.map(items); });
  });
  if (aims.parallel_for) {
    add_tbb(comparison, peers.tbb, kParallelFor,
            [&] { return time_map(items, [&] { return peers.tbb.map(bench::spin, items); }); });
  }
  comparison.run();
  std::printf("  efficiency of the pool: %.3f\n",
              comparison.median(kPerfect) / comparison.median(kPool));
  comparison.ratio(kPool, kPerfect, aims.perfect);
  comparison.ratio(kPool, kBare);
  comparison.ratio(kPool, kParallelFor, aims.parallel_for);
}

std::string tasks_on(std::size_t count, std::size_t workers) {
  return std::to_string(count) + " tasks, workers: " + std::to_string(workers);
}

// The cost of a task must not depend on how many there are, nor on how many workers wait for them.
void compare_counts(std::size_t most, int rounds) {
  using Executor = cohort::futures::ProcessPoolExecutor;
  const std::vector<std::size_t> all_workers{1, 2, 8, 64};
  std::vector<std::size_t> counts;
  for (std::size_t count = 1'000; count <= most; count *= 10) counts.push_back(count);

  Comparison comparison("tasks one by one, per task", rounds);
  std::vector<std::unique_ptr<Executor>> executors;
  for (const std::size_t workers : all_workers) {
    executors.emplace_back(new Executor({.max_workers = static_cast<int>(workers)}));
    for (const std::size_t count : counts) {
      comparison.add(tasks_on(count, workers), [count, executor = executors.back().get()] {
        return time_tasks(count, [&](int i) { return executor->submit(same, i); });
      });
    }
  }
  comparison.run();
  bench::Table table("tasks one by one, per task");
  for (const std::size_t workers : all_workers) {
    for (const std::size_t count : counts)
      table.add("workers: " + std::to_string(workers), std::to_string(count) + " tasks", 0,
                comparison.median(tasks_on(count, workers)));
  }
  table.print();
  for (const std::size_t workers : all_workers)
    comparison.ratio(tasks_on(most, workers), tasks_on(10'000, workers));
  comparison.ratio(tasks_on(most, 64), tasks_on(most, 2));
}

void compare_threads(Ours& ours, Peers& peers, int rounds) {
  Comparison comparison("tasks that do nothing, on threads, per task", rounds);
  comparison.add(kThreads, [&] {
    return time_tasks(kTasks, [&](int i) { return ours.threads.submit(same, i); });
  });
  comparison.add(kStdThreads, [&] {
    return time_tasks(kTasks, [&](int i) { return peers.threads.submit(same, i); });
  });
  comparison.run();
  tell_rate(comparison, kThreads);
  comparison.ratio(kThreads, kStdThreads, 1.0);
}

// This program as `--spin COUNT`: prints the seconds of that many tasks of 100 us.
void run_spinning(std::size_t count) {
  cohort::Pool pool(kWorkers);
  const std::vector<int> items(count, ticks_of(100e-6));
  pool.map(bench::spin, std::vector<int>(100, 0));
  const double seconds =
      time_map(items, [&] { return pool.map({.chunksize = 1}, bench::spin, items); });
  std::printf("%.9f\n", seconds);
}

// Per task, in a program of its own; `trace` is empty, or the file that it records to.
double time_program(const std::string& trace, std::size_t count) {
  const std::string program = std::filesystem::read_symlink("/proc/self/exe");
  if (trace.empty()) {
    unsetenv("COHORT_TRACE");
  } else {
    setenv("COHORT_TRACE", trace.c_str(), 1);
  }
  FILE* output = popen(("'" + program + "' --spin " + std::to_string(count)).c_str(), "re");
  unsetenv("COHORT_TRACE");
  if (!output) throw std::runtime_error("no other program can be run");
  double seconds = 0;
  const bool answered = std::fscanf(output, "%lf", &seconds) == 1;
  if (pclose(output) != 0 || !answered) throw std::runtime_error("a program of tasks failed");
  return seconds;
}

void compare_trace(int rounds) {
  constexpr std::size_t kSpins = 2'500;
  const std::string traced = "with COHORT_TRACE";
  const std::string untraced = "without";
  const std::filesystem::path file =
      std::filesystem::temp_directory_path() / ("pool_bench." + std::to_string(getpid()) + ".json");
  Comparison comparison("tasks of 100 us, one by one, per task", rounds);
  std::error_code none;
  time_program(file, 10);
  if (std::filesystem::file_size(file, none) > 0 && !none) {
    comparison.add(traced, [&] { return time_program(file, kSpins); });
  } else {
    comparison.skip(traced, "no trace was written");
  }
  comparison.add(untraced, [&] { return time_program("", kSpins); });
  comparison.run();
  std::filesystem::remove(file, none);
  comparison.ratio(traced, untraced, 1.05);
}

// What the caller and the workers did while `work` ran `times` times, per item of it.
template <class Work>
void tell_use(cohort::Pool& pool, const std::string& what, std::size_t times, std::size_t items,
              Work&& work) {
  const auto before_stats = pool.stats();
  std::vector<bench::CpuUse> before{bench::cpu_use(getpid())};
  for (const auto& worker : before_stats) before.push_back(bench::cpu_use(worker.pid));

  const double seconds = bench::time_each(times, work) * static_cast<double>(times);

  const auto stats = pool.stats();
  std::vector<bench::CpuUse> after{bench::cpu_use(getpid())};
  for (const auto& worker : stats) after.push_back(bench::cpu_use(worker.pid));

  const double all = static_cast<double>(times * items);
  std::printf("\nwhere the time of %s goes: %.1f ns per item\n", what.c_str(), seconds * 1e9 / all);
  std::printf("  %-10s %12s %12s %14s %14s %16s\n", "", "user ns/item", "kernel", "sleeps/1000",
              "yields/1000", "in functions ns");
  for (std::size_t i = 0; i < after.size(); ++i) {
    const bench::CpuUse use = after[i] - before[i];
    std::printf("  %-10s %12.1f %12.1f %14.2f %14.2f",
                i == 0 ? "caller" : ("worker " + std::to_string(i)).c_str(), use.user * 1e9 / all,
                use.kernel * 1e9 / all, static_cast<double>(use.sleeps) * 1e3 / all,
                static_cast<double>(use.preempted) * 1e3 / all);
    if (i > 0) {
      const auto busy = stats[i - 1].busy - before_stats[i - 1].busy;
      std::printf(" %16.1f", static_cast<double>(busy.count()) / all);
    }
    std::printf("\n");
  }
}

// Each takes long enough for the kernel's clock ticks.
void tell_uses(cohort::Pool& pool) {
  const std::vector<int> items = ascending(1'000'000);
  tell_use(pool, "map", 60, items.size(), [&] { pool.map(same, items); });
  tell_use(pool, "map with chunks of 1", 2, items.size(),
           [&] { pool.map({.chunksize = 1}, same, items); });
  tell_use(pool, "apply", 50'000, 1, [&] { pool.apply(same, 7); });
}

// Takes an argument of this name out of the command line.
bool take_flag(int& argc, char** argv, std::string_view name) {
  char** const end = std::remove(argv + 1, argv + argc, name);
  const bool found = end != argv + argc;
  argc = static_cast<int>(end - argv);
  return found;
}

}  // namespace

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  if (argc == 3 && argv[1] == std::string_view("--spin")) {
    run_spinning(std::strtoul(argv[2], nullptr, 10));
    return 0;
  }
  // With tables up to ten million tasks.
  const bool large = take_flag(argc, argv, "--large");
  const int rounds = bench::parse_options(argc, argv).rounds;
  const int few = std::min(rounds, 3);  // where each takes seconds

  Peers peers;
  Ours ours;
  compare_single_tasks(ours, peers, rounds);
  compare_map(ours, peers, rounds);
  compare_calls(ours, peers, rounds);
  compare_calls_asleep(ours, peers, rounds);
  const int hundred_us = ticks_of(100e-6);
  const Aims efficient{1 / 0.95, std::nullopt};
  compare_spinning(ours, peers, "map of 1 us", std::vector<int>(kTasks, ticks_of(1e-6)),
                   {std::nullopt, 2.0}, rounds);
  compare_spinning(ours, peers, "map of 100 us", std::vector<int>(20'000, hundred_us), efficient,
                   few);
  compare_spinning(ours, peers, "map of 100 us, one in 100 takes 10 ms", skewed(5'000, hundred_us),
                   efficient, few);
  compare_counts(large ? 10'000'000 : 1'000'000, std::min(rounds, 2));
  compare_threads(ours, peers, rounds);
  compare_trace(rounds);
  tell_uses(ours.pool);
}
