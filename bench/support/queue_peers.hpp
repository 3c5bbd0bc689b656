// Queues and pipes of others, to measure cohort's against.
#pragma once

#include <memory>
#include <string>

#include "channel.hpp"

namespace bench {

struct Peer {
  std::string name;
  std::unique_ptr<Channel> channel;  // null: `missing` says why
  std::string missing;
};

// For messages of that load. `pauses`: see RobustRing.
Peer robust_ring_peer(const Load& load, int pauses = 64);
Peer pipe_peer(const Load& load);
Peer boost_peer(const Load& load);
Peer posix_peer(const Load& load);
Peer zeromq_peer(const Load& load);

}  // namespace bench
