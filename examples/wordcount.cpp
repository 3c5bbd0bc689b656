// Counts the words and identifiers of a tree of text files, first in one process and then in a pool
// of them, and shows what that gains. With --kill N the pool's workers get killed while they count;
// the counts must be the same all the same.
//
//   wordcount [PATH] [--kill N] [--processes N] [--top N]
//
// Exit codes: 0 all counts agree, 1 they do not or nothing could be counted, 2 bad arguments.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cohort/cohort.hpp>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "wordcount/counting.hpp"
#include "wordcount/killer.hpp"
#include "wordcount/totals.hpp"

namespace {

using namespace wordcount;
using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

struct Options {
  std::filesystem::path path = "/usr/include";
  unsigned kills = 0;
  std::size_t processes = cohort::cpu_count();
  std::size_t top = 20;
};

// Batches per process: enough for the last ones to end together and for a kill to cost little, few
// enough for most words to be counted where they are found.
constexpr std::size_t kBatchesPerProcess = 32;
// A tree may be counted faster than workers can be killed.
constexpr Seconds kLongestKilling{60};

std::string plural(std::size_t number, const std::string& noun) {
  return with_commas(number) + " " + noun + (number == 1 ? "" : "s");
}

std::string percent(std::uint64_t part, std::uint64_t whole) {
  return std::to_string(whole == 0 ? 0 : (100 * part + whole / 2) / whole) + " %";
}

void print_time(const std::string& what, Seconds time, std::uint64_t bytes, Seconds reference) {
  std::printf(
      "%-14s %8.3f s %10s/s", what.c_str(), time.count(),
      in_mebibytes(static_cast<std::uint64_t>(static_cast<double>(bytes) / time.count())).c_str());
  if (time != reference) std::printf("   %.2f times as fast", reference / time);
  std::printf("\n");
  std::fflush(stdout);
}

Tree find_files(const Options& options) {
  Tree tree = find_text_files(options.path);
  std::cout << options.path.string() << ": " << plural(tree.files.size(), "text file") << ", "
            << in_mebibytes(tree.bytes);
  if (tree.binary != 0)
    std::cout << " (and " << plural(tree.binary, "binary file") << ", left out)";
  std::cout << std::endl;
  if (!tree.unreadable.empty()) {
    std::cerr << "wordcount: cannot read " << tree.unreadable.front();
    if (tree.unreadable.size() > 1) {
      std::cerr << ", nor " << plural(tree.unreadable.size() - 1, "other") << " of this tree";
    }
    std::cerr << std::endl;
  }
  return tree;
}

std::vector<Count> count_in_pool(cohort::Pool& pool, const std::vector<Batch>& batches) {
  return pool.map({.chunksize = 1, .progress = true}, count_words, batches);
}

// Whether the counts are those of the reference; if not, says how they differ. Batches of which a
// file vanished meanwhile are counted anew for the reference.
bool agree(std::vector<Count>& reference, const std::vector<Count>& counts,
           const std::vector<Batch>& batches) {
  for (std::size_t i = 0; i < batches.size(); ++i) {
    if (counts[i].unread == reference[i].unread) continue;
    std::cerr << "wordcount: files changed meanwhile, such as "
              << (counts[i].unread.empty() ? reference : counts)[i].unread.front() << std::endl;
    reference[i] = count_words(batches[i]);
  }
  const std::vector<std::string> lines = differences(add_up(reference), add_up(counts));
  if (!lines.empty()) std::cout << "THE COUNTS DIFFER" << std::endl;
  for (const std::string& line : lines) std::cout << "  " << line << std::endl;
  return lines.empty();
}

void print_shares(cohort::Pool& pool) {
  std::uint64_t all = 0;
  for (const auto& worker : pool.stats()) all += worker.tasks;
  for (const auto& worker : pool.stats()) {
    std::cout << "  worker " << worker.pid << ": " << with_commas(worker.tasks)
              << (worker.tasks == 1 ? " batch" : " batches") << ", " << percent(worker.tasks, all)
              << std::endl;
  }
}

bool count_while_killing(cohort::Pool& pool, const Options& options, Seconds expected,
                         const std::vector<Batch>& batches, std::vector<Count>& reference) {
  Killer killer(pool, options.kills, expected / (options.kills + 1.0));
  const auto begin = Clock::now();
  std::size_t rounds = 0;
  while (!killer.done() && Clock::now() - begin < kLongestKilling) {
    std::vector<Count> counts;
    const std::size_t killed = killer.kill_during([&] { counts = count_in_pool(pool, batches); });
    ++rounds;
    if (!agree(reference, counts, batches)) return false;
    if (killed == 0) continue;
    std::cout << "count " << rounds << ": " << plural(killed, "worker")
              << " killed, the counts agree" << std::endl;
  }
  std::cout << plural(killer.killed(), "worker") << " killed in " << plural(rounds, "count");
  if (!killer.done()) std::cout << "; not all of the " << options.kills << " within a minute";
  std::cout << std::endl;
  return true;
}

int run(const Options& options) {
  const Tree tree = find_files(options);
  if (tree.files.empty()) {
    std::cerr << "wordcount: no readable text file in " << options.path.string() << std::endl;
    return 1;
  }
  const std::vector<Batch> batches = make_batches(tree, kBatchesPerProcess * options.processes);

  auto begin = Clock::now();
  std::vector<Count> reference;
  for (const Batch& batch : batches) reference.push_back(count_words(batch));
  const Totals totals = add_up(reference);
  const Seconds alone = Clock::now() - begin;

  print_top(std::cout, totals, options.top);
  std::cout << plural(totals.files, "file") << ", " << plural(totals.bytes, "byte") << ", "
            << plural(totals.words, "word") << ", " << with_commas(totals.times.size())
            << " different\n\n";
  print_time("1 process", alone, totals.bytes, alone);

  // A batch that is lost with its worker is counted again, as often as workers are killed.
  cohort::Pool pool(
      {.processes = static_cast<long long>(options.processes), .retries = options.kills});
  begin = Clock::now();
  const std::vector<Count> counts = count_in_pool(pool, batches);
  add_up(counts);
  const Seconds together = Clock::now() - begin;
  print_time(plural(options.processes, "worker"), together, totals.bytes, alone);
  print_shares(pool);
  if (!agree(reference, counts, batches)) return 1;
  std::cout << "the counts agree" << std::endl;
  if (options.kills == 0) return 0;
  std::cout << std::endl;
  return count_while_killing(pool, options, together, batches, reference) ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  Options options;
  CLI::App app("Counts the words of a tree of text files, in one process and in many.",
               "wordcount");
  app.add_option("path", options.path, "a directory or a file")
      ->check(CLI::ExistingPath)
      ->capture_default_str();
  app.add_option("--kill", options.kills, "kill so many workers while they count")
      ->check(CLI::Range(0, 100'000));
  app.add_option("--processes", options.processes, "workers; default: one for each CPU")
      ->check(CLI::Range(1, 512));
  app.add_option("--top", options.top, "print so many words")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  app.failure_message([](const CLI::App*, const CLI::Error& error) {
    return "wordcount: " + std::string(error.what()) + " (see wordcount --help)\n";
  });
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  try {
    return run(options);
  } catch (const std::exception& error) {
    std::cerr << "wordcount: " << error.what() << std::endl;
    return 1;
  }
}
