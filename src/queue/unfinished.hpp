// Which messages of a joinable queue were got and not dealt with, by the process that got them: so
// that what a dead one had is known, and nobody waits for it.
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
  std::atomic<std::uint64_t> lost;
  // For each slot of the member table: MemberId << 32 | how many it has.
  std::array<std::atomic<std::uint64_t>, arena::kMaxMembers> open;
};

class Unfinished {
 public:
  Unfinished(arena::Space& space, UnfinishedCell& cell) : space_(space), cell_(cell) {}

  // This member is about to take so many, or does not after all. Before they leave the ring: what
  // it holds may for a moment be counted twice, but never not at all.
  void taking(std::size_t count) noexcept;
  void undo(std::size_t count) noexcept { finish(space_.self().slot(), count); }
  // One of this member's is done, else one of another's. Answers false when nobody has any.
  bool finish_one() noexcept;
  // Waits until none is open and the ring is empty, or it is closed for all.
  bool join(const ring::RingView& ring, os::Deadline deadline);
  std::size_t count() noexcept;
  std::uint64_t lost() noexcept;

 private:
  bool finish(std::uint32_t slot, std::size_t count) noexcept;
  void write_off(std::uint32_t slot) noexcept;
  bool all_done(const ring::RingView& ring) noexcept;

  arena::Space& space_;
  UnfinishedCell& cell_;
};

}  // namespace cohort::queue
