// Python's pickle format, for data only: nothing that arrives runs any code. What is written is
// read by CPython 3.8 and later; what CPython writes at protocols 2 to 5 is read, as far as it is
// data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cohort/object.hpp"

namespace cohort::wire {

// What unpickle accepts. All is checked before memory is taken.
struct PickleLimits {
  // Containers inside each other; more than kMaxDepth counts as kMaxDepth.
  std::size_t depth = 1000;
  // Containers that are open at the same time.
  std::size_t marks = 1000;
  // Values in the result, each as often as it is met: what is shared counts at every place.
  std::size_t values = 10'000'000;
  // Values that may be referred to again.
  std::size_t memo = 10'000'000;
  // Bytes of one str, bytes or bytearray.
  std::size_t string_bytes = std::size_t{1} << 31;
  // Bytes of one int, in two's complement.
  std::size_t integer_bytes = 4096;
  // Bytes of memory that the values take, those that are thrown away again included.
  std::size_t memory = std::size_t{512} << 20;
  // Bytes that the result's strings would take if nothing were shared.
  std::size_t expanded_bytes = std::size_t{1} << 30;
  // Objects of classes that are not known become inert records rather than errors. Such records
  // cannot be pickled again.
  bool unknown_classes = false;
};

// Deeper than this nothing is read or written.
inline constexpr std::size_t kMaxDepth = 2000;

// A pickle of the protocol 4 or 5: no memo, so that what is shared is written at every place.
// SerializationError when nested deeper than 1,000 or when it has an instance of a class that is
// not on the list of known ones; std::invalid_argument for another protocol.
std::vector<std::byte> pickle(const managers::Object& object, int protocol = 4);

// SerializationError names what was refused and where. An empty message is refused like any other.
managers::Object unpickle(std::span<const std::byte> bytes, const PickleLimits& limits = {});

}  // namespace cohort::wire
