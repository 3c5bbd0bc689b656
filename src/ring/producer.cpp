#include "ring/producer.hpp"

#include <algorithm>
#include <bit>
#include <new>

#include "arena/shared_block.hpp"
#include "os/step.hpp"
#include "ring/stray_segments.hpp"

namespace cohort::ring {

using arena::MemberId;
using arena::Offset;
using arena::Owner;
using sync::SeizableLock;

namespace {

// Large enough that their upkeep is nothing, small enough that what an empty ring keeps is little.
constexpr unsigned kLargestLog2 = 20;

}  // namespace

Producer::Producer(arena::Space& space, RingCell& ring, Offset block)
    : space_(space), ring_(ring), block_(block), turn_(ring.put_lock, space) {
  if (turn_.taken() == SeizableLock::Taken::owner_died) last_segment();
  if (turn_.taken() == SeizableLock::Taken::seized) abandon_segment(turn_.robbed());
  while (!load_marks()) {
    // Either this turn is over, or who began it was killed before the old segment was left.
    usable_ = turn_.still_held();
    if (!usable_) return;
    abandon_segment({});
  }
  // Last: whom an earlier turn robbed can link nothing any more of what is given back then.
  if (turn_.taken() == SeizableLock::Taken::owner_died) mend();
  seen_head_.raw = ring.seen_head.load(std::memory_order_relaxed);
  if (seen_head_.turn() != tail_.turn()) look_at_head();
}

// Answers whether both are of this turn.
bool Producer::load_marks() {
  tail_.raw = ring_.tail.load(std::memory_order_relaxed);
  segment_.raw = ring_.put_segment.load(std::memory_order_relaxed);
  return tail_.turn() == static_cast<std::uint8_t>(turn_.turn()) &&
         segment_.turn() == (turn_.turn() & SegmentName::kTurns);
}

// The consumers' mark, or the segment's start while they are in an older one.
void Producer::look_at_head() {
  const SegmentName taking{ring_.take_segment.load(std::memory_order_acquire)};
  const bool here = taking.same_segment(segment_);
  Mark head{ring_.head.load(std::memory_order_acquire)};
  const std::uint32_t units = here ? head.units() : segment_at(space_, segment_).start;
  seen_head_ = Mark::of(head.count(), tail_.turn(), units);
  ring_.seen_head.store(seen_head_.raw, std::memory_order_relaxed);
}

// Past the rest of the segment when it does not fit there, after another look at the head.
std::optional<Mark> Producer::room_further_on(Mark at, std::size_t needed) {
  const std::size_t skip = needed > left_at(at) ? left_at(at) : 0;
  if (!fits(at, skip + needed) || !below_bound(at)) {
    look_at_head();
    if (!fits(at, skip + needed) || !below_bound(at)) return std::nullopt;
  }
  if (skip) {
    const Record record{static_cast<std::uint32_t>(skip - sizeof(Record)), Form::skip};
    std::memcpy(data_at(at), &record, sizeof record);
  }
  return at.after(0, skip);
}

bool Producer::commit(Mark end) {
  os::step("ring.written");
  std::uint64_t seen = tail_.raw;
  if (!ring_.tail.compare_exchange_strong(seen, end.raw, std::memory_order_seq_cst)) {
    leave_abandoned();
    return false;
  }
  tail_ = end;
  os::step("ring.committed");
  return true;
}

// Before the commit, so that the parcel outlives its sender from then on. A sender that is killed
// in between is mended by the next one; should it be robbed first, the ring's end returns the
// parcel.
void Producer::hand_over(Offset parcel, Mark at) {
  ring_.sent_blocks.store(1, std::memory_order_relaxed);
  ring_.handing_over.store(note_of(parcel));
  os::step("ring.handing_over");
  arena::give_to_ring(space_, parcel, block_, at.place());
  os::step("ring.handed_over");
}

void Producer::handed_over(Offset parcel) {
  std::uint64_t mine = note_of(parcel);
  ring_.handing_over.compare_exchange_strong(mine, 0);
}

std::uint64_t Producer::note_of(Offset parcel) const {
  return std::uint64_t{space_.self().raw} << 32 | parcel / 64;
}

bool Producer::lost() {
  if (turn_.still_held()) return false;
  leave_abandoned();
  return true;
}

bool Producer::take_back(Offset parcel, Mark at) {
  return arena::take_from_ring(space_, parcel, block_, at.place());
}

bool Producer::grow(std::size_t length) {
  if (!ring_.grows || !below_bound(tail_)) return false;
  const auto enough = static_cast<unsigned>(std::bit_width(record_bytes(length) * 4 - 1));
  const unsigned doubled = std::min(segment_.log2_bytes() + 1, kLargestLog2);
  add_segment(std::max(enough, doubled));
  return true;
}

// The last of the chain, which put_segment may lag behind when a producer was killed. A consumer
// that passes a segment moves put_segment first: so one that it still names was not given back.
SegmentName Producer::last_segment() {
  for (;;) {
    std::uint64_t seen = ring_.put_segment.load(std::memory_order_acquire);
    Segment& segment = segment_at(space_, {seen});
    std::uint64_t next = segment.next.load(std::memory_order_acquire);
    if (ring_.put_segment.load(std::memory_order_acquire) != seen) continue;
    if (next == 0) return {seen};
    ring_.put_segment.compare_exchange_strong(seen, next, std::memory_order_acq_rel);
  }
}

// Links a new segment behind the last one, from the tail on. Not when this turn is over: the next
// one links its own before it commits anything, so what is found to be of ours is where this goes.
void Producer::add_segment(unsigned log2_bytes) {
  const SegmentName last = last_segment();
  const Mark tail{ring_.tail.load(std::memory_order_acquire)};
  if (tail.turn() != static_cast<std::uint8_t>(turn_.turn()) ||
      later_turn(last.turn(), turn_.turn(), SegmentName::kTurns))
    return;
  const MemberId me = space_.self();
  const std::size_t bytes = sizeof(Segment) + (std::size_t{1} << log2_bytes);
  const Offset place = space_.heap().allocate(bytes, me, arena::Purpose::message);
  auto serial = static_cast<std::uint16_t>(last.serial() + 1);
  auto* fresh = ::new (space_.at(place)) Segment{};
  fresh->ring = block_;
  fresh->start = tail.units();
  fresh->serial = serial;
  fresh->turn = turn_.turn();
  fresh->magic = Segment::kMagic;
  const auto name = SegmentName::of(place, log2_bytes, turn_.turn(), serial);
  ring_.sent_blocks.store(1, std::memory_order_relaxed);
  space_.heap().change_owner(place, Owner::member(me), Owner::transit(block_));
  os::step("ring.segment_made");
  Segment& before = segment_at(space_, last);
  // Who was robbed may be late, and its tail another's: but then this is set already.
  std::uint32_t unset = 0;
  before.end.compare_exchange_strong(unset, tail.units() + 1, std::memory_order_relaxed);
  std::uint64_t none = 0;
  // Where another one got there first, this turn is over: the commit will say so. What was made is
  // returned with other strays.
  if (!before.next.compare_exchange_strong(none, name.raw, std::memory_order_acq_rel)) return;
  os::step("ring.segment_linked");
  std::uint64_t seen = last.raw;
  ring_.put_segment.compare_exchange_strong(seen, name.raw, std::memory_order_acq_rel);
  segment_ = name;
  tail_ = tail;
  look_at_head();
}

// After a producer's death: what it had linked becomes the segment to put in, what it had only made
// is returned, and a parcel that it handed over and did not commit is nobody's. Should this turn be
// lost meanwhile, what the next ones make and hand over is left alone.
void Producer::mend() {
  std::uint64_t note = ring_.handing_over.load();
  const MemberId sender{static_cast<std::uint32_t>(note >> 32)};
  // One that was robbed and lives takes it back itself.
  if (note && space_.members().is_dead(sender))
    arena::drop_from_ring(space_, (note & 0xFFFF'FFFF) * 64, block_, tail_.place());
  ring_.handing_over.compare_exchange_strong(note, 0);
  ring_.seen_head.store(Mark::of(0, static_cast<std::uint8_t>(tail_.turn() + 128), 0).raw);
  if (ring_.sent_blocks.load(std::memory_order_relaxed)) {
    release_strays(space_, block_, [&](const Segment& one) {
      return static_cast<std::int16_t>(one.serial - segment_.serial()) > 0 &&
             static_cast<std::int32_t>(one.turn - turn_.turn()) <= 0;
    });
  }
}

// From here on whoever had an earlier turn cannot commit; what it may still write to is left to it.
void Producer::abandon_segment(MemberId robbed) {
  const std::uint32_t turn = turn_.turn();
  std::uint64_t seen = ring_.tail.load(std::memory_order_acquire);
  while (Mark{seen}.turn() != static_cast<std::uint8_t>(turn)) {
    if (later_turn(Mark{seen}.turn(), turn, 0xFF)) return;  // robbed in turn
    ring_.tail.compare_exchange_strong(seen, Mark{seen}.with_turn(turn).raw,
                                       std::memory_order_seq_cst);
  }
  // A parcel that the robbed one was about to put is its own to take back: a later mender must not
  // take it for a dead one's.
  ring_.handing_over.store(0);
  os::step("ring.turn_changed");
  for (;;) {
    const SegmentName last = last_segment();
    if (!later_turn(turn, last.turn(), SegmentName::kTurns)) return;
    if (!turn_.still_held()) return;
    std::uint32_t nobody = 0;
    const std::uint32_t who = robbed ? robbed.raw : Segment::kSomebody;
    auto& mark = segment_at(space_, last).robbed;
    if (!mark.compare_exchange_strong(nobody, who) && nobody != who) mark.store(Segment::kSomebody);
    os::step("ring.segment_abandoned");
    segment_ = last;
    add_segment(last.log2_bytes());
  }
}

// This turn was lost, and the thief left us the segment: says that we are done with it, or returns
// it when the consumers have passed it.
void Producer::leave_abandoned() {
  std::uint32_t me = space_.self().raw;
  Segment& segment = segment_at(space_, segment_);
  if (segment.robbed.load(std::memory_order_acquire) != me) return;
  if (space_.heap().release(segment_.offset(), Owner::member(space_.self()))) return;
  segment.robbed.compare_exchange_strong(me, 0);
}

}  // namespace cohort::ring
