// What came out of a ring.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "arena/owner.hpp"
#include "cohort/detail/block_ref.hpp"

namespace cohort::ring {

// A received message: its bytes, and the blocks that its handles refer to, which this process
// holds until the message goes.
class Message {
 public:
  Message() = default;
  Message(arena::Offset parcel, std::vector<detail::BlockRef> referred);
  Message(Message&& other) noexcept;
  Message& operator=(Message&& other) noexcept;
  ~Message() { clear(); }

  std::span<const std::byte> bytes() const;
  std::span<const arena::Offset> references() const;

  // Becomes a copy of these bytes, in the memory that it has already.
  void assign(std::span<const std::byte> bytes);
  void clear();
  // The block that the bytes lie in; 0 when they were copied.
  arena::Offset parcel() const noexcept { return parcel_; }
  // Leaves the block, which has no references, to the caller.
  arena::Offset release_parcel() noexcept { return std::exchange(parcel_, 0); }

 private:
  std::vector<std::byte> copied_;
  arena::Offset parcel_ = 0;
  std::uint32_t epoch_ = 0;  // in a child that the host forked, the parcel is not ours
  std::vector<detail::BlockRef> referred_;  // what the parcel refers to
};

}  // namespace cohort::ring
