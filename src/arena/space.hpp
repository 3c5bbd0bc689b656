// This process's view of the family's arena: the mapping, the allocator, the member table, and who
// we are in it. The one process-wide object of the layers below launching.
//
// After fork: a child that cohort starts takes a member id of its own (`become`); one that the host
// program forked by itself is no member, sees `epoch()` changed, and its handles turn inert.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "arena/heap.hpp"
#include "arena/members.hpp"
#include "arena/owner.hpp"
#include "cohort/detail/block_ref.hpp"
#include "os/descriptor_queue.hpp"
#include "os/fd.hpp"
#include "os/memory.hpp"

namespace cohort::arena {

// Where a module of code was loaded from, by its identity: what a member needs to load it too.
struct ModuleName {
  std::atomic<std::uint64_t> identity;
  std::atomic<std::uint32_t> written;
  char path[244];
};
inline constexpr std::size_t kModuleNames = 64;

// At the arena's very start.
struct ArenaHeader {
  std::uint64_t magic;
  std::uint64_t bytes;
  std::uint64_t member_table;  // offsets
  std::uint64_t chunk_table;
  HeapHeader heap;
  // The fork server and its standby, who notice deaths; 0 where there is none.
  std::array<std::atomic<std::uint32_t>, 2> janitors;
  std::atomic<std::uint32_t> root;
  std::atomic<std::uint32_t> members_used;
  std::atomic<std::uint32_t> tags;  // of shared blocks, so far
  std::array<ModuleName, kModuleNames> modules;
  alignas(64) std::array<std::byte, 64> descriptor_bank;  // its cell, all zero at first
};

class Space;

// For Space alone: here, so that its questions cost a load each.
extern constinit std::atomic<Space*> the_space;

class Space {
 public:
  // This process's space: the inherited one, or a new family's, made at first use.
  // Throws std::system_error (no memory file, no descriptors) or cohort::Error.
  static Space& here() {
    if (Space* made = current()) [[likely]]
      return *made;
    return found(0);
  }
  // Null before first use.
  static Space* current() noexcept { return the_space.load(std::memory_order_acquire); }
  // A new family, with `bytes` of address space reserved, 64 GiB for 0; less where the system
  // refuses.
  static Space& found(std::size_t bytes);
  // In a program run again by exec: takes the arena and the slot that its starter prepared.
  static Space& attach(os::Fd memory, MemberId self);

  // Changes in children that the host forked by itself.
  static std::uint32_t epoch() noexcept { return the_epoch.load(std::memory_order_relaxed); }

  Heap& heap() noexcept { return heap_; }
  Members& members() noexcept { return members_; }
  ArenaHeader& header() noexcept { return *header_; }
  int memory_fd() const noexcept { return memory_fd_.get(); }
  // Descriptors on their way between members: see launch/descriptor_bank.hpp.
  const os::DescriptorQueue& bank() const noexcept { return bank_; }
  MemberId self() const noexcept { return self_; }
  void become(MemberId self) noexcept { self_ = self; }

  std::byte* at(Offset place) const noexcept { return memory_.data() + place; }
  template <class T>
  T& cell(Offset place) const noexcept {
    return *reinterpret_cast<T*>(at(place));
  }
  Offset offset_of(const void* place) const noexcept {
    return static_cast<Offset>(static_cast<const std::byte*>(place) - memory_.data());
  }

  Offset allocate(std::size_t bytes) { return heap_.allocate(bytes, self_); }
  void release(Offset block) noexcept { heap_.release(block, Owner::member(self_)); }

  // Sleeps while `word`, a cell in the arena, holds `expected`: at most to the deadline, and at
  // most 100 ms, after which it looks for deaths that nobody noticed. Answers whether that time
  // passed without a wake. Callers loop.
  bool sleep_on(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                os::Deadline deadline);

  // Notes that a member died: locks it held may be taken over, every recorded wait is woken, its
  // daemons are killed. Answers false when that was known.
  bool bury(MemberId id);
  // Returns what a dead member held to the arena. Answers false when somebody else is at it, or
  // when it could not all be done now: then ask again.
  bool reclaim(MemberId id);
  // After the death of its parent: a daemon never outlives it, nor does the slot of a child that
  // nobody will ask about, or that was never made.
  void settle_orphan(MemberId id);
  // Buries every member found dead that no janitor watches. At most every 100 ms, or every second
  // beside a janitor.
  void look();
  // Buries and reclaims every member that is dead by now, or only those that no janitor watches.
  void bury_the_dead(bool only_unwatched = false);
  bool janitor_alive() const;
  // Neither when nobody is there to take over, nor while it is stopped.
  bool janitor_at_work() const;
  // The same by what is known so far, without asking the system.
  bool janitor_expected() const noexcept;

  // The name of a member for messages, its pid and so on live in its slot.
  MemberSlot& my_slot() noexcept { return members_.slot(self_); }

 private:
  Space(os::Fd memory, os::DescriptorQueue bank, MemberId self);

  void wake_all_waits();
  void end_dependants(MemberId parent);
  bool never_made(MemberId id) const;
  void settle_relations(MemberId dead);

  os::Fd memory_fd_;
  os::DescriptorQueue bank_;
  os::Mapping memory_;
  ArenaHeader* header_;
  Members members_;
  Heap heap_;
  MemberId self_;
  std::atomic<std::int64_t> looked_at_{0};
};

}  // namespace cohort::arena
