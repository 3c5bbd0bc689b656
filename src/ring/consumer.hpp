// The consumers' side of a ring: its lock, and what is done under it.
#pragma once

#include <cstddef>
#include <cstring>
#include <optional>
#include <span>

#include "ring/message.hpp"
#include "ring/ring_cell.hpp"

namespace cohort::ring {

// One turn at taking. Messages are copied out from the head on and leave the ring by commit, all of
// them or none.
//
// Whoever is stopped in its turn is robbed of it. What it reads then may be anything: so nothing is
// believed before the commit, which fails, and every place that is read lies in the arena.
class Consumer {
 public:
  Consumer(arena::Space& space, RingCell& ring, arena::Offset block);

  struct Found {
    Mark at;
    Mark next;  // the place behind it
    Form form = Form::bytes;
    std::span<const std::byte> bytes;
  };

  Mark head() const noexcept { return head_; }
  // The message at `at`, which moves past what was skipped. Empty when there is none, or when what
  // was found so far has to be committed first.
  std::optional<Found> find(Mark& at) {
    if (messages_between(at, seen_tail_) > 0 && !segment().next.load(std::memory_order_acquire))
        [[likely]] {
      const std::size_t index = index_of(at);
      Record record;
      std::memcpy(&record, segment().data() + index, sizeof record);
      if (record.form != Form::skip && sane(record, index)) [[likely]]
        return found(at, record, index);
    }
    return find_further_on(at);
  }
  // Whether a parcel that was found is still there to be taken.
  bool is_there(const Found& found);
  // Takes a parcel that was found. Empty when a consumer that was killed or robbed has it, or when
  // nobody has: then it is gone.
  std::optional<Message> take_parcel(const Found& found);
  // Says who is about to take so many, from the head on, or this parcel. `slot`, `tag`: as in the
  // claim. Answers false when the turn was lost: then nothing may be taken.
  bool claim(std::uint32_t slot, std::uint32_t tag, std::size_t count, const Found* parcel);
  // Takes the claim back.
  void unclaim();
  Claim claimed() const noexcept { return claim_; }
  // Answers false, with nothing taken, when the turn was lost.
  bool commit(Mark end);
  // Whether the turn was lost, as far as is known.
  bool robbed() const noexcept { return robbed_; }

 private:
  Segment& segment() const { return segment_at(space_, segment_); }
  std::size_t index_of(Mark mark) const {
    return std::size_t{mark.units()} * kUnit & (segment_.bytes() - 1);
  }
  bool sane(Record record, std::size_t index) const {
    const std::size_t left = segment_.bytes() - index;
    if (record.form == Form::skip) return index != 0 && record_bytes(record.length) == left;
    return record_bytes(record.length) <= left && record.form < Form::skip;
  }
  Found found(Mark at, Record record, std::size_t index) const {
    return {at,
            at.after(1, record_bytes(record.length)),
            record.form,
            {segment().data() + index + sizeof record, record.length}};
  }
  void begin_turn();
  void judge_claim();
  bool came_true(Claim claim);
  bool was_taken(const Found& found, Claim claim);
  std::optional<Found> find_further_on(Mark& at);
  void next_segment(std::uint64_t next);
  void mend();

  arena::Space& space_;
  RingCell& ring_;
  const arena::Offset block_;
  sync::Seizable turn_;
  bool robbed_ = false;
  Mark head_;
  Mark seen_tail_;
  SegmentName segment_;
  Claim claim_;
};

}  // namespace cohort::ring
