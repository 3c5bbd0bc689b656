// Three stages of processes with bounded queues between them: misspelt lines are made, corrected
// and counted. Correcting is the slowest. So the queue before it is full, and the maker has to
// wait: nothing piles up. In the middle comes a line that kills the corrector which takes it. It is
// gone with that line; the others go on, and another one takes its place.
#include <algorithm>
#include <array>
#include <chrono>
#include <cohort/cohort.hpp>
#include <cohort/queue.hpp>
#include <csignal>
#include <iomanip>
#include <iostream>
#include <iterator>
#include <map>
#include <numeric>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using Words = std::vector<std::string>;
using Counts = std::map<std::string, int>;

constexpr int kLines = 3'000;
const std::string kDeadly = "!";

struct Pipeline {
  cohort::JoinableQueue<std::string> misspelt{256};  // joinable, as it knows what was lost
  cohort::Queue<Words> corrected{256};
  cohort::Value<int> counted{0};
  cohort::Queue<Counts> result;
};

Words split(const std::string& line) {
  std::istringstream in(line);
  return {std::istream_iterator<std::string>(in), {}};
}

const Words kDictionary = split(
    "the quick reader waits while a slow writer thinks and every queue between them stays short "
    "because what nobody can take yet is not even made so memory remains free until more work "
    "comes along from somewhere else where other processes look after their own business or sleep "
    "without harm to anyone who happens to be killed in between as all that he had not touched "
    "lies still at its old place for those that go on with it as though nothing had taken place");

// ---- the stages

void make(const Pipeline& pipeline) {
  std::mt19937 random(1);
  for (int i = 0; i < kLines; ++i) {
    std::string line;
    for (int word = 0; word < 20; ++word) line += kDictionary[random() % kDictionary.size()] + ' ';
    line[random() % line.size()] = 'x';
    pipeline.misspelt.put(i == kLines / 2 ? kDeadly : line);  // waits while the queue is full
  }
  pipeline.misspelt.shutdown();
}

// How many letters have to be added, left out or replaced: V. Levenshtein, 1965.
int distance(std::string_view a, std::string_view b) {
  std::array<int, 64> row{};
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 0; i < a.size(); ++i) {
    int diagonal = std::exchange(row[0], static_cast<int>(i) + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const int replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row[b.size()];
}

std::string nearest(std::string_view word) {
  const auto of = [&](const std::string& known) { return distance(word, known); };
  return *std::ranges::min_element(kDictionary, {}, of);
}

void correct(const Pipeline& pipeline) {
  for (const std::string& line : pipeline.misspelt.drain()) {
    if (line == kDeadly) std::raise(SIGKILL);
    Words words = split(line);
    for (std::string& word : words) word = nearest(word);
    pipeline.corrected.put(words);
    pipeline.misspelt.task_done();
  }
}

void count(const Pipeline& pipeline) {
  Counts counts;
  for (const Words& words : pipeline.corrected.drain()) {
    for (const std::string& word : words) ++counts[word];
    pipeline.counted.fetch_add(1);
  }
  pipeline.result.put(counts);
}

// ---- what is seen of it

std::string bar(std::size_t value, std::size_t most) {
  const std::size_t length = std::min<std::size_t>(20, value * 20 / most);
  return '[' + std::string(length, '#') + std::string(20 - length, ' ') + ']';
}

void show(const Pipeline& pipeline, int lines) {
  std::cout << "to correct " << bar(pipeline.misspelt.size(), pipeline.misspelt.maxsize())
            << "  to count " << bar(pipeline.corrected.size(), pipeline.corrected.maxsize())
            << "  lines done " << bar(static_cast<std::size_t>(lines), kLines / 8) << std::setw(6)
            << lines << std::endl;
}

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  const Pipeline pipeline;
  std::vector<cohort::Process> correctors;
  for (int i = 0; i < 2; ++i) correctors.emplace_back(correct, pipeline).start();
  cohort::Process maker(make, pipeline);
  cohort::Process counter(count, pipeline);
  maker.start();
  counter.start();

  for (int seen = 0; !counter.join_for(std::chrono::milliseconds(50));) {
    const int counted = pipeline.counted.get();
    show(pipeline, counted - std::exchange(seen, counted));
    for (cohort::Process& corrector : correctors) {
      if (corrector.exitcode() != -SIGKILL) continue;
      std::cout << corrector << ": another one takes its place" << std::endl;
      corrector = cohort::Process(correct, pipeline);
      corrector.start();
    }
    if (std::ranges::none_of(correctors, &cohort::Process::is_alive)) pipeline.corrected.shutdown();
  }

  const int counted = pipeline.counted.get();
  std::cout << counted << " lines counted, " << pipeline.misspelt.lost() << " lost of " << kLines
            << std::endl;
  for (const auto& [word, times] : pipeline.result.get()) {
    if (word.size() > 8) std::cout << word << ' ' << times << std::endl;
  }
}
