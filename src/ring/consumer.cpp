#include "ring/consumer.hpp"

#include <cstring>

#include "arena/block_refs.hpp"
#include "arena/shared_block.hpp"
#include "cohort/error.hpp"
#include "os/step.hpp"
#include "ring/stray_segments.hpp"

namespace cohort::ring {

using arena::Offset;
using sync::SeizableLock;

Consumer::Consumer(arena::Space& space, RingCell& ring, Offset block)
    : space_(space), ring_(ring), block_(block), turn_(ring.take_lock, space) {
  if (turn_.taken() == SeizableLock::Taken::owner_died) mend();
  head_.raw = ring.head.load(std::memory_order_acquire);
  segment_.raw = ring.take_segment.load(std::memory_order_acquire);
  if (head_.turn() != static_cast<std::uint8_t>(turn_.turn()) ||
      segment_.turn() != (turn_.turn() & SegmentName::kTurns)) [[unlikely]]
    begin_turn();
  seen_tail_.raw = ring.seen_tail.load(std::memory_order_relaxed);
  claim_.raw = ring.claim.load(std::memory_order_relaxed);
  if (claim_.turn() != static_cast<std::uint8_t>(turn_.turn()) ||
      claim_.state() == Claim::State::made) [[unlikely]]
    judge_claim();
}

// From here on whoever had an earlier turn can neither commit nor pass a segment: it may be reading
// in one that was given back.
void Consumer::begin_turn() {
  const std::uint32_t turn = turn_.turn();
  while (head_.turn() != static_cast<std::uint8_t>(turn)) {
    robbed_ = later_turn(head_.turn(), turn, 0xFF);
    if (robbed_) return;
    const Mark ours = head_.with_turn(turn);
    if (ring_.head.compare_exchange_strong(head_.raw, ours.raw, std::memory_order_seq_cst))
      head_ = ours;
  }
  os::step("ring.take_turn_changed");
  while (segment_.turn() != (turn & SegmentName::kTurns)) {
    robbed_ = later_turn(segment_.turn(), turn, SegmentName::kTurns);
    if (robbed_) return;
    const SegmentName ours = segment_.with_turn(turn);
    if (ring_.take_segment.compare_exchange_strong(segment_.raw, ours.raw,
                                                   std::memory_order_acq_rel))
      segment_ = ours;
  }
}

// What a consumer claimed that was killed or robbed. Before the head goes on, by which this is
// seen. From here on whoever had an earlier turn can claim nothing more.
void Consumer::judge_claim() {
  const std::uint32_t turn = turn_.turn();
  while (!robbed_ && (claim_.turn() != static_cast<std::uint8_t>(turn) ||
                      claim_.state() == Claim::State::made)) {
    robbed_ = later_turn(claim_.turn(), turn, 0xFF);
    if (robbed_) return;
    Claim judged = claim_.with_turn(turn);
    if (claim_.state() == Claim::State::made)
      judged = judged.with_state(came_true(claim_) ? Claim::State::true_ : Claim::State::settled);
    if (robbed_) return;
    os::step("ring.judging");
    if (ring_.claim.compare_exchange_strong(claim_.raw, judged.raw)) claim_ = judged;
  }
}

// A parcel is taken before the head passes it. Before the one that was claimed there are none but
// such as nobody has any more.
bool Consumer::came_true(Claim claim) {
  if (claim.passed_by(head_.count())) return true;
  if (!claim.parcel()) return false;
  for (Mark at = head_;;) {
    const auto found = find(at);
    if (!found || found->form != Form::parcel) return false;
    if ((found->at.count() & Claim::kPlaces) == claim.first()) return was_taken(*found, claim);
    at = found->next;
  }
}

// Else it is there still, or with somebody else who was robbed of it.
bool Consumer::was_taken(const Found& found, Claim claim) {
  Offset parcel = 0;
  if (found.bytes.size() != sizeof parcel) return false;
  std::memcpy(&parcel, found.bytes.data(), sizeof parcel);
  if (!space_.heap().plausible(parcel)) return true;
  const arena::Owner owner = space_.heap().owner(parcel);
  const bool held = owner.is(arena::Hold::owned) || owner.is(arena::Hold::finalizing);
  if (held && !space_.members().is_dead(owner.id()) &&
      space_.cell<arena::ParcelHeader>(parcel).ring == block_ &&
      space_.cell<arena::ParcelHeader>(parcel).stamp == found.at.place())
    return owner.id().slot() == claim.slot();
  return !is_there(found);
}

bool Consumer::claim(std::uint32_t slot, std::uint32_t tag, std::size_t count,
                     const Found* parcel) {
  const Mark first = parcel ? parcel->at : head_;
  const Claim ours = Claim::of(slot, tag, count, parcel != nullptr, first.count(), turn_.turn());
  // Who waits for what was taken may have settled the last one meanwhile.
  claim_.raw = ring_.claim.load();
  robbed_ = robbed_ || claim_.turn() != static_cast<std::uint8_t>(turn_.turn());
  os::step("ring.claiming");
  robbed_ = robbed_ || !ring_.claim.compare_exchange_strong(claim_.raw, ours.raw);
  if (robbed_) return false;
  claim_ = ours;
  os::step("ring.claimed");
  return true;
}

void Consumer::unclaim() {
  const Claim none = claim_.with_state(Claim::State::settled);
  if (ring_.claim.compare_exchange_strong(claim_.raw, none.raw)) claim_ = none;
}

std::optional<Consumer::Found> Consumer::find_further_on(Mark& at) {
  for (;;) {
    if (messages_between(at, seen_tail_) <= 0) {
      seen_tail_.raw = ring_.tail.load(std::memory_order_acquire);
      if (messages_between(at, seen_tail_) <= 0) return std::nullopt;
      ring_.seen_tail.store(seen_tail_.raw, std::memory_order_relaxed);
    }
    if (std::uint64_t next = segment().next.load(std::memory_order_acquire);
        next && segment().end.load(std::memory_order_relaxed) == at.units() + 1) {
      if (at != head_) return std::nullopt;
      next_segment(next);
      if (robbed_) return std::nullopt;
      continue;
    }
    const std::size_t index = index_of(at);
    Record record;
    std::memcpy(&record, segment().data() + index, sizeof record);
    if (!sane(record, index)) [[unlikely]] {
      robbed_ = true;
      if (turn_.still_held()) throw Error("a ring's messages are damaged: something wrote there");
      return std::nullopt;
    }
    if (record.form != Form::skip) return found(at, record, index);
    at = at.after(0, record_bytes(record.length));
  }
}

// Goes on in the next segment, and gives this one back. A producer that was killed may have left
// put_segment behind: it must name none that is given back.
void Consumer::next_segment(std::uint64_t next) {
  const SegmentName passed = segment_;
  const SegmentName ours = SegmentName{next}.with_turn(turn_.turn());
  std::uint64_t seen = ring_.put_segment.load(std::memory_order_acquire);
  if (passed.same_segment({seen}))
    ring_.put_segment.compare_exchange_strong(seen, next, std::memory_order_acq_rel);
  seen = passed.raw;
  robbed_ = !ring_.take_segment.compare_exchange_strong(seen, ours.raw, std::memory_order_acq_rel);
  if (robbed_) return;
  os::step("ring.segment_passed");
  segment_ = ours;
  release_segment(space_, block_, passed.offset());
}

bool Consumer::is_there(const Found& found) {
  Offset parcel = 0;
  if (found.bytes.size() != sizeof parcel) return false;
  std::memcpy(&parcel, found.bytes.data(), sizeof parcel);
  return arena::awaits_taking(space_, parcel, block_, found.at.place());
}

// A parcel that is not in the ring's hands any more was taken by a consumer that died, or was
// robbed, before it could say so.
std::optional<Message> Consumer::take_parcel(const Found& found) {
  Offset parcel = 0;
  if (found.bytes.size() != sizeof parcel) return std::nullopt;
  std::memcpy(&parcel, found.bytes.data(), sizeof parcel);
  auto referred = detail::BlockRefs::take_parcel(space_, parcel, block_, found.at.place());
  if (!referred) return std::nullopt;
  return Message(parcel, std::move(*referred));
}

bool Consumer::commit(Mark end) {
  os::step("ring.copied");
  std::uint64_t seen = head_.raw;
  robbed_ =
      robbed_ || !ring_.head.compare_exchange_strong(seen, end.raw, std::memory_order_seq_cst);
  if (robbed_) return false;
  head_ = end;
  os::step("ring.taken");
  return true;
}

// After a consumer's death: segments that it had passed and not given back. Not once one was
// robbed: that one may be about to give back what it passed, and must not find something else
// there. What is left then goes with the ring.
void Consumer::mend() {
  if (!ring_.sent_blocks.load(std::memory_order_relaxed) || turn_.turn() != 0) return;
  const SegmentName current{ring_.take_segment.load(std::memory_order_acquire)};
  release_strays(space_, block_, [&](const Segment& one) {
    return static_cast<std::int16_t>(one.serial - current.serial()) < 0;
  });
}

}  // namespace cohort::ring
