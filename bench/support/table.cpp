#include "table.hpp"

#include <algorithm>
#include <cstdio>

#include "comparison.hpp"

namespace bench {

void Table::add(const std::string& row, const std::string& column, std::size_t size,
                double seconds) {
  if (std::ranges::count(rows_, row) == 0) rows_.push_back(row);
  if (std::ranges::count(columns_, column) == 0) columns_.push_back(column);
  std::string text = format_time(seconds);
  if (size >= 64 << 10) {
    char speed[32];
    std::snprintf(speed, sizeof speed, " (%.3g GB/s)", static_cast<double>(size) / seconds / 1e9);
    text += speed;
  }
  cells_[{row, column}] = text;
}

void Table::print() const {
  std::printf("\n%s\n  %-34s", title_.c_str(), "");
  for (const std::string& column : columns_) std::printf(" %20s", column.c_str());
  for (const std::string& row : rows_) {
    std::printf("\n  %-34s", row.c_str());
    for (const std::string& column : columns_) {
      const auto cell = cells_.find({row, column});
      std::printf(" %20s", cell == cells_.end() ? "-" : cell->second.c_str());
    }
  }
  std::printf("\n");
  std::fflush(stdout);
}

}  // namespace bench
