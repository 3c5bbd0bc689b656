#include "cohort/shared_heap.hpp"

#include "arena/block_refs.hpp"
#include "arena/space.hpp"
#include "cohort/error.hpp"
#include "os/step.hpp"

namespace cohort {

using arena::Offset;
using arena::Owner;
using arena::Space;

namespace {

// What was allocated from a heap has the heap as its owner, by this word.
Owner owned_by(Offset heap) { return Owner::transit(heap); }

std::vector<Offset> allocations_of(Space& space, Offset heap) {
  std::vector<Offset> found;
  space.heap().for_each_block(arena::Purpose::general, [&](Offset block, Owner owner) {
    if (owner == owned_by(heap)) found.push_back(block);
  });
  return found;
}

// The block is this member's between the two steps: should it be killed there, its death gives the
// block back.
void give_back_one(Space& space, Offset heap, Offset block) noexcept {
  const Owner ours = Owner::member(space.self());
  if (!space.heap().change_owner(block, owned_by(heap), ours)) return;
  os::step("shared_heap.taken_back");
  space.heap().release(block, ours);
}

void finalize_heap(Space& space, Offset heap) {
  for (Offset block : allocations_of(space, heap)) {
    give_back_one(space, heap, block);
    os::step("shared_heap.finalizing");
  }
}

const bool finalizer_set = (arena::set_finalizer(arena::BlockKind::heap, finalize_heap), true);

// An allocator may be left over where its heap is gone, or in a child that the program itself
// forked, whose arena is another one.
bool is_heap(Space& space, Offset heap) {
  return heap != 0 && space.heap().plausible(heap) &&
         space.heap().owner(heap).is(arena::Hold::shared) &&
         space.cell<arena::SharedHeader>(heap).kind == arena::BlockKind::heap;
}

}  // namespace

SharedHeap::SharedHeap(std::size_t cell_bytes)
    : Handle(detail::BlockRefs::create(cell_bytes, arena::BlockKind::heap)) {}

std::size_t SharedHeap::allocations() const { return all_allocations().size(); }

std::vector<std::uint64_t> SharedHeap::all_allocations() const {
  return allocations_of(Space::here(), identity());
}

void SharedHeap::give_back(const std::vector<std::uint64_t>& allocations) const {
  Space& space = Space::here();
  for (Offset one : allocations) give_back_one(space, identity(), one);
}

namespace detail {

void* allocate_shared(std::uint64_t heap, std::size_t bytes) {
  Space& space = Space::here();
  if (!is_heap(space, heap))
    throw Error(
        "the heap of this allocator is gone, or belongs to another program: keep a handle "
        "of it as long as anything is allocated");
  const Offset block = space.heap().allocate(bytes, space.self());
  os::step("shared_heap.allocated");
  space.heap().change_owner(block, Owner::member(space.self()), owned_by(heap));
  os::step("shared_heap.given");
  return space.at(block);
}

void deallocate_shared(std::uint64_t heap, void* place) noexcept {
  Space* space = Space::current();
  if (!place || !space) return;
  const Offset block = space->offset_of(place);
  if (block >= space->header().bytes || !space->heap().plausible(block)) return;
  give_back_one(*space, heap, block);
}

}  // namespace detail
}  // namespace cohort
