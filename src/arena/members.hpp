// The member table: one slot in the arena for each process of the family.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <string_view>

#include "arena/owner.hpp"

namespace cohort::arena {

enum class Phase : std::uint32_t {
  free,
  starting,  // enlisted by its parent, not running yet
  making,    // the same, and the fork server is about to make its process
  running,
  dead,   // noticed; its blocks are being returned
  ended,  // returned; kept until the parent has seen how it ended
};

inline constexpr std::uint32_t kDaemon = 1;  // dies with its parent
inline constexpr std::uint32_t kHelper = 2;  // a fork server, not one of the program's own
// Its parent collects results from its blocks first, and then lets go of them by `collected`.
inline constexpr std::uint32_t kCollected = 4;
inline constexpr std::uint32_t kHeldByParent = 8;  // its parent has a pidfd of it

inline constexpr std::size_t kWaitsPerMember = 24;
inline constexpr std::size_t kNameBytes = 64;

// How far a new process has come, for a parent that waits for it.
enum class Readiness : std::uint32_t { not_yet, decoded, failed };

struct alignas(64) MemberSlot {
  // Phase, generation << 8, parent << 28: one word, so that no kill leaves a slot that is nobody's.
  std::atomic<std::uint64_t> state;
  std::atomic<std::int32_t> pid;  // stored by the kernel while the process is made
  std::atomic<std::uint32_t> parent;
  std::atomic<std::uint32_t> flags;
  std::atomic<std::uint32_t> collected;  // generation, once the parent let go of a kCollected one
  // Who returns the blocks of this dead member | generation << 32.
  std::atomic<std::uint64_t> reaper;
  std::atomic<std::uint32_t> farewells;      // generation << 2 | kSeenByParent | kReturned
  std::atomic<std::uint64_t> running_since;  // boot time, ns
  std::atomic<std::uint32_t> ended;          // futex: 1 once exit_code holds
  std::atomic<std::int32_t> exit_code;
  std::atomic<std::uint32_t> watched;  // a janitor was told of it and polls its pidfd
  std::atomic<std::uint32_t> relayed;  // somebody other than the parent reaps it
  std::atomic<std::uint32_t> ready;    // futex: a Readiness
  // Why it could not run its target: a parcel with an exception where `ready` says failed, else the
  // errno of the exec.
  std::atomic<std::uint64_t> failure;
  char name[kNameBytes];
  // The futex words, as offsets, that threads of this member sleep on.
  std::array<std::atomic<std::uint64_t>, kWaitsPerMember> waits;
};

class Members {
 public:
  // `used`: how many slots were ever taken, so that walks over the table end there.
  Members(MemberSlot* slots, std::atomic<std::uint32_t>& used) : slots_(slots), used_(used) {}

  std::uint32_t used() const noexcept { return used_.load(std::memory_order_acquire); }

  MemberSlot& slot(MemberId id) const noexcept { return slots_[id.slot()]; }
  MemberSlot& slot(std::uint32_t index) const noexcept { return slots_[index]; }

  // Takes a free slot for a process about to be started. Throws cohort::Error when all are taken.
  MemberId enlist(MemberId parent, std::string_view name, std::uint32_t flags);
  // The new process says that it runs. Answers false when its slot was given up meanwhile.
  bool activate(MemberId id, pid_t pid) noexcept;
  // The fork server is about to make the process: only a fork server gives the slot up from now on,
  // as the kernel may write a pid into it. Answers false when it was given up before.
  bool begin_making(MemberId id) noexcept;
  // Gives up a slot whose process was never made.
  void discharge(MemberId id) noexcept;

  Phase phase(MemberId id) const noexcept;  // Phase::free for a past generation
  bool is_dead(MemberId id) const noexcept;
  MemberId at(std::uint32_t index) const noexcept;  // whoever is in the slot now, or nobody
  MemberId parent(MemberId id) const noexcept;

  // Answers true for the one caller that turned a running member into a dead one.
  bool mark_dead(MemberId id) noexcept;
  // The parent of a kCollected member has collected what it wanted of it.
  void collected(MemberId id) noexcept {
    if (phase(id) != Phase::free) slot(id).collected.store(id.generation());
  }
  // The parent has seen the end (or dropped the right to), the reaper has returned the blocks:
  // whoever says the second of the two frees the slot.
  void seen_by_parent(MemberId id) noexcept;
  void returned(MemberId id) noexcept;
  // Frees the slot where the second of the two was killed before it could.
  void settle(MemberId id) noexcept;

  // Looks at the process itself: whether it is no longer running (a zombie is not).
  bool process_gone(MemberId id) const;

  void record_exit(MemberId id, int code) noexcept;
  // The pid of a member that is dead, for messages; 0 when its slot has passed on.
  std::int32_t pid_of_dead(MemberId id) const noexcept;

 private:
  void farewell(MemberId id, std::uint32_t bit) noexcept;
  bool advance(MemberId id, Phase from, Phase to) noexcept;

  MemberSlot* slots_;
  std::atomic<std::uint32_t>& used_;
};

}  // namespace cohort::arena
