// The producers' side of a ring: its lock, and what is done under it.
#pragma once

#include <cstddef>
#include <cstring>
#include <optional>
#include <span>

#include "ring/copy.hpp"
#include "ring/ring_cell.hpp"

namespace cohort::ring {

// One turn at putting. Messages are written behind the tail and become part of the ring by commit,
// all of them or none.
//
// Whoever is stopped in its turn is robbed of it: the next one makes its commit fail, by the turn
// in the tail, and goes on in a new segment, since the old one may still be written to.
class Producer {
 public:
  Producer(arena::Space& space, RingCell& ring, arena::Offset block);

  // False: robbed already, try again.
  bool usable() const noexcept { return usable_; }
  Closed closed() const noexcept {
    return static_cast<Closed>(ring_.closed.load(std::memory_order_relaxed));
  }
  Mark tail() const noexcept { return tail_; }

  // Where a message of this length goes if those before it end at `at`; empty: there is no room.
  std::optional<Mark> room_at(Mark at, std::size_t length) {
    const std::size_t needed = record_bytes(length);
    if (needed > left_at(at) || !fits(at, needed) || !below_bound(at)) [[unlikely]]
      return room_further_on(at, needed);
    return at;
  }
  // Adds a segment with room for it. Answers false when the ring is bounded otherwise.
  bool grow(std::size_t length);
  void write(Mark at, Form form, std::span<const std::byte> bytes) {
    std::byte* to = data_at(at);
    const Record record{static_cast<std::uint32_t>(bytes.size()), form};
    std::memcpy(to, &record, sizeof record);
    copy_bytes(to + sizeof record, bytes.data(), bytes.size());
  }
  // Whether the turn was lost: what was found, no room for instance, says nothing then.
  bool lost();
  // Answers false, with nothing put, when the turn was lost.
  bool commit(Mark end);

  // A parcel from this member's into the ring's hands, for a record at this place, and back when
  // the commit failed; false: it is gone.
  void hand_over(arena::Offset parcel, Mark at);
  void handed_over(arena::Offset parcel);
  bool take_back(arena::Offset parcel, Mark at);

 private:
  std::size_t capacity() const noexcept { return segment_.bytes(); }
  std::size_t index_of(Mark mark) const {
    return std::size_t{mark.units()} * kUnit & (capacity() - 1);
  }
  std::size_t left_at(Mark mark) const { return capacity() - index_of(mark); }
  std::byte* data_at(Mark mark) const {
    return segment_at(space_, segment_).data() + index_of(mark);
  }
  bool fits(Mark at, std::size_t bytes) const {
    return bytes_between(seen_head_, at) + bytes <= capacity();
  }
  bool below_bound(Mark at) const {
    return ring_.most_messages == 0 ||
           messages_between(seen_head_, at) < static_cast<std::int32_t>(ring_.most_messages);
  }
  std::optional<Mark> room_further_on(Mark at, std::size_t needed);
  bool load_marks();
  std::uint64_t note_of(arena::Offset parcel) const;
  void look_at_head();
  SegmentName last_segment();
  void add_segment(unsigned log2_bytes);
  void mend();
  void abandon_segment(arena::MemberId robbed);
  void leave_abandoned();

  arena::Space& space_;
  RingCell& ring_;
  const arena::Offset block_;
  sync::Seizable turn_;
  bool usable_ = true;
  Mark tail_;
  Mark seen_head_;
  SegmentName segment_;
};

}  // namespace cohort::ring
