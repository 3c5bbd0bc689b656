// The arena's allocator. Crash-safe by construction: a block is taken and given back by one
// compare-and-swap of its owner word, which names the taker; so whatever a killed member held, or
// was taking or giving back at that instant, is found by its name and returned. There is no lock
// and no list whose repair could be interrupted.
//
// The arena is cut into chunks of 64 KiB, each with a word in the chunk table. Small blocks (up to
// 8 KiB) lie in slabs, one chunk cut into blocks of one size, which stay slabs of that size
// and purpose for ever; larger ones are extents, runs of whole chunks. Freed extents of messages
// keep their pages while little is kept that way; all else of a MiB or more is given back to the
// system at once.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "arena/owner.hpp"
#include "os/memory.hpp"

namespace cohort::arena {

inline constexpr std::size_t kChunkBytes = 64 * 1024;
inline constexpr std::size_t kSmallestBlock = 64;
inline constexpr std::size_t kLargestSmallBlock = 8 * 1024;
inline constexpr unsigned kSizeClasses = 8;

// What a block is for. Blocks of one purpose are found without a look at the others, and a small
// block's memory never serves another purpose. Permits and waiters are small.
enum class Purpose : std::uint32_t { general, shared, message, permit, waiter, count };

// The allocator's part of the arena's first chunks.
struct HeapHeader {
  std::uint32_t chunks;                    // in the whole arena
  std::uint32_t first_chunk;               // the first that may be taken
  std::atomic<std::uint32_t> ever_used;    // no chunk from here on was ever taken
  std::atomic<std::uint32_t> search_from;  // no free chunk is likely to lie below
  std::atomic<std::int32_t> dirty_chunks;  // freed but not given back; about
  struct SizeClass {
    std::atomic<std::uint32_t> first;   // all slabs of the size, linked
    std::atomic<std::uint32_t> likely;  // a slab that had a free block lately
    std::atomic<std::uint32_t> cursor;  // where the next search goes on
  };
  std::array<SizeClass, kSizeClasses* static_cast<std::size_t>(Purpose::count)> classes;
};

class Heap {
 public:
  // Over the arena mapped at `base`; `table` has one word per chunk.
  Heap(const os::Mapping& memory, HeapHeader& header, std::atomic<std::uint64_t>* table)
      : memory_(memory), header_(header), table_(table) {}

  // A block of at least `bytes`, aligned to 64 bytes, its contents undefined. Throws
  // cohort::Error where the arena is exhausted.
  Offset allocate(std::size_t bytes, MemberId taker, Purpose purpose = Purpose::general);
  // The same, all zero: without touching memory that is zero already.
  Offset allocate_zeroed(std::size_t bytes, MemberId taker, Purpose purpose);
  // Gives a block back that `expected`, a member by Hold::owned or Hold::finalizing, holds. Answers
  // false when that was not its owner: then nothing was done.
  bool release(Offset block, Owner expected) noexcept;

  Owner owner(Offset block) const noexcept;
  // Whether a block may start here: says so of every place where one was ever allocated.
  bool plausible(Offset block) const noexcept;
  bool change_owner(Offset block, Owner from, Owner to) noexcept;
  std::size_t capacity(Offset block) const noexcept;
  Purpose purpose(Offset block) const noexcept;
  // Whether it lies in a slab: then its memory is never anything but a block of this size and
  // purpose.
  bool small(Offset block) const noexcept { return slab_word(block) != nullptr; }

  // Returns what `dead` left half taken or half given back, then calls `visit` for each block that
  // has an owner. Safe beside running allocations; one sweep at a time.
  void sweep(MemberId dead, const std::function<void(Offset, Owner)>& visit);
  void for_each_block(const std::function<void(Offset, Owner)>& visit) const;
  void for_each_block(Purpose purpose, const std::function<void(Offset, Owner)>& visit) const;
  // The number of blocks that have an owner.
  std::size_t blocks_held() const;
  // Gives the pages of free chunks back to the system.
  void trim(MemberId worker) noexcept;

  std::size_t largest_possible() const noexcept;

 private:
  struct Slab;

  Slab& slab(std::uint32_t chunk) const noexcept;
  std::atomic<std::uint32_t>* slab_word(Offset block) const noexcept;
  // A run of claimed chunks.
  struct Run {
    std::uint32_t first = 0;  // 0: none was found
    bool dirty = false;       // some of its pages may hold something
  };

  Offset take_small(std::uint32_t sizes, MemberId taker);
  Offset take_extent(std::size_t bytes, MemberId taker, Purpose purpose, bool zeroed);
  Offset take_from_slab(std::uint32_t chunk, MemberId taker) noexcept;
  std::uint32_t add_slab(std::uint32_t sizes, MemberId taker);
  void list_slab(std::uint32_t chunk) noexcept;
  Run claim_run(std::uint32_t count, MemberId taker);
  bool claim_here(Run& run, std::uint32_t count, MemberId taker, std::uint32_t& next);
  void finish_release(std::uint32_t chunk, std::uint64_t head) noexcept;
  void visit_slab(std::uint32_t chunk, const std::function<void(Offset, Owner)>& visit) const;
  void mend_chunk(std::uint32_t chunk, MemberId dead) noexcept;
  [[noreturn]] void exhausted(std::size_t bytes) const;

  const os::Mapping& memory_;
  HeapHeader& header_;
  std::atomic<std::uint64_t>* table_;
};

}  // namespace cohort::arena
