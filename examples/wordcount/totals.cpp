#include "totals.hpp"

#include <algorithm>
#include <cstdio>
#include <iomanip>
#include <ostream>
#include <utility>

namespace wordcount {
namespace {

constexpr std::size_t kMostDifferences = 5;

void compare(const std::string& what, std::uint64_t expected, std::uint64_t found,
             std::vector<std::string>& lines) {
  if (expected != found) {
    lines.push_back(what + ": " + with_commas(found) + " instead of " + with_commas(expected));
  }
}

}  // namespace

Totals add_up(const std::vector<Count>& counts) {
  Totals totals;
  std::size_t most = 0;
  for (const Count& count : counts) most += count.times.size();
  totals.times.reserve(most);  // one word is in several batches, but room costs little
  for (const Count& count : counts) {
    totals.files += count.files;
    totals.bytes += count.bytes;
    totals.words += count.words;
    std::string_view rest = count.vocabulary;
    for (const std::uint64_t times : count.times) {
      const std::size_t length = rest.find('\n');
      totals.times[rest.substr(0, length)] += times;
      rest.remove_prefix(length + 1);
    }
  }
  return totals;
}

std::vector<std::string> differences(const Totals& expected, const Totals& found) {
  std::vector<std::string> lines;
  compare("files", expected.files, found.files, lines);
  compare("bytes", expected.bytes, found.bytes, lines);
  compare("words", expected.words, found.words, lines);
  compare("different words", expected.times.size(), found.times.size(), lines);
  const auto times_in = [](const Totals& totals, std::string_view word) {
    const auto entry = totals.times.find(word);
    return entry == totals.times.end() ? 0 : entry->second;
  };
  for (const auto& [word, times] : expected.times) {
    if (lines.size() >= kMostDifferences) return lines;
    compare("\"" + std::string(word) + "\"", times, times_in(found, word), lines);
  }
  for (const auto& [word, times] : found.times) {
    if (lines.size() >= kMostDifferences) return lines;
    if (!expected.times.contains(word)) {
      compare("\"" + std::string(word) + "\"", 0, times, lines);
    }
  }
  return lines;
}

void print_top(std::ostream& out, const Totals& totals, std::size_t most) {
  using Entry = std::pair<std::string_view, std::uint64_t>;
  std::vector<Entry> entries(totals.times.begin(), totals.times.end());
  const auto last = entries.begin() + static_cast<std::ptrdiff_t>(std::min(most, entries.size()));
  std::partial_sort(entries.begin(), last, entries.end(), [](const Entry& a, const Entry& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  for (auto entry = entries.begin(); entry != last; ++entry) {
    out << std::setw(14) << with_commas(entry->second) << "  " << entry->first << '\n';
  }
}

std::string with_commas(std::uint64_t number) {
  std::string text = std::to_string(number);
  for (std::size_t i = text.size(); i > 3; i -= 3) text.insert(i - 3, ",");
  return text;
}

std::string in_mebibytes(std::uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MiB", static_cast<double>(bytes) / (1 << 20));
  return text;
}

}  // namespace wordcount
