// The record of a permit that is held by a guard, so that it is found when its holder dies.
#pragma once

#include <atomic>
#include <cstdint>

#include "arena/space.hpp"

namespace cohort::sync {

// A block of Purpose::permit, owned by the member that holds the permit. Such memory is never
// anything else, but in a new block it may hold anything: what stands here counts only when `home`
// bears the mark, and that is set last and erased first.
struct PermitRecord {
  std::atomic<std::uint64_t> home;    // the semaphore's block, marked
  std::atomic<std::uint64_t> serial;  // tells this use of the record from others in this process
  std::atomic<std::uint32_t> held;    // whether it stands for a permit that was taken

  // The semaphore's block; 0 when this record is nobody's.
  arena::Offset semaphore() const noexcept;
  void assign(arena::Offset semaphore_block, std::uint64_t new_serial) noexcept;
  void erase() noexcept { home.store(0, std::memory_order_release); }
};

// A record made for a permit that is to be taken, given back at the end unless it was kept.
class FreshRecord {
 public:
  // Throws cohort::Error where the arena is exhausted.
  FreshRecord(arena::Space& space, arena::Offset semaphore_block);
  ~FreshRecord();
  FreshRecord(const FreshRecord&) = delete;
  FreshRecord& operator=(const FreshRecord&) = delete;

  arena::Offset place() const noexcept { return place_; }
  // What a guard knows it by: its place, and the serial of this use.
  std::uint64_t keep() noexcept;

 private:
  arena::Space& space_;
  arena::Offset place_;
  std::uint64_t serial_;
  bool kept_ = false;
};

// The place of the record that a guard knows by this name; 0 when it is another's by now, as in a
// child that was forked with a copy of the guard.
arena::Offset find_record(arena::Space& space, std::uint64_t name) noexcept;
void release_record(arena::Space& space, arena::Offset place, arena::MemberId owner) noexcept;

}  // namespace cohort::sync
