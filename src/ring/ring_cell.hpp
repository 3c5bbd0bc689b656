// A ring as it lies in the arena.
#pragma once

#include <atomic>
#include <cstdint>

#include "ring/claim.hpp"
#include "ring/segment.hpp"
#include "sync/doorbell.hpp"
#include "sync/seizable_lock.hpp"

namespace cohort::ring {

struct alignas(64) RingCell {
  // Read by all, written rarely.
  std::uint32_t grows;                     // adds segments where others would be full
  std::uint32_t most_messages;             // 0: no bound but the room
  std::uint64_t first_bytes;               // of the segment in this block
  std::atomic<std::uint32_t> closed;       // a Closed; set under put_lock
  std::atomic<std::uint32_t> sent_blocks;  // whether a block ever was in this ring's hands

  // The producers' side.
  alignas(64) sync::SeizableLock put_lock;
  std::atomic<std::uint64_t> put_segment;   // SegmentName
  std::atomic<std::uint64_t> seen_head;     // Mark: a head not later than the true one
  std::atomic<std::uint64_t> handing_over;  // sender << 32 | the parcel that it is putting / 64

  alignas(64) std::atomic<std::uint64_t> tail;  // Mark

  // The consumers' side.
  alignas(64) sync::SeizableLock take_lock;
  std::atomic<std::uint64_t> take_segment;  // SegmentName
  std::atomic<std::uint64_t> seen_tail;     // Mark: a tail not later than the true one
  std::atomic<std::uint64_t> claim;         // Claim: of who took last, where that is counted

  alignas(64) std::atomic<std::uint64_t> head;  // Mark

  alignas(64) sync::Doorbell filled;
  alignas(64) sync::Doorbell drained;
};

// Whether a ring takes messages, and gives away those that it has.
enum class Closed : std::uint32_t { no, for_putting, for_all };

inline Segment& segment_at(arena::Space& space, SegmentName name) {
  return space.cell<Segment>(name.offset());
}
inline arena::Offset first_segment_of(arena::Offset ring_cell) {
  return ring_cell + sizeof(RingCell);
}

}  // namespace cohort::ring
