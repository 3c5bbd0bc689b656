// A map of strings in shared memory, filled by several processes; one of them is killed while it
// changes the map. Needs Boost.Container.
#include <boost/container/map.hpp>
#include <boost/container/string.hpp>
#include <cohort/process.hpp>
#include <cohort/shared.hpp>
#include <csignal>
#include <functional>
#include <iostream>
#include <mutex>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

template <class T>
using Allocator = cohort::SharedAllocator<T>;
using String = boost::container::basic_string<char, std::char_traits<char>, Allocator<char>>;
using Counts =
    boost::container::map<String, int, std::less<>, Allocator<std::pair<const String, int>>>;
using SharedCounts = cohort::SharedObject<Counts>;

void add(const SharedCounts& counts, const std::string& word) {
  counts.with_lock(
      [&](Counts& map) { ++map[String(word.data(), word.size(), counts.allocator<char>())]; });
}

void count_words(const SharedCounts& counts, const std::string& text) {
  std::istringstream words(text);
  for (std::string word; words >> word;) add(counts, word);
}

void die_while_counting(const SharedCounts& counts) {
  counts.with_lock([&](Counts& map) {
    map.clear();
    std::raise(SIGKILL);  // with the lock in its hand, and the map half changed
  });
}

// An empty map in the place of one that may be torn, of which nothing is read.
void repair(const SharedCounts& counts) {
  counts.lock().recover();
  counts.reset();
  counts.lock().unlock();
}

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  const SharedCounts counts;
  const std::vector<std::string> texts = {"the quick brown fox", "the lazy dog and the fox",
                                          "the fox runs"};
  const auto count_all = [&] {
    std::vector<cohort::Process> processes;
    for (const auto& text : texts) {
      processes.emplace_back(count_words, counts, text);
      processes.back().start();
    }
    for (auto& process : processes) process.join();
  };

  count_all();
  counts.with_lock([](const Counts& map) {
    for (const auto& [word, count] : map) std::cout << word << ": " << count << std::endl;
  });

  cohort::Process victim(die_while_counting, counts);
  victim.start();
  victim.join();
  std::cout << "a process died of signal " << -victim.exitcode().value() << std::endl;
  try {
    add(counts, "fox");
  } catch (const cohort::LockOwnerDied& death) {
    std::cout << death.what() << std::endl;
    repair(counts);
  }
  count_all();
  std::cout << "counted again: " << counts->size() << " words" << std::endl;
}
