// The counts of all batches together, compared and printed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "counting.hpp"

namespace wordcount {

struct Totals {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::uint64_t words = 0;
  std::unordered_map<std::string_view, std::uint64_t> times;  // of each word
};

// The words of the result are views into `counts`, which must live as long.
Totals add_up(const std::vector<Count>& counts);

// A line for each difference, the first few of them; empty when there is none.
std::vector<std::string> differences(const Totals& expected, const Totals& found);

// The most frequent words, one a line, the most frequent first.
void print_top(std::ostream& out, const Totals& totals, std::size_t most);

std::string with_commas(std::uint64_t number);
std::string in_mebibytes(std::uint64_t bytes);  // "12.3 MiB"

}  // namespace wordcount
