// Who holds a block of the arena: one 32-bit word beside each block, changed by one
// compare-and-swap.
#pragma once

#include <cstdint>

namespace cohort::arena {

// A place in the arena, in bytes from its start: means the same in every member. 0 is "none".
using Offset = std::uint64_t;

inline constexpr std::uint32_t kMaxMembers = 1024;
inline constexpr std::uint32_t kSlotBits = 10;
inline constexpr std::uint32_t kGenerationMask = (1U << 20) - 1;

// A member of the family: its slot and the slot's generation, which tells a dead member from the
// next one in the same slot. Raw 0 is nobody.
struct MemberId {
  std::uint32_t raw = 0;

  static constexpr MemberId of(std::uint32_t slot, std::uint32_t generation) {
    return {((generation & kGenerationMask) << kSlotBits) | slot};
  }
  constexpr std::uint32_t slot() const { return raw & (kMaxMembers - 1); }
  constexpr std::uint32_t generation() const { return raw >> kSlotBits; }
  explicit constexpr operator bool() const { return raw != 0; }
  friend constexpr bool operator==(MemberId, MemberId) = default;
};

enum class Hold : std::uint32_t {
  owned,       // by one member; goes when that member dies
  shared,      // by the members whose bits are set in the block's header
  finalizing,  // a member is releasing what a shared block refers to; redone when that member dies
  transit,     // by a message in a ring, named by the ring's offset
};

// The owner word: raw 0 is a free block.
struct Owner {
  std::uint32_t raw = 0;

  static constexpr Owner member(MemberId id) { return {id.raw}; }
  // `tag` tells a block from the next one in the same place.
  static constexpr Owner shared(std::uint32_t tag) { return make(Hold::shared, tag); }
  static constexpr Owner finalizing(MemberId id) { return make(Hold::finalizing, id.raw); }
  static constexpr Owner transit(Offset ring) {
    return make(Hold::transit, static_cast<std::uint32_t>(ring / 64));
  }

  constexpr Hold hold() const { return static_cast<Hold>(raw >> 30); }
  constexpr MemberId id() const { return {raw & kPayload}; }
  constexpr Offset ring() const { return Offset{raw & kPayload} * 64; }
  constexpr bool is(Hold kind) const { return raw != 0 && hold() == kind; }
  constexpr bool names(MemberId one) const {
    return (hold() == Hold::owned || hold() == Hold::finalizing) && id() == one;
  }
  explicit constexpr operator bool() const { return raw != 0; }
  friend constexpr bool operator==(Owner, Owner) = default;

 private:
  static constexpr std::uint32_t kPayload = (1U << 30) - 1;
  static constexpr Owner make(Hold kind, std::uint32_t payload) {
    return {(static_cast<std::uint32_t>(kind) << 30) | (payload & kPayload)};
  }
};

}  // namespace cohort::arena
