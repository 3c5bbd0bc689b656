#include "ring/message.hpp"

#include <utility>

#include "arena/shared_block.hpp"
#include "arena/space.hpp"

namespace cohort::ring {

using arena::Offset;
using arena::Space;

Message::Message(Offset parcel, std::vector<detail::BlockRef> referred)
    : parcel_(parcel), epoch_(Space::epoch()), referred_(std::move(referred)) {}

Message::Message(Message&& other) noexcept
    : copied_(std::move(other.copied_)),
      parcel_(std::exchange(other.parcel_, 0)),
      epoch_(other.epoch_),
      referred_(std::move(other.referred_)) {}

Message& Message::operator=(Message&& other) noexcept {
  std::swap(copied_, other.copied_);
  std::swap(parcel_, other.parcel_);
  std::swap(epoch_, other.epoch_);
  std::swap(referred_, other.referred_);
  return *this;
}

std::span<const std::byte> Message::bytes() const {
  if (!parcel_) return copied_;
  return arena::payload_of(Space::here(), parcel_);
}

std::span<const Offset> Message::references() const {
  if (!parcel_) return {};
  return arena::references_of(Space::here(), parcel_);
}

void Message::assign(std::span<const std::byte> bytes) {
  clear();
  copied_.assign(bytes.begin(), bytes.end());
}

void Message::clear() {
  Offset parcel = std::exchange(parcel_, 0);
  if (parcel && epoch_ == Space::epoch()) arena::drop_parcel(Space::here(), parcel);
  referred_.clear();
  copied_.clear();
}

}  // namespace cohort::ring
