// The bytes of a pickle, read operation by operation. Every length is compared with what is left
// before anything is done with it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "cohort/error.hpp"
#include "wire/pickle_opcodes.hpp"

namespace cohort::wire {

class PickleInput {
 public:
  explicit PickleInput(std::span<const std::byte> bytes) noexcept
      : bytes_(reinterpret_cast<const char*>(bytes.data()), bytes.size()) {}

  [[noreturn]] void refuse(const std::string& reason) const {
    throw SerializationError("pickle refused at byte " + std::to_string(start_) + ": " + reason);
  }

  Op operation() {
    if (at_ == frame_end_) frame_end_ = kNoFrame;
    start_ = at_;
    return static_cast<Op>(number(1));
  }

  std::string_view take(std::uint64_t size) {
    if (size > bytes_.size() - at_) refuse("it ends too early");
    // The frame's end lies inside the bytes, so that this cannot wrap.
    if (frame_end_ != kNoFrame && size > frame_end_ - at_) refuse("its frame ends too early");
    const auto taken = bytes_.substr(at_, size);
    at_ += taken.size();
    return taken;
  }

  // Least significant byte first.
  std::uint64_t number(int size) {
    std::uint64_t value = 0;
    int shift = 0;
    for (const char byte : take(static_cast<std::uint64_t>(size))) {
      value |= std::uint64_t{static_cast<unsigned char>(byte)} << shift;
      shift += 8;
    }
    return value;
  }

  // Up to a newline, which is taken too.
  std::string_view line(std::size_t limit) {
    const auto size = bytes_.substr(at_, limit + 1).find('\n');
    if (size == std::string_view::npos) refuse("a name that does not end");
    return take(size + 1).substr(0, size);
  }

  void open_frame() {
    const auto size = number(8);
    if (frame_end_ != kNoFrame && at_ != frame_end_) refuse("a frame inside a frame");
    if (size > bytes_.size() - at_) refuse("a frame that is longer than the message");
    frame_end_ = at_ + size;
  }

  bool at_start() const noexcept { return start_ == 0; }
  bool at_end() const noexcept { return at_ == bytes_.size(); }

 private:
  static constexpr std::size_t kNoFrame = ~std::size_t{0};

  std::string_view bytes_;
  std::size_t at_ = 0;
  std::size_t start_ = 0;  // of the operation that is being read
  std::size_t frame_end_ = kNoFrame;
};

}  // namespace cohort::wire
