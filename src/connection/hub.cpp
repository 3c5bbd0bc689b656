#include "connection/hub.hpp"

#include <atomic>
#include <chrono>
#include <cstring>
#include <utility>

#include "arena/block_refs.hpp"
#include "arena/shared_block.hpp"
#include "cohort/error.hpp"
#include "os/step.hpp"
#include "sync/doorbell.hpp"

namespace cohort::connection {
namespace {

using arena::Offset;
using arena::Owner;
using arena::Space;
using detail::BlockRef;

constexpr std::chrono::milliseconds kLookAtSender{100};

struct HubCell {
  std::atomic<std::uint64_t> stamps;  // parcels so far
  std::atomic<std::uint64_t> taken;
  sync::Doorbell handed_over;
};

// Throws in a child that the program itself forked, which has no part in the arena.
HubCell& cell_of(const BlockRef& hub) { return *reinterpret_cast<HubCell*>(hub.data()); }

void finalize_hub(Space& space, Offset hub) {
  const auto& cell = space.cell<HubCell>(arena::cell_of(hub));
  // Else there is nothing to look for.
  if (cell.stamps.load() != cell.taken.load()) arena::drop_all_in_ring(space, hub);
}

const bool finalizer_set = (arena::set_finalizer(arena::BlockKind::pipe, finalize_hub), true);

// Whether its sender has written the note and may still hand the parcel over.
bool with_sender(Space& space, const ParcelNote& note) {
  return space.heap().plausible(note.parcel) &&
         space.heap().owner(note.parcel) == Owner::member(note.sender) &&
         space.cell<arena::ParcelHeader>(note.parcel).stamp == note.stamp &&
         !space.members().is_dead(note.sender);
}

// The few instructions between the two.
void await_sender(Space& space, HubCell& cell, const ParcelNote& note,
                  const std::function<void()>& go_on) {
  while (!cell.handed_over.wait(space, os::Clock::now() + kLookAtSender,
                                [&] { return !with_sender(space, note); })) {
    if (space.members().process_gone(note.sender)) space.bury(note.sender);
    go_on();
  }
}

}  // namespace

BlockRef make_hub() {
  (void)finalizer_set;
  return detail::BlockRefs::create(sizeof(HubCell), arena::BlockKind::pipe);
}

OutgoingParcel::OutgoingParcel(const BlockRef& hub, std::span<const Offset> references,
                               std::span<const std::byte> message)
    : space_(Space::here()), hub_(hub) {
  note_.stamp = cell_of(hub).stamps.fetch_add(1) + 1;
  // An end that is sent through its own pipe must not keep the hub, which keeps the parcel. Whoever
  // takes it holds the hub anyway.
  std::vector<Offset> others(references.begin(), references.end());
  std::erase(others, hub.offset());
  note_.parcel = arena::make_parcel(space_, others, message.size());
  note_.sender = space_.self();
  note_.hub = hub.offset();
  space_.cell<arena::ParcelHeader>(note_.parcel).stamp = note_.stamp;
  auto payload = arena::payload_of(space_, note_.parcel);
  if (!message.empty()) std::memcpy(payload.data(), message.data(), message.size());
  os::step("hub.parcel_made");
}

OutgoingParcel::~OutgoingParcel() {
  if (!handed_over_) arena::drop_parcel(space_, note_.parcel);
}

void OutgoingParcel::hand_over() {
  os::step("hub.noted");
  handed_over_ = true;
  arena::give_to_ring(space_, note_.parcel, hub_.offset(), note_.stamp);
  os::step("hub.handed_over");
  cell_of(hub_).handed_over.ring();
}

std::optional<IncomingParcel> IncomingParcel::take(const BlockRef& hub, const ParcelNote& note,
                                                   const std::function<void()>& go_on) {
  if (note.hub != hub.offset())
    throw SerializationError(
        "the message carries handles and came through another pipe: bytes of such a message cannot "
        "be passed on");
  HubCell& cell = cell_of(hub);
  Space& space = Space::here();
  await_sender(space, cell, note, go_on);
  os::step("hub.taking");
  auto references = detail::BlockRefs::take_parcel(space, note.parcel, hub.offset(), note.stamp);
  if (!references) return std::nullopt;
  cell.taken.fetch_add(1);
  return IncomingParcel(note.parcel, std::move(*references));
}

IncomingParcel::IncomingParcel(IncomingParcel&& other) noexcept
    : parcel_(std::exchange(other.parcel_, 0)), references_(std::move(other.references_)) {}

IncomingParcel::~IncomingParcel() {
  if (parcel_) arena::drop_parcel(Space::here(), parcel_);
}

std::span<const std::byte> IncomingParcel::message() const {
  return arena::payload_of(Space::here(), parcel_);
}

}  // namespace cohort::connection
