// Copying messages, most of which are a number or two: a call of memcpy would cost as much as all
// else that is done for one of a batch.
#pragma once

#include <cstddef>
#include <cstring>

namespace cohort::ring {

inline void copy_bytes(std::byte* to, const std::byte* from, std::size_t size) {
  if (size == 8) {
    std::memcpy(to, from, 8);
  } else if (size == 4) {
    std::memcpy(to, from, 4);
  } else if (size == 16) {
    std::memcpy(to, from, 16);
  } else if (size != 0) {
    std::memcpy(to, from, size);
  }
}

}  // namespace cohort::ring
