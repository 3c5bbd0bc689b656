#include "arena/heap.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

#include "cohort/error.hpp"
#include "os/handover.hpp"
#include "os/step.hpp"

namespace cohort::arena {
namespace {

enum class Kind : std::uint64_t {
  free,       // pages given back
  dirty,      // free, pages kept
  claimed,    // being taken by the member in the low half
  slab,       // of the size and purpose in the low half
  head,       // first chunk of an extent: its purpose, its length, its owner word in the low half
  releasing,  // as head, while the chunks behind it are given back
  body,       // belongs to the extent whose head is the chunk in the low half
};

constexpr std::uint64_t word(Kind kind, std::uint64_t length, std::uint32_t low,
                             Purpose purpose = Purpose::general) {
  return (static_cast<std::uint64_t>(kind) << 60) | (static_cast<std::uint64_t>(purpose) << 56) |
         (length << 32) | low;
}
constexpr Kind kind_of(std::uint64_t value) { return static_cast<Kind>(value >> 60); }
constexpr std::uint32_t length_of(std::uint64_t value) {
  return static_cast<std::uint32_t>((value >> 32) & 0x00ffffff);
}
constexpr Purpose extent_purpose(std::uint64_t value) {
  return static_cast<Purpose>((value >> 56) & 0xf);
}
// The same block with another word of these two.
constexpr std::uint64_t with_kind(std::uint64_t value, Kind kind) {
  return (value & ~(std::uint64_t{0xf} << 60)) | (static_cast<std::uint64_t>(kind) << 60);
}
constexpr std::uint64_t with_low(std::uint64_t value, std::uint32_t low) {
  return (value & ~std::uint64_t{0xffffffff}) | low;
}
constexpr std::uint32_t low_of(std::uint64_t value) { return static_cast<std::uint32_t>(value); }
constexpr bool is_free(std::uint64_t value) {
  return kind_of(value) == Kind::free || kind_of(value) == Kind::dirty;
}

constexpr std::int32_t kMostDirtyChunks = 1024;  // 64 MiB
// From here on blocks other than messages give their pages back at once; and zeroing forgets pages
// rather than writing them.
constexpr std::uint32_t kLargeChunks = 16;
constexpr int kSlabsTriedBeforeAnother = 8;

constexpr unsigned class_for(std::size_t bytes) {
  auto size = std::max(bytes, kSmallestBlock);
  return static_cast<unsigned>(std::bit_width(size - 1) - std::bit_width(kSmallestBlock - 1));
}
// Which list of slabs: by purpose, then by size.
constexpr std::uint32_t sizes_for(std::size_t bytes, Purpose purpose) {
  return static_cast<std::uint32_t>(purpose) * kSizeClasses + class_for(bytes);
}
constexpr std::size_t block_bytes_of(std::uint32_t sizes) {
  return kSmallestBlock << (sizes % kSizeClasses);
}
constexpr Purpose purpose_of(std::uint32_t sizes) {
  return static_cast<Purpose>(sizes / kSizeClasses);
}
constexpr bool has_extents(Purpose purpose) {
  return purpose != Purpose::permit && purpose != Purpose::waiter;
}

}  // namespace

// At the start of a slab's chunk. The owner words follow, then the blocks.
struct Heap::Slab {
  std::uint32_t sizes;
  std::uint32_t count;
  std::uint32_t first_block;  // in bytes from the chunk's start
  MemberId maker;
  std::atomic<std::uint32_t> listed;
  std::atomic<std::uint32_t> next;
  std::atomic<std::int32_t> spare;  // free blocks; about, mended by a sweep
  std::atomic<std::uint32_t> search_from;
  std::atomic<std::uint32_t> ever_used;  // no block from here on was ever taken

  std::atomic<std::uint32_t>* words() {
    return reinterpret_cast<std::atomic<std::uint32_t>*>(this + 1);
  }
  std::size_t block_bytes() const { return block_bytes_of(sizes); }
  // Which of the blocks starts at this distance from the chunk's start; `count` when none does.
  std::size_t index_at(std::size_t inside) const {
    if (inside < first_block) return count;
    std::size_t distance = inside - first_block;
    if ((distance & (block_bytes() - 1)) != 0) return count;
    std::size_t index = distance >> std::countr_zero(block_bytes());
    return index < count ? index : count;
  }
};

Heap::Slab& Heap::slab(std::uint32_t chunk) const noexcept {
  return *reinterpret_cast<Slab*>(memory_.data() + std::size_t{chunk} * kChunkBytes);
}

// Null when no small block starts here (any more: a stale offset may name what is a slab by now).
std::atomic<std::uint32_t>* Heap::slab_word(Offset block) const noexcept {
  auto chunk = static_cast<std::uint32_t>(block / kChunkBytes);
  if (kind_of(table_[chunk].load(std::memory_order_acquire)) != Kind::slab) return nullptr;
  Slab& home = slab(chunk);
  std::size_t index = home.index_at(block % kChunkBytes);
  return index < home.count ? home.words() + index : nullptr;
}

Offset Heap::allocate(std::size_t bytes, MemberId taker, Purpose purpose) {
  os::take_over();
  if (bytes > largest_possible()) exhausted(bytes);  // beyond it, sums may wrap around
  if (bytes <= kLargestSmallBlock) return take_small(sizes_for(bytes, purpose), taker);
  return take_extent(bytes, taker, purpose, false);
}

Offset Heap::allocate_zeroed(std::size_t bytes, MemberId taker, Purpose purpose) {
  os::take_over();
  if (bytes > largest_possible()) exhausted(bytes);
  if (bytes > kLargestSmallBlock) return take_extent(bytes, taker, purpose, true);
  Offset block = take_small(sizes_for(bytes, purpose), taker);
  std::memset(memory_.data() + block, 0, bytes);
  return block;
}

Offset Heap::take_extent(std::size_t bytes, MemberId taker, Purpose purpose, bool zeroed) {
  std::size_t chunks = bytes / kChunkBytes + (bytes % kChunkBytes != 0 ? 1 : 0);
  if (chunks >= header_.chunks) exhausted(bytes);
  auto count = static_cast<std::uint32_t>(chunks);
  Run run = claim_run(count, taker);
  if (run.first == 0) exhausted(bytes);
  os::step("heap.run_claimed");
  Offset block = Offset{run.first} * kChunkBytes;
  if (zeroed && run.dirty) {
    if (count < kLargeChunks) {
      std::memset(memory_.data() + block, 0, bytes);
    } else {
      memory_.punch(block, std::size_t{count} * kChunkBytes);
    }
  }
  table_[run.first].store(word(Kind::head, count, taker.raw, purpose), std::memory_order_release);
  os::step("heap.head_stored");
  for (std::uint32_t i = 1; i < count; ++i) {
    table_[run.first + i].store(word(Kind::body, 0, run.first), std::memory_order_release);
    if (i == 1) os::step("heap.body_stored");
  }
  return block;
}

Offset Heap::take_small(std::uint32_t sizes, MemberId taker) {
  auto& list = header_.classes[sizes];
  auto likely = list.likely.load(std::memory_order_acquire);
  if (likely) {
    if (Offset block = take_from_slab(likely, taker)) return block;
  }
  auto chunk = list.cursor.load(std::memory_order_acquire);
  for (int tried = 0; tried < kSlabsTriedBeforeAnother; ++tried) {
    if (!chunk) chunk = list.first.load(std::memory_order_acquire);
    if (!chunk) break;
    if (Offset block = take_from_slab(chunk, taker)) {
      list.likely.store(chunk, std::memory_order_release);
      list.cursor.store(chunk, std::memory_order_release);
      return block;
    }
    chunk = slab(chunk).next.load(std::memory_order_acquire);
  }
  list.cursor.store(chunk, std::memory_order_release);
  for (;;) {
    std::uint32_t fresh = add_slab(sizes, taker);
    if (fresh == 0) exhausted(block_bytes_of(sizes));
    list.likely.store(fresh, std::memory_order_release);
    if (Offset block = take_from_slab(fresh, taker)) return block;
  }
}

Offset Heap::take_from_slab(std::uint32_t chunk, MemberId taker) noexcept {
  Slab& home = slab(chunk);
  if (home.spare.load(std::memory_order_relaxed) <= 0) return 0;
  std::uint32_t start = home.search_from.load(std::memory_order_relaxed);
  if (start >= home.count) start = 0;
  auto* words = home.words();
  for (std::uint32_t step = 0; step < home.count; ++step) {
    std::uint32_t i = start + step < home.count ? start + step : start + step - home.count;
    std::uint32_t nobody = 0;
    if (words[i].load(std::memory_order_relaxed) != 0) continue;
    auto used = home.ever_used.load(std::memory_order_relaxed);
    while (used <= i && !home.ever_used.compare_exchange_weak(used, i + 1)) {
    }
    if (!words[i].compare_exchange_strong(nobody, taker.raw, std::memory_order_acquire)) continue;
    os::step("heap.small_taken");
    home.spare.fetch_sub(1, std::memory_order_relaxed);
    home.search_from.store(i + 1, std::memory_order_relaxed);
    return Offset{chunk} * kChunkBytes + home.first_block + i * home.block_bytes();
  }
  return 0;
}

std::uint32_t Heap::add_slab(std::uint32_t sizes, MemberId taker) {
  std::uint32_t chunk = claim_run(1, taker).first;
  if (chunk == 0) return 0;
  Slab& fresh = slab(chunk);
  std::size_t bytes = block_bytes_of(sizes);
  std::size_t count = (kChunkBytes - sizeof(Slab)) / (bytes + sizeof(std::uint32_t));
  auto room_from = [](std::size_t blocks) {
    return (sizeof(Slab) + blocks * sizeof(std::uint32_t) + 63) / 64 * 64;
  };
  while (room_from(count) + count * bytes > kChunkBytes) --count;
  std::memset(static_cast<void*>(&fresh), 0, room_from(count));
  fresh.sizes = sizes;
  fresh.count = static_cast<std::uint32_t>(count);
  fresh.first_block = static_cast<std::uint32_t>(room_from(count));
  fresh.maker = taker;
  fresh.spare.store(static_cast<std::int32_t>(count), std::memory_order_relaxed);
  os::step("heap.slab_claimed");
  table_[chunk].store(word(Kind::slab, 0, sizes), std::memory_order_release);
  os::step("heap.slab_made");
  list_slab(chunk);
  return chunk;
}

void Heap::list_slab(std::uint32_t chunk) noexcept {
  Slab& fresh = slab(chunk);
  auto& first = header_.classes[fresh.sizes].first;
  std::uint32_t head = first.load(std::memory_order_acquire);
  do {
    fresh.next.store(head, std::memory_order_relaxed);
  } while (!first.compare_exchange_weak(head, chunk, std::memory_order_acq_rel));
  os::step("heap.slab_listed");
  fresh.listed.store(1, std::memory_order_release);
}

Heap::Run Heap::claim_run(std::uint32_t count, MemberId taker) {
  std::uint32_t hint =
      std::max(header_.search_from.load(std::memory_order_relaxed), header_.first_chunk);
  for (std::uint32_t start : {hint, header_.first_chunk}) {
    std::uint32_t at = start;
    bool passed_free = false;
    while (at + count <= header_.chunks) {
      std::uint32_t next = 0;
      Run run{at, false};
      if (claim_here(run, count, taker, next)) {
        std::uint32_t expected = start;  // unless a release moved it down meanwhile
        if (!passed_free)
          header_.search_from.compare_exchange_strong(expected, at + count,
                                                      std::memory_order_relaxed);
        return run;
      }
      passed_free = passed_free || next > at + 1;
      at = next;
    }
    if (start == header_.first_chunk) break;
  }
  return {};
}

// Claims `count` chunks from run.first on, one by one; on a conflict undoes that and names in
// `next` where to go on.
bool Heap::claim_here(Run& run, std::uint32_t count, MemberId taker, std::uint32_t& next) {
  std::uint32_t first = run.first;
  for (std::uint32_t i = 0; i < count; ++i) {
    if (!is_free(table_[first + i].load(std::memory_order_relaxed))) {
      next = first + i + 1;
      return false;
    }
  }
  auto used = header_.ever_used.load(std::memory_order_relaxed);
  while (used < first + count &&
         !header_.ever_used.compare_exchange_weak(used, first + count, std::memory_order_relaxed)) {
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    auto seen = table_[first + i].load(std::memory_order_relaxed);
    bool taken =
        is_free(seen) && table_[first + i].compare_exchange_strong(
                             seen, word(Kind::claimed, 0, taker.raw), std::memory_order_acquire);
    if (!taken) {
      for (std::uint32_t back = 0; back < i; ++back)
        table_[first + back].store(word(Kind::dirty, 0, 0), std::memory_order_release);
      header_.dirty_chunks.fetch_add(static_cast<std::int32_t>(i), std::memory_order_relaxed);
      next = first + i + 1;
      return false;
    }
    if (kind_of(seen) == Kind::dirty) {
      run.dirty = true;
      header_.dirty_chunks.fetch_sub(1, std::memory_order_relaxed);
    }
  }
  return true;
}

bool Heap::release(Offset block, Owner expected) noexcept {
  auto chunk = static_cast<std::uint32_t>(block / kChunkBytes);
  if (auto* held = slab_word(block)) {
    if (!held->compare_exchange_strong(expected.raw, 0, std::memory_order_release)) return false;
    os::step("heap.small_given_back");
    Slab& home = slab(chunk);
    home.spare.fetch_add(1, std::memory_order_relaxed);
    auto& likely = header_.classes[home.sizes].likely;
    if (likely.load(std::memory_order_acquire) != chunk)
      likely.store(chunk, std::memory_order_release);
    return true;
  }
  auto seen = table_[chunk].load(std::memory_order_acquire);
  if (kind_of(seen) != Kind::head || low_of(seen) != expected.raw) return false;
  // The releaser is named, so that the rest can be done for it should it die here.
  if (!table_[chunk].compare_exchange_strong(seen, with_kind(seen, Kind::releasing),
                                             std::memory_order_acq_rel))
    return false;
  os::step("heap.releasing");
  finish_release(chunk, seen);
  return true;
}

// May be done again from the start by another process: a chunk that was already given back, and
// perhaps taken by somebody else, is no longer a body of this extent, and its pages are not ours.
void Heap::finish_release(std::uint32_t chunk, std::uint64_t head) noexcept {
  std::uint32_t count = length_of(head);
  bool keep =
      (count < kLargeChunks || extent_purpose(head) == Purpose::message) &&
      header_.dirty_chunks.load(std::memory_order_relaxed) + static_cast<std::int32_t>(count) <=
          kMostDirtyChunks;
  std::uint64_t free_word = word(keep ? Kind::dirty : Kind::free, 0, 0);
  auto ours = [&](std::uint32_t i) {
    return i == 0 ||
           table_[chunk + i].load(std::memory_order_relaxed) == word(Kind::body, 0, chunk);
  };
  for (std::uint32_t i = 0; i < count;) {
    std::uint32_t end = i;
    while (end < count && ours(end)) ++end;
    if (!keep && end > i)
      memory_.punch(std::size_t{chunk + i} * kChunkBytes, std::size_t{end - i} * kChunkBytes);
    os::step("heap.punched");
    for (std::uint32_t body = std::max(i, 1U); body < end; ++body) {
      table_[chunk + body].store(free_word, std::memory_order_release);
      if (body == 1) os::step("heap.body_given_back");
    }
    i = std::max(end, i + 1);
  }
  os::step("heap.bodies_given_back");
  table_[chunk].store(free_word, std::memory_order_release);
  os::step("heap.head_given_back");
  if (keep)
    header_.dirty_chunks.fetch_add(static_cast<std::int32_t>(count), std::memory_order_relaxed);
  auto from = header_.search_from.load(std::memory_order_relaxed);
  while (chunk < from && !header_.search_from.compare_exchange_weak(from, chunk)) {
  }
}

Owner Heap::owner(Offset block) const noexcept {
  if (auto* held = slab_word(block)) return {held->load(std::memory_order_acquire)};
  auto seen = table_[block / kChunkBytes].load(std::memory_order_acquire);
  return kind_of(seen) == Kind::head ? Owner{low_of(seen)} : Owner{};
}

bool Heap::change_owner(Offset block, Owner from, Owner to) noexcept {
  if (auto* held = slab_word(block))
    return held->compare_exchange_strong(from.raw, to.raw, std::memory_order_acq_rel);
  auto& place = table_[block / kChunkBytes];
  auto seen = place.load(std::memory_order_acquire);
  if (kind_of(seen) != Kind::head || low_of(seen) != from.raw) return false;
  return place.compare_exchange_strong(seen, with_low(seen, to.raw), std::memory_order_acq_rel);
}

std::size_t Heap::capacity(Offset block) const noexcept {
  auto chunk = static_cast<std::uint32_t>(block / kChunkBytes);
  auto seen = table_[chunk].load(std::memory_order_acquire);
  if (kind_of(seen) == Kind::slab) return slab(chunk).block_bytes();
  return std::size_t{length_of(seen)} * kChunkBytes;
}

Purpose Heap::purpose(Offset block) const noexcept {
  auto seen = table_[block / kChunkBytes].load(std::memory_order_acquire);
  return kind_of(seen) == Kind::slab ? purpose_of(low_of(seen)) : extent_purpose(seen);
}

std::size_t Heap::largest_possible() const noexcept {
  return std::size_t{header_.chunks - header_.first_chunk} * kChunkBytes;
}

// Only the sweep calls this, for a member that is dead: nobody else touches what it had in hand.
void Heap::mend_chunk(std::uint32_t chunk, MemberId dead) noexcept {
  auto seen = table_[chunk].load(std::memory_order_acquire);
  switch (kind_of(seen)) {
    case Kind::claimed:
      if (low_of(seen) == dead.raw)
        table_[chunk].compare_exchange_strong(seen, word(Kind::dirty, 0, 0));
      break;
    case Kind::releasing: {
      if (Owner{low_of(seen)}.names(dead)) finish_release(chunk, seen);
      break;
    }
    case Kind::slab: {
      Slab& home = slab(chunk);
      if (home.listed.load(std::memory_order_acquire) == 0 && home.maker == dead) {
        std::uint32_t at = header_.classes[home.sizes].first.load(std::memory_order_acquire);
        while (at && at != chunk) at = slab(at).next.load(std::memory_order_acquire);
        if (at == 0) list_slab(chunk);
        home.listed.store(1, std::memory_order_release);
      }
      std::int32_t spare = 0;
      for (std::uint32_t i = 0; i < home.count; ++i)
        spare += home.words()[i].load(std::memory_order_relaxed) == 0 ? 1 : 0;
      home.spare.store(spare, std::memory_order_relaxed);
      break;
    }
    default:
      break;
  }
}

void Heap::sweep(MemberId dead, const std::function<void(Offset, Owner)>& visit) {
  std::uint32_t end = header_.ever_used.load(std::memory_order_acquire);
  std::int32_t dirty = 0;
  for (std::uint32_t chunk = header_.first_chunk; chunk < end; ++chunk) {
    mend_chunk(chunk, dead);
    if (kind_of(table_[chunk].load(std::memory_order_relaxed)) == Kind::dirty) ++dirty;
  }
  header_.dirty_chunks.store(dirty, std::memory_order_relaxed);
  for_each_block(visit);
}

void Heap::for_each_block(const std::function<void(Offset, Owner)>& visit) const {
  for (std::uint32_t i = 0; i < static_cast<std::uint32_t>(Purpose::count); ++i)
    for_each_block(static_cast<Purpose>(i), visit);
}

void Heap::for_each_block(Purpose purpose, const std::function<void(Offset, Owner)>& visit) const {
  for (std::uint32_t i = 0; i < kSizeClasses; ++i) {
    auto& list = header_.classes[static_cast<std::uint32_t>(purpose) * kSizeClasses + i];
    auto chunk = list.first.load(std::memory_order_acquire);
    for (; chunk; chunk = slab(chunk).next.load(std::memory_order_acquire))
      visit_slab(chunk, visit);
  }
  if (!has_extents(purpose)) return;
  std::uint32_t end = header_.ever_used.load(std::memory_order_acquire);
  for (std::uint32_t chunk = header_.first_chunk; chunk < end; ++chunk) {
    auto seen = table_[chunk].load(std::memory_order_acquire);
    if (kind_of(seen) == Kind::head && low_of(seen) != 0 && extent_purpose(seen) == purpose)
      visit(Offset{chunk} * kChunkBytes, Owner{low_of(seen)});
  }
}

void Heap::visit_slab(std::uint32_t chunk, const std::function<void(Offset, Owner)>& visit) const {
  Slab& home = slab(chunk);
  const std::uint32_t end = home.ever_used.load(std::memory_order_acquire);
  for (std::uint32_t i = 0; i < end; ++i) {
    Owner owner{home.words()[i].load(std::memory_order_acquire)};
    if (owner)
      visit(Offset{chunk} * kChunkBytes + home.first_block + i * home.block_bytes(), owner);
  }
}

void Heap::trim(MemberId worker) noexcept {
  std::uint32_t end = header_.ever_used.load(std::memory_order_relaxed);
  for (std::uint32_t chunk = header_.first_chunk; chunk < end; ++chunk) {
    auto seen = table_[chunk].load(std::memory_order_relaxed);
    if (kind_of(seen) != Kind::dirty) continue;
    if (!table_[chunk].compare_exchange_strong(seen, word(Kind::claimed, 0, worker.raw))) continue;
    memory_.punch(std::size_t{chunk} * kChunkBytes, kChunkBytes);
    table_[chunk].store(word(Kind::free, 0, 0), std::memory_order_release);
    header_.dirty_chunks.fetch_sub(1, std::memory_order_relaxed);
  }
}

std::size_t Heap::blocks_held() const {
  std::size_t count = 0;
  for_each_block([&](Offset, Owner) { ++count; });
  return count;
}

bool Heap::plausible(Offset block) const noexcept {
  auto chunk = block / kChunkBytes;
  if (chunk < header_.first_chunk || chunk >= header_.ever_used.load(std::memory_order_acquire))
    return false;
  auto kind = kind_of(table_[chunk].load(std::memory_order_acquire));
  if (kind == Kind::head) return block % kChunkBytes == 0;
  if (kind != Kind::slab) return false;
  const Slab& home = slab(static_cast<std::uint32_t>(chunk));
  return home.index_at(block % kChunkBytes) < home.count;
}

void Heap::exhausted(std::size_t bytes) const {
  throw Error("the arena is exhausted: no room for " + std::to_string(bytes) +
              " more bytes in its reserve of " +
              std::to_string(std::size_t{header_.chunks} * kChunkBytes >> 20) +
              " MiB; drop queues, arrays or results that are no longer needed, or reserve more "
              "with cohort::init(argc, argv, {.arena_bytes = ...})");
}

}  // namespace cohort::arena
