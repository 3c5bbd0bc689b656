// cohort's queues and pipes as channels, to measure them like their peers.
#pragma once

#include <cstddef>

#include "channel.hpp"
#include "queue_peers.hpp"

namespace bench {

// Objects of that size: a number, an array of bytes, or, from 64 KiB on, a vector of bytes. At most
// `maxsize` in the queue at a time; 0: without bound.
Peer own_queue(const Load& load, std::size_t maxsize = 0);
Peer own_pipe(const Load& load);
// Messages that are written where they will be read, and read there; one at a time.
Peer own_loans(const Load& load);

}  // namespace bench
