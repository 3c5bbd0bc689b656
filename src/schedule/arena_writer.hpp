// Serializes into a small given buffer, and into a block of the arena when that is too small.
#pragma once

#include <span>
#include <utility>
#include <vector>

#include "arena/space.hpp"
#include "cohort/detail/block_ref.hpp"
#include "cohort/detail/memory_io.hpp"

namespace cohort::schedule {

class ArenaWriter final : public detail::Writer {
 public:
  // `small` is aligned to 64 bytes, as blocks are.
  ArenaWriter(arena::Space& space, std::span<std::byte> small);
  // Gives the block back unless it was taken.
  ~ArenaWriter();

  // Held from here on: the handle that was written may be gone before it is sent.
  void attach(std::uint64_t block) override {
    if (block) references_.push_back(detail::BlockRef::adopt(block));
  }
  // The blocks that handles written since the last call refer to.
  std::vector<detail::BlockRef> take_references() { return std::exchange(references_, {}); }

  // Forgets what was written from `size` on.
  void truncate(std::size_t size) noexcept { cursor_ = begin_ + size; }
  std::byte* at(std::size_t position) const noexcept { return begin_ + position; }
  void pad_to(std::size_t multiple);

  // 0 while everything is in the small buffer. Owned by this process.
  arena::Offset block() const noexcept { return block_; }
  arena::Offset take_block() noexcept { return std::exchange(block_, 0); }
  // When set, every new block is stored here, before the one it replaces is given back.
  void publish_block_in(std::atomic<std::uint64_t>& place) { published_ = &place; }

 private:
  void grow(std::size_t at_least) override;

  arena::Space& space_;
  arena::Offset block_ = 0;
  std::atomic<std::uint64_t>* published_ = nullptr;
  std::vector<detail::BlockRef> references_;
};

}  // namespace cohort::schedule
