// What a consumer says it is about to take, where somebody counts who has what: so that after its
// death, or when it is stopped, it is known whether it did.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cohort::ring {

// One word, changed by compare-and-swap: written by whoever has the turn at taking, before its
// commit, and judged by the next one who has it. A new turn changes it, so that who was robbed of
// an older one claims nothing any more.
struct Claim {
  std::uint64_t raw = 0;

  enum class State : std::uint8_t {
    settled,  // or void
    made,     // taken once the head has passed it
    true_,    // taken
  };

  static constexpr std::size_t kMostMessages = 0xFF;
  static constexpr std::uint32_t kPlaces = (1U << 24) - 1;
  static constexpr std::uint32_t kTags = (1U << 11) - 1;

  // Of `count` messages, the first of which has this number. `tag` is the caller's own.
  static constexpr Claim of(std::uint32_t slot, std::uint32_t tag, std::size_t count, bool parcel,
                            std::uint32_t first, std::uint32_t turn) {
    return Claim{std::uint64_t{slot & 0x3FF} << 54 | std::uint64_t{tag & kTags} << 43 |
                 std::uint64_t{count & kMostMessages} << 35 | std::uint64_t{parcel} << 34 |
                 std::uint64_t{turn & 0xFF} << 24 | (first & kPlaces)}
        .with_state(State::made);
  }
  constexpr std::uint32_t slot() const { return static_cast<std::uint32_t>(raw >> 54); }
  constexpr std::uint32_t tag() const { return static_cast<std::uint32_t>(raw >> 43) & kTags; }
  constexpr std::size_t count() const { return raw >> 35 & kMostMessages; }
  constexpr bool parcel() const { return (raw >> 34 & 1) != 0; }
  constexpr State state() const { return static_cast<State>(raw >> 32 & 3); }
  constexpr std::uint8_t turn() const { return static_cast<std::uint8_t>(raw >> 24); }
  constexpr std::uint32_t first() const { return static_cast<std::uint32_t>(raw) & kPlaces; }

  constexpr Claim with_state(State state) const {
    return {(raw & ~(std::uint64_t{3} << 32)) | static_cast<std::uint64_t>(state) << 32};
  }
  constexpr Claim with_turn(std::uint32_t turn) const {
    return {(raw & ~(std::uint64_t{0xFF} << 24)) | std::uint64_t{turn & 0xFF} << 24};
  }
  // Whether a head of this number has passed its first message.
  constexpr bool passed_by(std::uint32_t head) const {
    const std::uint32_t by = (head - first()) & kPlaces;
    return by != 0 && by <= kPlaces / 2;
  }
  // The same claim, however it was judged, and in whose turn.
  constexpr bool same_claim(Claim other) const {
    return with_state({}).with_turn(0).raw == other.with_state({}).with_turn(0).raw;
  }
  friend constexpr bool operator==(Claim, Claim) = default;
};

}  // namespace cohort::ring
