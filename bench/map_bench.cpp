// A pool's map of a function that does nothing, over a million ints with two workers, beside a bare
// loop that copies them to two processes and back, and Python's; the round trip of a single call;
// and where the time goes.
#include <unistd.h>

#include <cohort/cohort.hpp>
#include <cstddef>
#include <cstdio>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/bare_workers.hpp"
#include "support/comparison.hpp"
#include "support/cpu_use.hpp"
#include "support/python_peer.hpp"

namespace {

constexpr std::size_t kItems = 1'000'000;
constexpr std::size_t kCalls = 2'000;
constexpr std::size_t kPythonItems = 200'000;

int same(int x) { return x; }

void expect(bool right) {
  if (!right) throw std::runtime_error("a wrong result");
}

void compare_map(cohort::Pool& pool, bench::BareWorkers& bare, bench::PythonPeer& python,
                 const std::vector<int>& items, int rounds) {
  bench::Comparison comparison("map, per item", rounds);
  const auto per_item = [&](auto&& map) {
    return bench::time_each(1, [&] { expect(map() == items); }) / static_cast<double>(kItems);
  };
  comparison.add("pool", [&] { return per_item([&] { return pool.map(same, items); }); });
  comparison.add("bare copies", [&] { return per_item([&] { return bare.map(items); }); });
  for (const std::size_t chunk : {1UL, 16UL, 64UL, 1024UL}) {
    comparison.add("pool, chunks of " + std::to_string(chunk), [&, chunk] {
      return per_item([&] { return pool.map({.chunksize = chunk}, same, items); });
    });
  }
  if (python.missing().empty()) {
    comparison.add("python", [&] { return python.ask("map " + std::to_string(kPythonItems)); });
  } else {
    comparison.skip("python", python.missing());
  }
  comparison.run();
  std::printf("  %.3g million items/s\n", 1e-6 / comparison.median("pool"));
  comparison.ratio("pool", "bare copies");
  comparison.ratio("pool", "python");
}

void compare_apply(cohort::Pool& pool, bench::BareWorkers& bare, bench::PythonPeer& python,
                   int rounds) {
  bench::Comparison comparison("apply, round trip", rounds);
  comparison.add(
      "pool", [&] { return bench::time_each(kCalls, [&] { expect(pool.apply(same, 7) == 7); }); });
  comparison.add("bare signal and copy",
                 [&] { return bench::time_each(kCalls, [&] { expect(bare.apply(7) == 7); }); });
  if (python.missing().empty()) {
    comparison.add("python", [&] { return python.ask("apply " + std::to_string(kCalls)); });
  } else {
    comparison.skip("python", python.missing());
  }
  comparison.run();
  comparison.ratio("pool", "bare signal and copy");
  comparison.ratio("pool", "python");
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

}  // namespace

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  const bench::Options options = bench::parse_options(argc, argv);
  bench::BareWorkers bare(same, kItems);
  bench::PythonPeer python("pool.py");
  cohort::Pool pool(2);
  std::vector<int> items(kItems);
  std::iota(items.begin(), items.end(), 0);

  compare_map(pool, bare, python, items, options.rounds);
  compare_apply(pool, bare, python, options.rounds);
  // Long enough for the kernel's clock ticks.
  tell_use(pool, "map", 200, kItems, [&] { pool.map(same, items); });
  tell_use(pool, "map with chunks of 1", 5, kItems,
           [&] { pool.map({.chunksize = 1}, same, items); });
  tell_use(pool, "apply", 50'000, 1, [&] { pool.apply(same, 7); });
}
