// Half of a 64-bit word, to sleep on: the kernel compares 32 bits. For nothing else.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace cohort::sync {

enum class Half : std::size_t { low = 0, high = 4 };  // where it starts

inline std::atomic<std::uint32_t>& half_of(std::atomic<std::uint64_t>& word, Half half) noexcept {
  static_assert(std::endian::native == std::endian::little);
  auto* start = reinterpret_cast<std::byte*>(&word) + static_cast<std::size_t>(half);
  return *reinterpret_cast<std::atomic<std::uint32_t>*>(start);
}

}  // namespace cohort::sync
