// Where messages that carry handles are while they are on their way through a pipe: parcels in the
// arena, in the hands of a block that both ends hold. The pipe itself carries a note of each.
//
// A sender keeps its parcel until the note is written, so what it could not send any more goes with
// it when it is killed; then the hub has the parcel, and nobody's death loses it. When the last end
// is gone, so is what nobody has received.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "arena/owner.hpp"
#include "arena/space.hpp"
#include "cohort/detail/block_ref.hpp"

namespace cohort::connection {

// What the pipe carries.
struct ParcelNote {
  arena::Offset parcel = 0;
  std::uint64_t stamp = 0;
  arena::MemberId sender;
  std::uint32_t unused = 0;
  arena::Offset hub = 0;
};

detail::BlockRef make_hub();

// A message on its way out: the sender's own until it is handed over.
class OutgoingParcel {
 public:
  OutgoingParcel(const detail::BlockRef& hub, std::span<const arena::Offset> references,
                 std::span<const std::byte> message);
  ~OutgoingParcel();
  OutgoingParcel(const OutgoingParcel&) = delete;
  OutgoingParcel& operator=(const OutgoingParcel&) = delete;

  const ParcelNote& note() const noexcept { return note_; }
  // After the note was written.
  void hand_over();

 private:
  arena::Space& space_;
  const detail::BlockRef& hub_;
  ParcelNote note_;
  bool handed_over_ = false;
};

// A message that was received, with references to all that it refers to.
class IncomingParcel {
 public:
  // Empty when its sender was killed before it had handed the parcel over: then it was not sent.
  // A sender may be stopped before that: `go_on` is called every tenth of a second, and may throw.
  // Throws SerializationError for the note of another pipe.
  static std::optional<IncomingParcel> take(const detail::BlockRef& hub, const ParcelNote& note,
                                            const std::function<void()>& go_on);
  IncomingParcel(IncomingParcel&& other) noexcept;
  IncomingParcel& operator=(IncomingParcel&&) = delete;
  ~IncomingParcel();

  std::span<const std::byte> message() const;

 private:
  IncomingParcel(arena::Offset parcel, std::vector<detail::BlockRef> references)
      : parcel_(parcel), references_(std::move(references)) {}

  arena::Offset parcel_;
  std::vector<detail::BlockRef> references_;
};

}  // namespace cohort::connection
