#include "arena/shared_block.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <unordered_set>
#include <vector>

#include "arena/space.hpp"
#include "os/step.hpp"

namespace cohort::arena {
namespace {

constexpr std::uint64_t kParcelMagic = 0x6c65'6372'6170'2a2a;

std::array<Finalizer, static_cast<std::size_t>(BlockKind::count)> finalizers{};
std::array<Repair, static_cast<std::size_t>(Purpose::count)> repairs{};

SharedHeader& header_of(Space& space, Offset block) { return space.cell<SharedHeader>(block); }

const Offset* first_reference(Space& space, Offset parcel) {
  return reinterpret_cast<const Offset*>(space.at(parcel) + sizeof(ParcelHeader));
}

std::uint32_t next_tag(Space& space) {
  return space.header().tags.fetch_add(1, std::memory_order_relaxed);
}

bool anybody_holds(const SharedHeader& header) {
  return std::any_of(header.members.begin(), header.members.end(),
                     [](const auto& word) { return word.load(std::memory_order_seq_cst) != 0; });
}

// How many references are in the block, should it be a parcel; empty when it is none. The block may
// pass to somebody else while this reads it: then the answer is stale, but never beyond the block.
__attribute__((no_sanitize("thread"))) std::optional<std::uint32_t> references_in(Space& space,
                                                                                  Offset block) {
  if (space.heap().purpose(block) != Purpose::message) return std::nullopt;
  std::size_t capacity = space.heap().capacity(block);
  const volatile auto& header = space.cell<ParcelHeader>(block);
  std::uint32_t references = header.references;
  std::size_t room = (capacity - sizeof(ParcelHeader)) / sizeof(Offset);
  if (header.magic != kParcelMagic || references > room) return std::nullopt;
  return references;
}

template <class Visit>
__attribute__((no_sanitize("thread"))) void visit_references(Space& space, Offset block,
                                                             Visit&& visit) {
  std::uint32_t count = references_in(space, block).value_or(0);
  const Offset* blocks = first_reference(space, block);
  // Acquiring, so that a caller's second look at the owner comes after these.
  for (std::uint32_t i = 0; i < count; ++i) visit(__atomic_load_n(&blocks[i], __ATOMIC_ACQUIRE));
}

// In a ring's hands, or in those of a member that takes it from there.
bool in_transit(Owner parcel) { return parcel.is(Hold::transit) || parcel.is(Hold::finalizing); }

bool parcel_refers_to(Space& space, Offset parcel, Offset block) {
  if (!space.heap().plausible(parcel)) return false;
  Owner before = space.heap().owner(parcel);
  // What only a ring's own messages refer to nobody can reach.
  if (!in_transit(before) || before == Owner::transit(block)) return false;
  bool found = false;
  visit_references(space, parcel, [&](Offset one) { found = found || one == block; });
  return found && space.heap().owner(parcel) == before;
}

bool any_parcel_refers_to(Space& space, SharedHeader& header, Offset block) {
  Offset likely = header.likely_parcel.load(std::memory_order_seq_cst);
  if (likely == 0) return false;  // none ever did
  if (parcel_refers_to(space, likely, block)) return true;
  bool found = false;
  space.heap().for_each_block(Purpose::message, [&](Offset candidate, Owner owner) {
    if (!found && in_transit(owner)) found = parcel_refers_to(space, candidate, block);
  });
  return found;
}

// Whether a member or a parcel in transit refers to the block. Whoever passes a reference on
// establishes the new one, counts the move, and only then gives up the old one; so when neither was
// seen, members first, and nothing moved meanwhile, there is none.
bool in_use(Space& space, SharedHeader& header, Offset block) {
  for (;;) {
    auto moves = header.moves.load(std::memory_order_seq_cst);
    if (anybody_holds(header) || any_parcel_refers_to(space, header, block)) return true;
    if (header.moves.load(std::memory_order_seq_cst) == moves) return false;
  }
}

void finalize(Space& space, Offset block) {
  os::step("shared_block.finalizing");
  auto kind = static_cast<std::size_t>(header_of(space, block).kind);
  if (kind < finalizers.size() && finalizers[kind]) finalizers[kind](space, block);
  os::step("shared_block.finalized");
  space.heap().release(block, Owner::finalizing(space.self()));
}

// Drops what an owned block of a dead member refers to, should it be a parcel. A block that only
// looks like one does no harm: release_if_unused asks the blocks themselves.
void release_owned(Space& space, Offset block, MemberId dead) {
  std::vector<Offset> referred;
  visit_references(space, block, [&](Offset one) { referred.push_back(one); });
  if (!space.heap().release(block, Owner::member(dead))) return;
  os::step("shared_block.parcel_released");
  for (Offset one : referred) release_if_unused(space, one);
}

}  // namespace

void set_repair(Purpose purpose, Repair repair) noexcept {
  repairs[static_cast<std::size_t>(purpose)] = repair;
}

void set_finalizer(BlockKind kind, Finalizer finalizer) noexcept {
  finalizers[static_cast<std::size_t>(kind)] = finalizer;
}

Offset make_shared_block(Space& space, std::size_t bytes, BlockKind kind) {
  Offset block =
      space.heap().allocate_zeroed(sizeof(SharedHeader) + bytes, space.self(), Purpose::shared);
  SharedHeader& header = header_of(space, block);
  header.kind = kind;
  header.bytes = bytes;
  hold(space, block, space.self());
  os::step("shared_block.filled");
  space.heap().change_owner(block, Owner::member(space.self()), Owner::shared(next_tag(space)));
  os::step("shared_block.made");
  return block;
}

void hold(Space& space, Offset block, MemberId member) noexcept {
  auto& word = header_of(space, block).members[member.slot() / 64];
  word.fetch_or(std::uint64_t{1} << (member.slot() % 64), std::memory_order_seq_cst);
  header_of(space, block).moves.fetch_add(1, std::memory_order_seq_cst);
}

bool held_by(Space& space, Offset block, MemberId member) noexcept {
  auto& word = header_of(space, block).members[member.slot() / 64];
  return (word.load() >> (member.slot() % 64) & 1) != 0;
}

void unmark(Space& space, Offset block, MemberId member) noexcept {
  auto& word = header_of(space, block).members[member.slot() / 64];
  word.fetch_and(~(std::uint64_t{1} << (member.slot() % 64)), std::memory_order_seq_cst);
  os::step("shared_block.unmarked");
}

bool unmark_seen(Space& space, Offset block, Owner& seen, MemberId member) noexcept {
  if (space.heap().small(block)) {
    // Should it be another's by now, that one is a shared block, too, and not this member's.
    if (space.heap().owner(block) != seen) return false;
    unmark(space, block, member);
    return true;
  }
  Owner ours = Owner::finalizing(space.self());
  if (!space.heap().change_owner(block, seen, ours)) return false;
  unmark(space, block, member);
  seen = Owner::shared(next_tag(space));
  return space.heap().change_owner(block, ours, seen);
}

void let_go(Space& space, Offset block, MemberId member) noexcept {
  unmark(space, block, member);
  release_if_unused(space, block);
}

void release_if_unused(Space& space, Offset block) {
  if (!space.heap().plausible(block)) return;
  // Should the block pass to somebody else meanwhile, it is not of this owner's tag any more.
  Owner owner = space.heap().owner(block);
  if (!owner.is(Hold::shared) || in_use(space, header_of(space, block), block)) return;
  if (space.heap().change_owner(block, owner, Owner::finalizing(space.self())))
    finalize(space, block);
}

Offset make_parcel(Space& space, std::span<const Offset> blocks, std::size_t payload_bytes) {
  const std::size_t front = sizeof(ParcelHeader) + blocks.size_bytes();
  const std::size_t bytes = front + std::min(payload_bytes, std::size_t{1} << 62);
  Offset parcel = space.heap().allocate(bytes, space.self(), Purpose::message);
  auto& header = space.cell<ParcelHeader>(parcel);
  header.references = static_cast<std::uint32_t>(blocks.size());
  header.bytes = payload_bytes;
  header.stamp = 0;
  header.payload = Payload::encoded;
  if (!blocks.empty())
    std::memcpy(space.at(parcel) + sizeof(ParcelHeader), blocks.data(), blocks.size_bytes());
  header.magic = kParcelMagic;
  return parcel;
}

std::span<const Offset> references_of(Space& space, Offset parcel) {
  const auto& header = space.cell<ParcelHeader>(parcel);
  return {first_reference(space, parcel), header.references};
}

std::span<std::byte> payload_of(Space& space, Offset parcel) {
  const auto& header = space.cell<ParcelHeader>(parcel);
  return {space.at(parcel) + sizeof(ParcelHeader) + header.references * sizeof(Offset),
          header.bytes};
}

Payload payload_kind(Space& space, Offset parcel) {
  return space.cell<ParcelHeader>(parcel).payload;
}

void set_payload(Space& space, Offset parcel, Payload kind) {
  space.cell<ParcelHeader>(parcel).payload = kind;
}

void shrink_parcel(Space& space, Offset parcel, std::size_t payload_bytes) {
  space.cell<ParcelHeader>(parcel).bytes = payload_bytes;
}

void give_to_ring(Space& space, Offset parcel, Offset ring, std::uint64_t stamp) {
  space.cell<ParcelHeader>(parcel).stamp = stamp;
  space.cell<ParcelHeader>(parcel).ring = ring;
  for (Offset block : references_of(space, parcel)) {
    SharedHeader& header = header_of(space, block);
    header.likely_parcel.store(parcel, std::memory_order_seq_cst);
    header.moves.fetch_add(1, std::memory_order_seq_cst);
  }
  space.heap().change_owner(parcel, Owner::member(space.self()), Owner::transit(ring));
}

bool in_ring(Space& space, Offset parcel, Offset ring, std::uint64_t stamp) {
  return space.heap().plausible(parcel) && space.heap().owner(parcel) == Owner::transit(ring) &&
         references_in(space, parcel) && space.cell<ParcelHeader>(parcel).stamp == stamp;
}

bool awaits_taking(Space& space, Offset parcel, Offset ring, std::uint64_t stamp) {
  if (!space.heap().plausible(parcel)) return false;
  const Owner owner = space.heap().owner(parcel);
  if (owner != Owner::transit(ring) && !owner.is(Hold::finalizing)) return false;
  const auto& header = space.cell<ParcelHeader>(parcel);
  return references_in(space, parcel) && header.ring == ring && header.stamp == stamp;
}

namespace {
// Who has the parcel when it may be claimed: the ring, or a member that died over claiming it.
std::optional<Owner> claimable_from(Space& space, Offset parcel, Offset ring, std::uint64_t stamp) {
  if (!space.heap().plausible(parcel)) return std::nullopt;
  const Owner owner = space.heap().owner(parcel);
  const bool left = owner.is(Hold::finalizing) && space.members().is_dead(owner.id());
  if (owner != Owner::transit(ring) && !left) return std::nullopt;
  if (!references_in(space, parcel)) return std::nullopt;
  const auto& header = space.cell<ParcelHeader>(parcel);
  if (header.ring != ring || header.stamp != stamp) return std::nullopt;
  return owner;
}
}  // namespace

bool claim_from_ring(Space& space, Offset parcel, Offset ring, std::uint64_t stamp) {
  for (;;) {
    const auto owner = claimable_from(space, parcel, ring, stamp);
    if (!owner) return false;
    if (space.heap().change_owner(parcel, *owner, Owner::finalizing(space.self()))) break;
  }
  // Who was stopped in between may have got a later one in the same place.
  if (space.cell<ParcelHeader>(parcel).stamp == stamp) return true;
  unclaim(space, parcel, ring);
  return false;
}

void keep_claimed(Space& space, Offset parcel) {
  space.heap().change_owner(parcel, Owner::finalizing(space.self()), Owner::member(space.self()));
}

void unclaim(Space& space, Offset parcel, Offset ring) {
  space.heap().change_owner(parcel, Owner::finalizing(space.self()), Owner::transit(ring));
}

bool take_from_ring(Space& space, Offset parcel, Offset ring, std::uint64_t stamp) {
  return in_ring(space, parcel, ring, stamp) &&
         space.heap().change_owner(parcel, Owner::transit(ring), Owner::member(space.self()));
}

void drop_from_ring(Space& space, Offset parcel, Offset ring, std::uint64_t stamp) {
  if (!take_from_ring(space, parcel, ring, stamp)) return;
  os::step("shared_block.taken_to_drop");
  drop_parcel(space, parcel);
}

void drop_all_in_ring(Space& space, Offset ring) {
  std::vector<Offset> found;
  space.heap().for_each_block(Purpose::message, [&](Offset block, Owner owner) {
    if (owner == Owner::transit(ring)) found.push_back(block);
  });
  for (Offset block : found) {
    if (!space.heap().change_owner(block, Owner::transit(ring), Owner::member(space.self())))
      continue;
    os::step("shared_block.taken_to_drop");
    drop_parcel(space, block);
  }
}

void drop_parcel(Space& space, Offset parcel) { release_owned(space, parcel, space.self()); }

namespace {
bool repair_blocks_of(Space& space, MemberId dead) {
  bool all = true;
  for (std::size_t i = 0; i < repairs.size(); ++i) {
    if (!repairs[i]) continue;
    std::vector<Offset> owned;
    space.heap().for_each_block(static_cast<Purpose>(i), [&](Offset block, Owner owner) {
      if (owner == Owner::member(dead)) owned.push_back(block);
    });
    for (Offset block : owned) all = repairs[i](space, block, dead) && all;
  }
  return all;
}
}  // namespace

namespace {
// What a dead member had claimed and not taken stays in its ring: before the ring may lose its last
// holder, whose end drops what is in it.
void return_claims_of(Space& space, MemberId dead) {
  space.heap().for_each_block(Purpose::message, [&](Offset parcel, Owner owner) {
    if (owner != Owner::finalizing(dead)) return;
    const Offset ring = space.cell<ParcelHeader>(parcel).ring;
    space.heap().change_owner(parcel, owner, Owner::transit(ring));
  });
}
}  // namespace

bool return_blocks_of(Space& space, MemberId dead) {
  if (!repair_blocks_of(space, dead)) return false;
  return_claims_of(space, dead);
  bool all = true;
  std::vector<Offset> owned;
  std::vector<Offset> finalizing;
  // Shared blocks that no member holds now: what the dead one was the last to hold, and what others
  // were killed over before they could give it back.
  struct Loose {
    Offset block;
    Owner owner;
    std::uint32_t moves;
  };
  std::vector<Loose> loose;
  space.heap().sweep(dead, [&](Offset block, Owner owner) {
    switch (owner.hold()) {
      case Hold::owned:
        if (owner.names(dead)) owned.push_back(block);
        break;
      case Hold::finalizing:
        if (space.heap().purpose(block) == Purpose::message) {
          break;  // another's claim
        } else if (owner.names(dead)) {
          finalizing.push_back(block);
        } else if (held_by(space, block, dead)) {
          all = false;  // somebody is unmarking it for another
        }
        break;
      case Hold::shared: {
        SharedHeader& header = header_of(space, block);
        if (held_by(space, block, dead) && !unmark_seen(space, block, owner, dead)) {
          all = false;  // another's by now, or somebody else is unmarking it
          break;
        }
        auto moves = header.moves.load(std::memory_order_seq_cst);
        if (!anybody_holds(header)) loose.push_back({block, owner, moves});
        break;
      }
      case Hold::transit:
        break;
    }
  });
  // One look at all parcels, as in_use() has one for each block. A block that is in one now, after
  // the dead member's mark is gone, is judged by whoever takes that parcel.
  std::unordered_set<Offset> in_parcels;
  space.heap().for_each_block(Purpose::message, [&](Offset block, Owner owner) {
    if (in_transit(owner))
      visit_references(space, block, [&](Offset one) { in_parcels.insert(one); });
  });
  for (const Loose& one : loose) {
    if (in_parcels.contains(one.block)) continue;
    if (header_of(space, one.block).moves.load(std::memory_order_seq_cst) != one.moves) {
      release_if_unused(space, one.block);
    } else if (space.heap().change_owner(one.block, one.owner, Owner::finalizing(space.self()))) {
      finalize(space, one.block);
    }
  }
  for (Offset block : owned) release_owned(space, block, dead);
  for (Offset block : finalizing) {
    Owner ours = Owner::finalizing(space.self());
    if (!space.heap().change_owner(block, Owner::finalizing(dead), ours)) continue;
    if (in_use(space, header_of(space, block), block)) {  // it was only unmarking it
      space.heap().change_owner(block, ours, Owner::shared(next_tag(space)));
      release_if_unused(space, block);
    } else {
      finalize(space, block);
    }
  }
  return all;
}

}  // namespace cohort::arena
