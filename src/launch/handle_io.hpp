// Writing and reading messages that carry handles.
#pragma once

#include <cstdint>
#include <vector>

#include "cohort/detail/block_ref.hpp"
#include "cohort/detail/memory_io.hpp"

namespace cohort::launch {

// Collects the blocks that handles in the message refer to, and holds them: what was written may be
// gone before the message is sent.
class HandleWriter final : public detail::HeapWriter {
 public:
  void attach(std::uint64_t block) override {
    if (!block) return;
    blocks.push_back(block);
    held_.push_back(detail::BlockRef::adopt(block));
  }
  // Forgets what was written.
  void restart() {
    clear();
    blocks.clear();
    held_.clear();
  }
  std::vector<std::uint64_t> blocks;

 private:
  std::vector<detail::BlockRef> held_;
};

// For messages whose references this process holds already.
class HandleReader final : public detail::Reader {
 public:
  using Reader::Reader;
  void adopt(std::uint64_t) override {}
};

}  // namespace cohort::launch
