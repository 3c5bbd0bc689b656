#include "queue/unfinished.hpp"

#include <limits>

#include "os/step.hpp"

namespace cohort::queue {
namespace {

using ring::Claim;

// What the member in a slot has: its generation << 44 | the tag of the claim that was added last
// << 33 | whether it is being written off << 32 | how many.
struct Open {
  std::uint64_t raw = 0;

  constexpr std::uint32_t generation() const { return static_cast<std::uint32_t>(raw >> 44); }
  constexpr std::uint32_t tag() const {
    return static_cast<std::uint32_t>(raw >> 33) & Claim::kTags;
  }
  constexpr bool leaving() const { return (raw >> 32 & 1) != 0; }
  constexpr std::uint64_t count() const { return raw & std::numeric_limits<std::uint32_t>::max(); }

  static constexpr Open of(std::uint32_t generation, std::uint32_t tag, std::uint64_t count) {
    return {std::uint64_t{generation} << 44 | std::uint64_t{tag & Claim::kTags} << 33 | count};
  }
  constexpr Open with_count(std::uint64_t count) const { return of(generation(), tag(), count); }
};
constexpr std::uint64_t kLeaving = std::uint64_t{1} << 32;

// How many were lost << 34 | whose were added last: slot << 24 | generation << 4 | tag, as far as
// there is room.
struct Lost {
  std::uint64_t raw = 0;

  constexpr std::uint64_t total() const { return raw >> 34; }
  constexpr std::uint32_t slot() const { return static_cast<std::uint32_t>(raw >> 24) & 0x3FF; }
  constexpr bool from(Open open) const { return (raw & 0xFF'FFFF) == whose(open); }

  static constexpr std::uint64_t whose(Open open) {
    return std::uint64_t{open.generation()} << 4 | (open.tag() & 0xF);
  }
  constexpr Lost with(std::uint32_t slot, Open open) const {
    return {(total() + open.count()) << 34 | std::uint64_t{slot} << 24 | whose(open)};
  }
};

}  // namespace

bool Unfinished::taking(ring::Consumer& consumer, std::size_t count,
                        const ring::Consumer::Found* parcel) {
  settle();
  const arena::MemberId me = space_.self();
  auto& mine = cell_.open[me.slot()];
  Open seen{mine.load()};
  while (seen.generation() != me.generation()) {
    write_off(me.slot());  // what the slot's last member had when it died
    seen.raw = mine.load();
    if (seen.count() != 0 || seen.generation() == me.generation()) continue;
    const Open ours = Open::of(me.generation(), seen.tag(), 0);
    if (mine.compare_exchange_strong(seen.raw, ours.raw)) seen = ours;
  }
  return consumer.claim(me.slot(), seen.tag() + 1, count, parcel);
}

void Unfinished::taken(Claim claim) noexcept {
  Claim seen{ring_.claim().load()};
  while (
      seen.same_claim(claim) && seen.state() == Claim::State::made &&
      !ring_.claim().compare_exchange_strong(seen.raw, seen.with_state(Claim::State::true_).raw)) {
  }
  settle();
  if (was_added(claim)) return;
  // A parcel that was still there when this member was robbed, and which it took all the same.
  auto& mine = cell_.open[claim.slot()];
  Open now{mine.load()};
  while (!mine.compare_exchange_weak(now.raw, now.with_count(now.count() + claim.count()).raw)) {
  }
}

void Unfinished::untaking(ring::Consumer& consumer) noexcept {
  const Claim claim = consumer.claimed();
  consumer.unclaim();
  settle();
  if (was_added(claim)) finish(claim.slot(), claim.count());
}

// Or a later one of this member's was, which comes after it.
bool Unfinished::was_added(Claim claim) const noexcept {
  const std::uint32_t tag = Open{cell_.open[claim.slot()].load()}.tag();
  return ((tag - claim.tag()) & Claim::kTags) <= Claim::kTags / 2;
}

// Adds what was claimed to what the claimant has, once it is known to be taken. As often as anybody
// likes: what was read is the same at the end, so nobody was here meanwhile.
void Unfinished::settle() noexcept {
  for (;;) {
    Claim claim{ring_.claim().load()};
    if (claim.state() == Claim::State::settled) return;
    auto& word = cell_.open[claim.slot()];
    Open open{word.load()};
    const bool passed = claim.passed_by(ring_.head_count());
    if (ring_.claim().load() != claim.raw) continue;
    if (claim.state() == Claim::State::made && !passed) return;
    if (open.tag() != claim.tag()) {
      if (open.leaving()) {
        move_to_lost(claim.slot());
        continue;
      }
      const Open now = Open::of(open.generation(), claim.tag(), open.count() + claim.count());
      if (!word.compare_exchange_strong(open.raw, now.raw)) continue;
      os::step("unfinished.added");
    }
    ring_.claim().compare_exchange_strong(claim.raw, claim.with_state(Claim::State::settled).raw);
  }
}

bool Unfinished::finish(std::uint32_t slot, std::size_t count) noexcept {
  auto& word = cell_.open[slot];
  Open seen{word.load()};
  do {
    if (seen.leaving() || seen.count() < count) return false;
  } while (!word.compare_exchange_weak(seen.raw, seen.with_count(seen.count() - count).raw));
  os::step("unfinished.finished");
  if (seen.count() == count) cell_.finished.ring(std::numeric_limits<int>::max());
  return true;
}

bool Unfinished::finish_one() noexcept {
  const arena::MemberId me = space_.self();
  if (Open{cell_.open[me.slot()].load()}.generation() == me.generation() && finish(me.slot(), 1))
    return true;
  settle();
  for (std::uint32_t slot = 0; slot < space_.members().used(); ++slot) {
    write_off(slot);
    if (finish(slot, 1)) return true;
  }
  return false;
}

// What a dead member had is lost.
void Unfinished::write_off(std::uint32_t slot) noexcept {
  auto& word = cell_.open[slot];
  for (;;) {
    Open seen{word.load()};
    if (seen.count() == 0 ||
        !space_.members().is_dead(arena::MemberId::of(slot, seen.generation())))
      return;
    // From here on neither grows nor shrinks what it had.
    if (!seen.leaving() && !word.compare_exchange_strong(seen.raw, seen.raw | kLeaving)) continue;
    os::step("unfinished.leaving");
    move_to_lost(slot);
    cell_.finished.ring(std::numeric_limits<int>::max());
  }
}

// In two steps, after the first of which anybody can do the second: once, whoever is killed.
void Unfinished::move_to_lost(std::uint32_t slot) noexcept {
  for (;;) {
    Lost lost{cell_.lost.load()};
    finish_move(lost.raw);
    const Open open{cell_.open[slot].load()};
    if (!open.leaving()) return;
    if (!cell_.lost.compare_exchange_strong(lost.raw, lost.with(slot, open).raw)) continue;
    os::step("unfinished.written_off");
  }
}

void Unfinished::finish_move(std::uint64_t raw) noexcept {
  const Lost lost{raw};
  auto& word = cell_.open[lost.slot()];
  Open open{word.load()};
  if (open.leaving() && lost.from(open))
    word.compare_exchange_strong(open.raw, open.with_count(0).raw);
}

std::size_t Unfinished::count() noexcept {
  settle();
  std::size_t total = 0;
  for (std::uint32_t slot = 0; slot < space_.members().used(); ++slot) {
    write_off(slot);
    total += Open{cell_.open[slot].load()}.count();
  }
  return total;
}

std::uint64_t Unfinished::lost() noexcept {
  count();
  return Lost{cell_.lost.load()}.total();
}

// The ring first: what has left it was claimed before. Nothing was put meanwhile, so that what was
// seen empty stayed so while the open ones were counted, whose number could then only fall.
bool Unfinished::all_done() noexcept {
  if (ring_.closed() == ring::Closed::for_all) return true;
  const std::uint64_t puts = ring_.puts();
  if (!ring_.empty() && count() == 0) ring_.skip_lost();
  return ring_.empty() && count() == 0 && ring_.puts() == puts;
}

bool Unfinished::join(os::Deadline deadline) {
  return cell_.finished.wait(space_, deadline, [&] { return all_done(); });
}

}  // namespace cohort::queue
