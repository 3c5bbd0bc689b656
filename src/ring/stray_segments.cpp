#include "ring/stray_segments.hpp"

#include <vector>

#include "arena/space.hpp"
#include "os/step.hpp"

namespace cohort::ring {

using arena::MemberId;
using arena::Offset;
using arena::Owner;

void release_segment(arena::Space& space, Offset ring, Offset segment) {
  if (space.heap().owner(segment) != Owner::transit(ring)) return;
  const std::uint32_t robbed = space.cell<Segment>(segment).robbed.load(std::memory_order_acquire);
  if (robbed == Segment::kSomebody) return;
  const MemberId heir = robbed ? MemberId{robbed} : space.self();
  if (!space.heap().change_owner(segment, Owner::transit(ring), Owner::member(heir))) return;
  os::step("ring.segment_released");
  // Whoever died before it became the owner was returned without it.
  if (heir == space.self() || space.members().is_dead(heir))
    space.heap().release(segment, Owner::member(heir));
}

void release_strays(arena::Space& space, Offset ring,
                    const std::function<bool(const Segment&)>& stray) {
  std::vector<Offset> found;
  space.heap().for_each_block(arena::Purpose::message, [&](Offset block, Owner owner) {
    if (owner != Owner::transit(ring)) return;
    const auto& segment = space.cell<Segment>(block);
    if (segment.magic == Segment::kMagic && segment.ring == ring && stray(segment))
      found.push_back(block);
  });
  for (Offset segment : found) release_segment(space, ring, segment);
}

}  // namespace cohort::ring
