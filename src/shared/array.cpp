#include "cohort/array.hpp"

#include <cstdint>
#include <limits>
#include <stdexcept>

#include "cohort/error.hpp"

namespace cohort::detail {
namespace {

// At the start of the cell; the elements follow, aligned.
struct Header {
  std::uint64_t count;
  std::uint64_t elements;  // from the cell's start, in bytes
};

std::size_t room_for(std::size_t count, std::size_t element_bytes, std::size_t alignment) {
  constexpr std::size_t kFarTooMuch = std::numeric_limits<std::size_t>::max() / 4;
  if (count > kFarTooMuch / element_bytes) return kFarTooMuch;  // the arena says so
  return count * element_bytes + kCellAlignment + (alignment > kCellAlignment ? alignment : 0);
}

}  // namespace

ArrayBlock::ArrayBlock(std::size_t count, std::size_t element_bytes, std::size_t alignment)
    : Handle(make_plain_block(room_for(count, element_bytes, alignment))) {
  std::byte* cell = block().data();
  const auto earliest = reinterpret_cast<std::uintptr_t>(cell) + kCellAlignment;
  const std::size_t gap = (alignment - earliest % alignment) % alignment;
  *reinterpret_cast<Header*>(cell) = {count, kCellAlignment + gap};
  locate();
}

void ArrayBlock::locate() {
  std::byte* cell = block().data();
  const auto& header = *reinterpret_cast<const Header*>(cell);
  place_ = cell + header.elements;
  count_ = header.count;
}

void ArrayBlock::refuse_index(std::size_t index) const {
  throw IndexError("index " + std::to_string(index) + " is out of range: the array has " +
                   std::to_string(count_) + " elements");
}

void ArrayBlock::refuse_slice(std::size_t first, std::size_t count) const {
  const bool rest = count == std::numeric_limits<std::size_t>::max();
  const std::string slice = rest ? "the slice" : "the slice of " + std::to_string(count);
  throw IndexError(slice + " from index " + std::to_string(first) +
                   " on is out of range: the array has " + std::to_string(count_) + " elements");
}

void ArrayBlock::refuse_text(std::size_t length) const {
  throw std::length_error("a text of " + std::to_string(length) +
                          " bytes is too long for an array of " + std::to_string(count_));
}

}  // namespace cohort::detail
