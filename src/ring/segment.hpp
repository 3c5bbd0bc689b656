// What a ring's messages lie in: a chain of circular segments. A ring that never grew has one, in
// its own block.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "arena/owner.hpp"

namespace cohort::ring {

// Records begin at multiples of this many bytes, which places are counted in.
inline constexpr std::size_t kUnit = 8;

// Whether turn `one` of a lock came after turn `other`, of which only so many bits are known.
constexpr bool later_turn(std::uint32_t one, std::uint32_t other, std::uint32_t mask) {
  const std::uint32_t by = (one - other) & mask;
  return by != 0 && by <= mask / 2;
}

// How far a ring was filled or emptied, in one word, so that one compare-and-swap commits it: how
// many messages, and where. Both wrap around: what is in a ring is their difference. `turn` is that
// of the lock of the side whose mark it is, so that who was robbed of it cannot commit any more.
struct Mark {
  std::uint64_t raw = 0;

  static constexpr std::uint32_t kUnits = (1U << 24) - 1;

  constexpr std::uint32_t count() const { return static_cast<std::uint32_t>(raw >> 32); }
  constexpr std::uint8_t turn() const { return static_cast<std::uint8_t>(raw >> 24); }
  constexpr std::uint32_t units() const { return static_cast<std::uint32_t>(raw) & kUnits; }
  // Without the turn: what names a place for as long as messages are there.
  constexpr std::uint64_t place() const { return raw & ~(std::uint64_t{0xFF} << 24); }

  static constexpr Mark of(std::uint32_t count, std::uint8_t turn, std::uint32_t units) {
    return {std::uint64_t{count} << 32 | std::uint64_t{turn} << 24 | (units & kUnits)};
  }
  constexpr Mark with_turn(std::uint32_t now) const {
    return of(count(), static_cast<std::uint8_t>(now), units());
  }
  constexpr Mark after(std::uint32_t messages, std::size_t bytes) const {
    return of(count() + messages, turn(), units() + static_cast<std::uint32_t>(bytes / kUnit));
  }
  friend constexpr bool operator==(Mark, Mark) = default;
};

// Bytes between two marks of one segment.
constexpr std::size_t bytes_between(Mark from, Mark to) {
  return std::size_t{(to.units() - from.units()) & Mark::kUnits} * kUnit;
}
// Messages; negative when `from` is the later one.
constexpr std::int32_t messages_between(Mark from, Mark to) {
  return static_cast<std::int32_t>(to.count() - from.count());
}

// Names a segment, in one word: where it is, how large, the how-manieth, and a turn: of the
// producers' lock when it was added, or, where the consumers are, of theirs. The size stands here,
// too, since the segment's own memory may be something else by the time a slow reader looks at it.
struct SegmentName {
  std::uint64_t raw = 0;

  static constexpr std::uint32_t kTurns = (1U << 12) - 1;

  static constexpr SegmentName of(arena::Offset offset, unsigned log2_bytes, std::uint32_t turn,
                                  std::uint16_t serial) {
    return {std::uint64_t{serial} << 48 | std::uint64_t{turn & kTurns} << 36 | offset / 64 << 6 |
            log2_bytes};
  }
  constexpr arena::Offset offset() const {
    return (raw >> 6 & ((std::uint64_t{1} << 30) - 1)) * 64;
  }
  constexpr std::size_t bytes() const { return std::size_t{1} << (raw & 63); }
  constexpr unsigned log2_bytes() const { return raw & 63; }
  constexpr std::uint32_t turn() const { return static_cast<std::uint32_t>(raw >> 36) & kTurns; }
  constexpr std::uint16_t serial() const { return static_cast<std::uint16_t>(raw >> 48); }
  explicit constexpr operator bool() const { return raw != 0; }
  constexpr SegmentName with_turn(std::uint32_t now) const {
    constexpr std::uint64_t kTurnBits = std::uint64_t{kTurns} << 36;
    return {(raw & ~kTurnBits) | std::uint64_t{now & kTurns} << 36};
  }
  constexpr bool same_segment(SegmentName other) const {
    return with_turn(0).raw == other.with_turn(0).raw;
  }
};

// At a segment's start; its data follows.
struct alignas(64) Segment {
  std::uint64_t magic;
  arena::Offset ring;
  std::atomic<std::uint64_t> next;    // SegmentName of what the messages go on in
  std::atomic<std::uint32_t> end;     // where they do, in units, + 1; set once, before `next`
  std::uint32_t start;                // units: where its own begin
  std::atomic<std::uint32_t> robbed;  // the member that may still write into it, or kSomebody
  std::uint16_t serial;
  std::uint32_t turn;  // of the producers' lock when it was made

  static constexpr std::uint64_t kMagic = 0x746e'656d'6765'732a;
  static constexpr std::uint32_t kSomebody = ~0U;

  std::byte* data() { return reinterpret_cast<std::byte*>(this + 1); }
};

// Before each message.
enum class Form : std::uint32_t { bytes, parcel, skip };
struct Record {
  std::uint32_t length;
  Form form;
};
static_assert(sizeof(Record) == kUnit);

constexpr std::size_t record_bytes(std::size_t length) {
  return sizeof(Record) + (length + kUnit - 1) / kUnit * kUnit;
}

// What the record of a parcel holds.
struct ParcelNote {
  arena::Offset parcel;
  std::uint32_t sender;  // its owner until it is in the ring's hands
  std::uint32_t unused;
};

}  // namespace cohort::ring
