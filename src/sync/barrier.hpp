// What is behind a Barrier: rounds, which a number of parties end together.
//
// One word says which round it is, how many rounds failed so far, and what state this one is in: a
// single store to it decides how a round ends for all its parties. So whoever finds the lock's
// owner dead has nothing to mend. A party looks at that word to learn how its own round ended,
// however late it comes to do so; it is never told by another, who might be killed halfway.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "arena/space.hpp"
#include "os/fd.hpp"
#include "sync/half_word.hpp"
#include "sync/robust_lock.hpp"

namespace cohort::sync {

struct BarrierCell {
  static constexpr std::int64_t kMostParties = 1 << 16;

  // What a party has to know of its round.
  struct Arrival {
    std::uint64_t seen;  // the state then
    std::uint32_t place;
    bool last;
  };

  // kBroken, 31 bits that count failed rounds, 32 that count rounds.
  std::atomic<std::uint64_t> state;
  RobustLock lock;  // of what follows, and of changes of the state
  std::uint32_t parties;
  bool timed;
  std::int64_t timeout;  // of waits without one, ns; where it is timed
  // The round in the high half, how many came in the low: so a new round starts without a store. Of
  // a round that all came to, the last is running the action.
  std::atomic<std::uint64_t> came;
  // The latest rounds that failed; the one at [failures % size] may be being written.
  std::array<std::atomic<std::uint32_t>, 64> failed;
  // Behind the cell: who came, a MemberId for each.

  static std::size_t bytes_for(std::uint32_t parties) {
    return sizeof(BarrierCell) + parties * sizeof(std::atomic<std::uint32_t>);
  }

  // Comes to the barrier, once nobody acts for the round before. The last one has ended the round,
  // or, should there be an action, must now run it and call acted(), or abort(arrival.seen).
  // Throws BrokenBarrier.
  Arrival arrive(arena::Space& space, os::Deadline deadline, bool action);
  // For those who came before the last: waits until the round has ended. Throws BrokenBarrier.
  void wait(arena::Space& space, const Arrival& arrival, os::Deadline deadline);
  // Throws BrokenBarrier when the round failed meanwhile.
  void acted(arena::Space& space, const Arrival& arrival);

  // Breaks it; only in the round that it was in then, if one is given.
  void abort(arena::Space& space, std::optional<std::uint64_t> seen = std::nullopt);
  void reset(arena::Space& space);

  std::uint32_t waiting() const noexcept { return came_to(state.load(std::memory_order_acquire)); }
  bool broken() const noexcept { return is_broken(state.load(std::memory_order_acquire)); }

 private:
  static constexpr std::uint64_t kBroken = 1;
  static constexpr unsigned kRoundShift = 32;

  static bool is_broken(std::uint64_t seen) { return (seen & kBroken) != 0; }
  static std::uint32_t failures(std::uint64_t seen) {
    return static_cast<std::uint32_t>(seen) >> 1;
  }
  static std::uint32_t round(std::uint64_t seen) {
    return static_cast<std::uint32_t>(seen >> kRoundShift);
  }
  static std::uint64_t made(std::uint32_t round, std::uint32_t failures, bool broken) {
    return (std::uint64_t{round} << kRoundShift) | (failures << 1) | (broken ? kBroken : 0);
  }

  std::atomic<std::uint32_t>* members() noexcept {
    return reinterpret_cast<std::atomic<std::uint32_t>*>(this + 1);
  }
  // The half of the state that is slept on.
  std::atomic<std::uint32_t>& turn() noexcept { return half_of(state, Half::high); }
  std::uint32_t came_to(std::uint64_t seen) const noexcept;
  bool somebody_died(arena::Space& space, std::uint64_t seen) noexcept;
  bool passed(arena::Space& space, std::uint64_t before);
  // Waits for the round's end, and brings it about when time is up or a party is dead.
  void sleep(arena::Space& space, std::uint64_t seen, os::Deadline deadline);
  void wake() noexcept;
  // Under the lock.
  std::optional<Arrival> enter(arena::Space& space, std::uint64_t seen, bool action) noexcept;
  void pass(std::uint64_t seen) noexcept;
  void fail(std::uint64_t seen, bool broken_then) noexcept;
};

}  // namespace cohort::sync
