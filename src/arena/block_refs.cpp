#include "arena/block_refs.hpp"

#include <memory>
#include <unordered_map>

#include "arena/space.hpp"
#include "cohort/error.hpp"
#include "os/step.hpp"

namespace cohort::detail {

using arena::Offset;
using arena::Space;

namespace {

// Which Local stands for which block. Never destroyed: handles may be static objects.
struct Registry {
  std::mutex mutex;
  std::unordered_map<Offset, void*> locals;
  std::uint32_t epoch = 0;
  Registry* past = nullptr;
};

// A child that the host forked by itself starts with a new one: the parent's may have been locked
// by another of its threads.
Registry& registry() {
  constinit static std::atomic<Registry*> current{nullptr};
  Registry* seen = current.load(std::memory_order_acquire);
  while (!seen || seen->epoch != Space::epoch()) {
    auto fresh = std::make_unique<Registry>();
    fresh->epoch = Space::epoch();
    fresh->past = seen;
    if (current.compare_exchange_strong(seen, fresh.get())) return *fresh.release();
  }
  return *seen;
}

}  // namespace

BlockRef::BlockRef(const BlockRef& other) noexcept : local_(other.local_) {
  if (local_) local_->count.fetch_add(1, std::memory_order_relaxed);
}

BlockRef::~BlockRef() {
  if (!local_) return;
  if (local_->epoch != Space::epoch()) {  // a copy that the host's fork made: not ours to drop
    if (local_->count.fetch_sub(1, std::memory_order_acq_rel) == 1) delete local_;
    return;
  }
  // The last drop and a new adoption of the same block are told apart under the registry's lock.
  long seen = local_->count.load(std::memory_order_relaxed);
  while (seen > 1) {
    if (local_->count.compare_exchange_weak(seen, seen - 1, std::memory_order_acq_rel)) return;
  }
  Space& space = Space::here();
  {
    std::lock_guard guard(registry().mutex);
    if (local_->count.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    registry().locals.erase(local_->block);
    arena::unmark(space, local_->block, space.self());
  }
  // Not under the lock: this may drop other references in turn.
  arena::release_if_unused(space, local_->block);
  delete local_;
}

BlockRef BlockRef::adopt(std::uint64_t offset) {
  Space& space = Space::here();
  std::lock_guard guard(registry().mutex);
  auto& locals = registry().locals;
  if (auto known = locals.find(offset); known != locals.end()) {
    auto* local = static_cast<Local*>(known->second);
    local->count.fetch_add(1, std::memory_order_relaxed);
    return BlockRef(local);
  }
  auto local = std::make_unique<Local>();
  local->block = offset;
  local->epoch = Space::epoch();
  local->data = space.at(arena::cell_of(offset));
  locals.emplace(offset, local.get());
  arena::hold(space, offset, space.self());
  return BlockRef(local.release());
}

std::uint64_t BlockRef::offset() const noexcept { return local_ ? local_->block : 0; }

void BlockRef::refuse() const {
  if (!local_) throw Error("this handle is empty: it was moved from, or never made");
  BlockRefs::refuse_in_host_child();
}

void BlockRefs::refuse_in_host_child() {
  throw Error(
      "this handle belongs to the process that made it: the program itself called fork(), and "
      "such a child is no member of the family; start it with cohort::Process::forked instead");
}

BlockRef BlockRefs::create(std::size_t bytes, arena::BlockKind kind) {
  return BlockRef::adopt(arena::make_shared_block(Space::here(), bytes, kind));
}

std::unique_lock<std::mutex> BlockRefs::lock_registry() {
  return std::unique_lock(registry().mutex);
}

std::vector<Offset> BlockRefs::held(const std::unique_lock<std::mutex>&) {
  std::vector<Offset> blocks;
  for (const auto& [block, local] : registry().locals) blocks.push_back(block);
  return blocks;
}

void BlockRefs::reopen_all() {
  std::lock_guard guard(registry().mutex);
  for (const auto& [block, local] : registry().locals)
    static_cast<BlockRef::Local*>(local)->closed.store(false, std::memory_order_relaxed);
}

std::optional<std::vector<BlockRef>> BlockRefs::take_parcel(Space& space, Offset parcel,
                                                            Offset ring, std::uint64_t stamp) {
  if (!arena::claim_from_ring(space, parcel, ring, stamp)) return std::nullopt;
  os::step("block_refs.claimed");
  // Held before the parcel becomes a member's own, until when it keeps the blocks alive.
  std::vector<BlockRef> references;
  try {
    for (Offset block : arena::references_of(space, parcel))
      references.push_back(BlockRef::adopt(block));
  } catch (...) {
    arena::unclaim(space, parcel, ring);
    throw;
  }
  os::step("block_refs.adopted");
  arena::keep_claimed(space, parcel);
  return references;
}

void BlockRefs::let_go_unadopted(std::span<const Offset> blocks) {
  Space& space = Space::here();
  std::lock_guard guard(registry().mutex);
  for (Offset block : blocks) {
    if (block && !registry().locals.contains(block)) arena::let_go(space, block, space.self());
  }
}

}  // namespace cohort::detail
