// Giving a ring's segments back.
#pragma once

#include <functional>

#include "ring/ring_cell.hpp"

namespace cohort::ring {

// Gives back a segment that its ring has passed; one that a robbed producer may still write to
// becomes that one's, or stays with the ring where nobody knows whose.
void release_segment(arena::Space& space, arena::Offset ring, arena::Offset segment);

// The segments in this ring's hands that belong to nobody's chain, since who had to do with them
// was killed: those that `stray` knows.
void release_strays(arena::Space& space, arena::Offset ring,
                    const std::function<bool(const Segment&)>& stray);

}  // namespace cohort::ring
