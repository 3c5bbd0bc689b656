#include "arena/heap.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

#include "cohort/error.hpp"
#include "os/step.hpp"

namespace cohort::arena {
namespace {

enum class Kind : std::uint64_t {
  free,       // pages given back
  dirty,      // free, pages kept
  claimed,    // being taken by the member in the low half
  slab,       // of the size class in the low half
  head,       // first chunk of an extent: its length, and its owner word in the low half
  releasing,  // as head, while the chunks behind it are given back
  body,       // belongs to the extent whose head is the chunk in the low half
};

constexpr std::uint64_t word(Kind kind, std::uint64_t length, std::uint32_t low) {
  return (static_cast<std::uint64_t>(kind) << 60) | (length << 32) | low;
}
constexpr Kind kind_of(std::uint64_t value) { return static_cast<Kind>(value >> 60); }
constexpr std::uint32_t length_of(std::uint64_t value) {
  return static_cast<std::uint32_t>((value >> 32) & 0x0fffffff);
}
constexpr std::uint32_t low_of(std::uint64_t value) { return static_cast<std::uint32_t>(value); }
constexpr bool is_free(std::uint64_t value) {
  return kind_of(value) == Kind::free || kind_of(value) == Kind::dirty;
}

constexpr std::int32_t kMostDirtyChunks = 1024;  // 64 MiB
constexpr int kSlabsTriedBeforeAnother = 8;

constexpr unsigned class_for(std::size_t bytes) {
  auto size = std::max(bytes, kSmallestBlock);
  return static_cast<unsigned>(std::bit_width(size - 1) - std::bit_width(kSmallestBlock - 1));
}

}  // namespace

// At the start of a slab's chunk. The owner words follow, then the blocks.
struct Heap::Slab {
  std::uint32_t size_class;
  std::uint32_t count;
  std::uint32_t first_block;  // in bytes from the chunk's start
  MemberId maker;
  std::atomic<std::uint32_t> listed;
  std::atomic<std::uint32_t> next;
  std::atomic<std::int32_t> spare;  // free blocks; about, mended by a sweep
  std::atomic<std::uint32_t> search_from;

  std::atomic<std::uint32_t>* words() {
    return reinterpret_cast<std::atomic<std::uint32_t>*>(this + 1);
  }
  std::size_t block_bytes() const { return kSmallestBlock << size_class; }
  // Which of the blocks starts at this distance from the chunk's start; `count` when none does.
  std::size_t index_at(std::size_t inside) const {
    if (inside < first_block) return count;
    std::size_t distance = inside - first_block;
    if ((distance & (block_bytes() - 1)) != 0) return count;
    std::size_t index = distance >> (std::countr_zero(kSmallestBlock) + size_class);
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

Offset Heap::allocate(std::size_t bytes, MemberId taker) {
  if (bytes <= kLargestSmallBlock) return take_small(class_for(bytes), taker);
  std::size_t chunks = (bytes + kChunkBytes - 1) / kChunkBytes;
  if (chunks >= header_.chunks) exhausted(bytes);
  auto count = static_cast<std::uint32_t>(chunks);
  std::uint32_t first = claim_run(count, taker);
  if (first == 0) exhausted(bytes);
  os::step("heap.run_claimed");
  table_[first].store(word(Kind::head, count, taker.raw), std::memory_order_release);
  os::step("heap.head_stored");
  for (std::uint32_t i = 1; i < count; ++i) {
    table_[first + i].store(word(Kind::body, 0, first), std::memory_order_release);
    if (i == 1) os::step("heap.body_stored");
  }
  return Offset{first} * kChunkBytes;
}

Offset Heap::take_small(unsigned size_class, MemberId taker) {
  auto& sizes = header_.classes[size_class];
  auto likely = sizes.likely.load(std::memory_order_acquire);
  if (likely) {
    if (Offset block = take_from_slab(likely, taker)) return block;
  }
  auto chunk = sizes.cursor.load(std::memory_order_acquire);
  for (int tried = 0; tried < kSlabsTriedBeforeAnother; ++tried) {
    if (!chunk) chunk = sizes.first.load(std::memory_order_acquire);
    if (!chunk) break;
    if (Offset block = take_from_slab(chunk, taker)) {
      sizes.likely.store(chunk, std::memory_order_release);
      sizes.cursor.store(chunk, std::memory_order_release);
      return block;
    }
    chunk = slab(chunk).next.load(std::memory_order_acquire);
  }
  sizes.cursor.store(chunk, std::memory_order_release);
  for (;;) {
    std::uint32_t fresh = add_slab(size_class, taker);
    if (fresh == 0) exhausted(kSmallestBlock << size_class);
    sizes.likely.store(fresh, std::memory_order_release);
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
    if (!words[i].compare_exchange_strong(nobody, taker.raw, std::memory_order_acquire)) continue;
    os::step("heap.small_taken");
    home.spare.fetch_sub(1, std::memory_order_relaxed);
    home.search_from.store(i + 1, std::memory_order_relaxed);
    return Offset{chunk} * kChunkBytes + home.first_block + i * home.block_bytes();
  }
  return 0;
}

std::uint32_t Heap::add_slab(unsigned size_class, MemberId taker) {
  std::uint32_t chunk = claim_run(1, taker);
  if (chunk == 0) return 0;
  Slab& fresh = slab(chunk);
  std::size_t bytes = kSmallestBlock << size_class;
  std::size_t count = (kChunkBytes - sizeof(Slab)) / (bytes + sizeof(std::uint32_t));
  auto room_from = [](std::size_t blocks) {
    return (sizeof(Slab) + blocks * sizeof(std::uint32_t) + 63) / 64 * 64;
  };
  while (room_from(count) + count * bytes > kChunkBytes) --count;
  std::memset(static_cast<void*>(&fresh), 0, room_from(count));
  fresh.size_class = size_class;
  fresh.count = static_cast<std::uint32_t>(count);
  fresh.first_block = static_cast<std::uint32_t>(room_from(count));
  fresh.maker = taker;
  fresh.spare.store(static_cast<std::int32_t>(count), std::memory_order_relaxed);
  os::step("heap.slab_claimed");
  table_[chunk].store(word(Kind::slab, 0, size_class), std::memory_order_release);
  os::step("heap.slab_made");
  list_slab(chunk);
  return chunk;
}

void Heap::list_slab(std::uint32_t chunk) noexcept {
  Slab& fresh = slab(chunk);
  auto& first = header_.classes[fresh.size_class].first;
  std::uint32_t head = first.load(std::memory_order_acquire);
  do {
    fresh.next.store(head, std::memory_order_relaxed);
  } while (!first.compare_exchange_weak(head, chunk, std::memory_order_acq_rel));
  os::step("heap.slab_listed");
  fresh.listed.store(1, std::memory_order_release);
}

std::uint32_t Heap::claim_run(std::uint32_t count, MemberId taker) {
  std::uint32_t hint =
      std::max(header_.search_from.load(std::memory_order_relaxed), header_.first_chunk);
  for (std::uint32_t start : {hint, header_.first_chunk}) {
    std::uint32_t at = start;
    bool passed_free = false;
    while (at + count <= header_.chunks) {
      std::uint32_t next = 0;
      if (claim_here(at, count, taker, next)) {
        std::uint32_t expected = start;  // unless a release moved it down meanwhile
        if (!passed_free)
          header_.search_from.compare_exchange_strong(expected, at + count,
                                                      std::memory_order_relaxed);
        return at;
      }
      passed_free = passed_free || next > at + 1;
      at = next;
    }
    if (start == header_.first_chunk) break;
  }
  return 0;
}

// Claims [first, first + count) chunk by chunk; on a conflict undoes that and names in `next` where
// to go on.
bool Heap::claim_here(std::uint32_t first, std::uint32_t count, MemberId taker,
                      std::uint32_t& next) {
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
    if (kind_of(seen) == Kind::dirty) header_.dirty_chunks.fetch_sub(1, std::memory_order_relaxed);
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
    auto& likely = header_.classes[home.size_class].likely;
    if (likely.load(std::memory_order_acquire) != chunk)
      likely.store(chunk, std::memory_order_release);
    return true;
  }
  auto seen = table_[chunk].load(std::memory_order_acquire);
  if (kind_of(seen) != Kind::head || low_of(seen) != expected.raw) return false;
  std::uint32_t count = length_of(seen);
  // The releaser is named, so that the rest can be done for it should it die here.
  if (!table_[chunk].compare_exchange_strong(seen, word(Kind::releasing, count, expected.raw),
                                             std::memory_order_acq_rel))
    return false;
  os::step("heap.releasing");
  finish_release(chunk, count);
  return true;
}

// May be done again from the start by another process: a chunk that was already given back, and
// perhaps taken by somebody else, is no longer a body of this extent, and its pages are not ours.
void Heap::finish_release(std::uint32_t chunk, std::uint32_t count) noexcept {
  bool keep =
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
  if (chunk < from) header_.search_from.store(chunk, std::memory_order_relaxed);
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
  return place.compare_exchange_strong(seen, word(Kind::head, length_of(seen), to.raw),
                                       std::memory_order_acq_rel);
}

std::size_t Heap::capacity(Offset block) const noexcept {
  auto chunk = static_cast<std::uint32_t>(block / kChunkBytes);
  auto seen = table_[chunk].load(std::memory_order_acquire);
  if (kind_of(seen) == Kind::slab) return slab(chunk).block_bytes();
  return std::size_t{length_of(seen)} * kChunkBytes;
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
      if (Owner{low_of(seen)}.names(dead)) finish_release(chunk, length_of(seen));
      break;
    }
    case Kind::slab: {
      Slab& home = slab(chunk);
      if (home.listed.load(std::memory_order_acquire) == 0 && home.maker == dead) {
        std::uint32_t at = header_.classes[home.size_class].first.load(std::memory_order_acquire);
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
  std::uint32_t end = header_.ever_used.load(std::memory_order_acquire);
  for (std::uint32_t chunk = header_.first_chunk; chunk < end; ++chunk) {
    auto seen = table_[chunk].load(std::memory_order_acquire);
    Offset start = Offset{chunk} * kChunkBytes;
    if (kind_of(seen) == Kind::head && low_of(seen) != 0) visit(start, Owner{low_of(seen)});
    if (kind_of(seen) != Kind::slab) continue;
    Slab& home = slab(chunk);
    for (std::uint32_t i = 0; i < home.count; ++i) {
      Owner owner{home.words()[i].load(std::memory_order_acquire)};
      if (owner) visit(start + home.first_block + i * home.block_bytes(), owner);
    }
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
