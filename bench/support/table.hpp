// Times of variants by the size of their messages, in one view.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace bench {

class Table {
 public:
  explicit Table(std::string title) : title_(std::move(title)) {}

  // Large messages, of `size` bytes, get their bandwidth beside the time.
  void add(const std::string& row, const std::string& column, std::size_t size, double seconds);
  void print() const;

 private:
  std::string title_;
  std::vector<std::string> rows_;  // in the order in which they came
  std::vector<std::string> columns_;
  std::map<std::pair<std::string, std::string>, std::string> cells_;
};

}  // namespace bench
