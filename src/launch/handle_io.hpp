// Writing and reading messages that carry handles.
#pragma once

#include <cstdint>
#include <vector>

#include "cohort/detail/memory_io.hpp"

namespace cohort::launch {

// Collects the blocks that handles in the message refer to.
class HandleWriter final : public detail::HeapWriter {
 public:
  void attach(std::uint64_t block) override {
    if (block) blocks.push_back(block);
  }
  std::vector<std::uint64_t> blocks;
};

// For messages whose references this process holds already.
class HandleReader final : public detail::Reader {
 public:
  using Reader::Reader;
  void adopt(std::uint64_t) override {}
};

}  // namespace cohort::launch
