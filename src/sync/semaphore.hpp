// What is behind a Semaphore: a number of permits, taken and given back by one compare-and-swap.
//
// A permit that a member holds by a guard comes back when that member dies, so it must never be in
// doubt whether it was taken. The permit's record (permit.hpp) and the number cannot change in one
// instruction. So such a change is noted first, under a lock, and counted in the number's own word:
// whoever finds the lock's owner dead sees by that count whether the number was changed, and brings
// the record to what the number says. Plain acquires and releases need neither lock nor record;
// they leave the count alone. Nobody waits while holding the lock, so a stopped process can freeze
// those who hold by guards only within the few instructions of a change.
//
// (Without the lock, by the record's name in the word, a thread that was stopped between looking at
// the name and replacing it could take a later use of the same record for the one it had looked
// at.)
//
// The sleepers are not counted, since a killed one would stay in the count for ever: a mark says
// that there may be some. A release leaves the mark unless it woke fewer than it gave permits, and
// whoever slept renews it, as others may sleep still. A woken sleeper that is killed swallows its
// wake-up: its burial wakes every recorded wait, and every sleep is bounded.
#pragma once

#include <atomic>
#include <cstdint>

#include "arena/space.hpp"
#include "os/fd.hpp"
#include "os/futex.hpp"
#include "os/step.hpp"
#include "sync/backoff.hpp"
#include "sync/half_word.hpp"
#include "sync/permit.hpp"
#include "sync/robust_lock.hpp"

namespace cohort::sync {

struct SemaphoreCell {
  static constexpr std::uint32_t kMostPermits = 0x7fff'fffe;

  // The number and kSleepers in the low half, which is slept on; in the high half a count of the
  // changes that went with a record.
  std::atomic<std::uint64_t> word;
  std::uint32_t most;     // the number never exceeds it
  std::uint32_t bounded;  // whether that was asked for

  RobustLock lock;
  // The change that is going on, for whoever finds its author dead. Under the lock.
  std::atomic<std::uint32_t> counted;  // what the word will count after it
  std::atomic<std::uint32_t> taking;
  std::atomic<std::uint64_t> record;  // whose; 0: none is going on

  std::uint32_t value() const noexcept { return value_of(word.load(std::memory_order_acquire)); }
  // Takes a permit if there is one. `slept`: the caller slept for it.
  bool take(bool slept) noexcept;
  // Answers false when there would be more than `most`: then none is added.
  bool give(std::uint32_t count) noexcept;
  // The same with a permit's record, which says afterwards whether it has a permit. A record that
  // has none gives none back, and what exceeds `most` is dropped.
  bool take_with(arena::Space& space, arena::Offset permit, bool slept);
  void give_back(arena::Space& space, arena::Offset permit);
  // The same, unless somebody alive has the lock and keeps it: then nothing is done, false.
  bool give_back_soon(arena::Space& space, arena::Offset permit);

  // Waits until take_one(slept) takes a permit. Answers false when there was none in time.
  template <class Take>
  bool wait(arena::Space& space, os::Deadline deadline, Take&& take_one);

 private:
  static constexpr std::uint32_t kSleepers = 1U << 31;
  static constexpr unsigned kCountShift = 32;

  static std::uint32_t low(std::uint64_t seen) { return static_cast<std::uint32_t>(seen); }
  static std::uint32_t value_of(std::uint64_t seen) { return low(seen) & ~kSleepers; }
  static std::uint32_t count_of(std::uint64_t seen) {
    return static_cast<std::uint32_t>(seen >> kCountShift);
  }

  // The half of the word that is slept on.
  std::atomic<std::uint32_t>& number() noexcept { return half_of(word, Half::low); }
  void wake(std::uint64_t now, std::uint32_t count) noexcept;
  void pass_on(std::uint64_t before, bool slept) noexcept;
  // Marks that somebody sleeps. Answers false when there is a permit.
  bool mark_sleepers() noexcept;
  void mend(arena::Space& space) noexcept;
  std::uint64_t put_back(arena::Space& space, const Locked& guard, arena::Offset permit);
  void begin(arena::Offset permit, bool take_one) noexcept;
  void finish(PermitRecord& permit) noexcept;
};

template <class Take>
bool SemaphoreCell::wait(arena::Space& space, os::Deadline deadline, Take&& take_one) {
  if (take_one(false)) return true;
  if (deadline && os::Clock::now() >= *deadline) return false;
  for (Backoff backoff; backoff.step();) {
    if (value() != 0 && take_one(false)) return true;
  }
  for (bool slept = false;; slept = true) {
    while (!mark_sleepers()) {
      if (take_one(slept)) return true;
    }
    // Marked before it gives up: a wake-up that ended this thread's sleep was for others, too.
    if (deadline && os::Clock::now() >= *deadline) return false;
    os::step("semaphore.sleeping");
    space.sleep_on(number(), kSleepers, deadline);
    os::step("semaphore.woken");
  }
}

}  // namespace cohort::sync
