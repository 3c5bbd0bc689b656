// Reference-counted blocks. A shared block lives while a member's bit is set in its header, or a
// message in transit refers to it. Copies of a handle are counted privately in each process; the
// arena knows only which members hold the block, so what a dead member held can be found and
// dropped (a bare count could never be repaired).
//
// A message that carries handles travels as a *parcel*: a block of its own that lists, untyped,
// the blocks it refers to. Whether some parcel still refers to a block is asked by looking, never
// by counting, so there is no count for a kill to falsify.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <span>

#include "arena/heap.hpp"
#include "arena/owner.hpp"

namespace cohort::arena {

class Space;

// What is in a shared block, so that anybody can release what it refers to.
enum class BlockKind : std::uint32_t {
  plain,
  ring,
  scheduler,
  heap,
  name,
  pipe,
  ticket,
  socket_file,
  count
};

struct alignas(64) SharedHeader {
  std::array<std::atomic<std::uint64_t>, kMaxMembers / 64> members;
  std::atomic<std::uint64_t> likely_parcel;  // the last parcel that referred to it
  std::atomic<std::uint32_t> moves;          // new holders and parcels so far; only grows
  BlockKind kind;
  std::uint64_t bytes;  // of the cell behind this header
};

// What to do before a block of a kind is given back. May be run again by another member when the
// first one is killed in the middle, so it must be safe to repeat.
using Finalizer = void (*)(Space&, Offset block);
void set_finalizer(BlockKind kind, Finalizer finalizer) noexcept;

// What to do for a dead member with a block of this purpose that it owned, before anything else
// that it held is returned. Gives the block back itself. May be run again, as a Finalizer. Answers
// false when that has to wait for somebody who is alive: then nothing was done, and it is asked
// again.
using Repair = bool (*)(Space&, Offset block, MemberId dead);
void set_repair(Purpose purpose, Repair repair) noexcept;

// A new shared block of zeroes, held by this member. Throws when the arena is exhausted.
Offset make_shared_block(Space& space, std::size_t bytes, BlockKind kind);
inline Offset cell_of(Offset shared_block) { return shared_block + sizeof(SharedHeader); }

void hold(Space& space, Offset block, MemberId member) noexcept;
void let_go(Space& space, Offset block, MemberId member) noexcept;
// The first half of let_go; release_if_unused must follow.
void unmark(Space& space, Offset block, MemberId member) noexcept;
bool held_by(Space& space, Offset block, MemberId member) noexcept;
// As unmark, for a block that this member need not hold, and that may be another's by now: only
// while its owner is the one that was seen, which becomes another. Answers whether it was.
bool unmark_seen(Space& space, Offset block, Owner& seen, MemberId member) noexcept;

// Gives a shared block back if nobody refers to it any more.
void release_if_unused(Space& space, Offset block);

// How a parcel's payload is to be understood.
enum class Payload : std::uint32_t { encoded, raw };

// A parcel: this header, the offsets of the blocks it refers to, then the payload, which without
// references is aligned as blocks are.
struct alignas(64) ParcelHeader {
  std::uint64_t magic;
  std::uint64_t stamp;  // the ring's position that it was sent at
  Offset ring;          // whose hands it was given into
  std::uint64_t bytes;  // of payload
  std::uint32_t references;
  Payload payload;
};

// An empty parcel owned by this member, referring to `blocks`.
Offset make_parcel(Space& space, std::span<const Offset> blocks, std::size_t payload_bytes);
std::span<const Offset> references_of(Space& space, Offset parcel);
std::span<std::byte> payload_of(Space& space, Offset parcel);
Payload payload_kind(Space& space, Offset parcel);
void set_payload(Space& space, Offset parcel, Payload kind);
// The payload ends here, earlier than was asked for.
void shrink_parcel(Space& space, Offset parcel, std::size_t payload_bytes);
// Puts a parcel of ours into the ring's hands.
void give_to_ring(Space& space, Offset parcel, Offset ring, std::uint64_t stamp);
// Whether the parcel is in the ring's hands since it was put at this position.
bool in_ring(Space& space, Offset parcel, Offset ring, std::uint64_t stamp);
// The same, or a member is about to take it.
bool awaits_taking(Space& space, Offset parcel, Offset ring, std::uint64_t stamp);
// Takes it out in two steps, for a member that adopts what it refers to in between: claimed, it
// still keeps these blocks, and it is back in the ring when the member dies. Answers false when it
// was not there.
bool claim_from_ring(Space& space, Offset parcel, Offset ring, std::uint64_t stamp);
void keep_claimed(Space& space, Offset parcel);
void unclaim(Space& space, Offset parcel, Offset ring);
// Both at once, for who needs none of these blocks.
bool take_from_ring(Space& space, Offset parcel, Offset ring, std::uint64_t stamp);
// Gives back a parcel of ours, and what only it referred to.
void drop_parcel(Space& space, Offset parcel);
// The same with one that a ring has; nothing when it has not.
void drop_from_ring(Space& space, Offset parcel, Offset ring, std::uint64_t stamp);
// Gives back every block that is in a ring's hands, and what only those referred to.
void drop_all_in_ring(Space& space, Offset ring);

// Everything that a dead member held. Answers false when some of it is still to be done.
bool return_blocks_of(Space& space, MemberId dead);

}  // namespace cohort::arena
