// What a queue keeps beside its ring.
#pragma once

#include <cstdint>

#include "queue/unfinished.hpp"

namespace cohort::queue {

inline constexpr std::size_t kTypeNameBytes = 116;

struct alignas(64) QueueCell {
  std::uint64_t fingerprint;  // of the type of its messages
  std::uint32_t joinable;
  char type_name[kTypeNameBytes];  // ends with a zero
};

// Behind it where the queue is joinable.
inline UnfinishedCell& unfinished_of(QueueCell& cell) {
  return *reinterpret_cast<UnfinishedCell*>(&cell + 1);
}

}  // namespace cohort::queue
