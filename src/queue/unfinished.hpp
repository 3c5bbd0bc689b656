// Which messages of a joinable queue were got and not dealt with, by the process that got them: so
// that what a dead one had is known, and nobody waits for it.
//
// A consumer claims what it is about to take in a word of the ring, takes it, and adds it to what
// it has. Whoever is killed or stopped between two of these leaves a claim of which others see
// whether it took place: then they add it in its stead. The tag in a count tells what was added to
// it.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "arena/space.hpp"
#include "ring/ring.hpp"
#include "sync/doorbell.hpp"

namespace cohort::queue {

struct UnfinishedCell {
  sync::Doorbell finished;
  std::atomic<std::uint64_t> lost;  // Lost
  // For each slot of the member table: Open.
  std::array<std::atomic<std::uint64_t>, arena::kMaxMembers> open;
};

class Unfinished {
 public:
  Unfinished(arena::Space& space, UnfinishedCell& cell, const ring::RingView& ring)
      : space_(space), cell_(cell), ring_(ring) {}

  // In this member's turn at taking: it is about to take so many, or this parcel. Answers false
  // when the turn was lost.
  bool taking(ring::Consumer& consumer, std::size_t count, const ring::Consumer::Found* parcel);
  // It has taken them, or has not after all.
  void taken(ring::Claim claim) noexcept;
  void untaking(ring::Consumer& consumer) noexcept;
  // One of this member's is done, else one of another's. Answers false when nobody has any.
  bool finish_one() noexcept;
  // Waits until none is open and the ring is empty, or it is closed for all.
  bool join(os::Deadline deadline);
  std::size_t count() noexcept;
  std::uint64_t lost() noexcept;

 private:
  bool finish(std::uint32_t slot, std::size_t count) noexcept;
  void settle() noexcept;
  bool was_added(ring::Claim claim) const noexcept;
  void write_off(std::uint32_t slot) noexcept;
  void move_to_lost(std::uint32_t slot) noexcept;
  void finish_move(std::uint64_t lost) noexcept;
  bool all_done() noexcept;

  arena::Space& space_;
  UnfinishedCell& cell_;
  ring::RingView ring_;
};

}  // namespace cohort::queue
