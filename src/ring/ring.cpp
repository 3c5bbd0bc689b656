#include "ring/ring.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "arena/block_refs.hpp"
#include "cohort/error.hpp"

namespace cohort::ring {

using arena::Offset;
using arena::Space;

namespace {
constexpr std::size_t kLeastBytes = 4096;
}  // namespace

// Gives back what messages still in the ring carry. Repeatable: a parcel that was dropped is no
// longer in this ring's hands.
void finalize_ring(Space& space, Offset block) {
  auto& ring = space.cell<RingCell>(arena::cell_of(block));
  std::uint64_t tail = ring.tail.load(std::memory_order_acquire);
  for (std::uint64_t head = ring.head.load(std::memory_order_acquire); head < tail;) {
    Ring::Record record;
    std::memcpy(&record, Ring::data(ring) + (head & (ring.capacity - 1)), sizeof record);
    if (record.form == Ring::Form::parcel) {
      Offset parcel = 0;
      std::memcpy(&parcel, Ring::data(ring) + (head & (ring.capacity - 1)) + sizeof record,
                  sizeof parcel);
      arena::drop_from_ring(space, parcel, block, head);
    }
    head += Ring::needed(record.length);
  }
  if (Offset parcel = ring.handing_over.load()) arena::drop_from_ring(space, parcel, block, tail);
}

namespace {
const bool finalizer_set = (arena::set_finalizer(arena::BlockKind::ring, finalize_ring), true);
}  // namespace

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

void Message::clear() {
  Offset parcel = std::exchange(parcel_, 0);
  if (parcel && epoch_ == Space::epoch()) arena::drop_parcel(Space::here(), parcel);
  referred_.clear();
}

Ring::Ring(std::size_t bytes) {
  (void)finalizer_set;
  std::size_t capacity = std::bit_ceil(std::max(bytes, kLeastBytes));
  block_ = detail::BlockRefs::create(sizeof(RingCell) + capacity, arena::BlockKind::ring);
  cell().capacity = capacity;
}

// Where a record of `length` goes, skipping the rest of the ring when it does not fit before the
// end; empty when the ring is too full.
std::optional<std::uint64_t> Ring::room_at(RingCell& ring, std::uint64_t tail, std::size_t length) {
  std::size_t left = ring.capacity - (tail & (ring.capacity - 1));
  std::size_t skip = needed(length) > left ? left : 0;
  auto fits = [&] { return tail + skip + needed(length) - ring.seen_head <= ring.capacity; };
  if (!fits()) {
    ring.seen_head = ring.head.load(std::memory_order_acquire);
    if (!fits()) return std::nullopt;
  }
  return tail + skip;
}

void Ring::write(RingCell& ring, std::uint64_t place, Form form, std::span<const std::byte> bytes) {
  std::byte* to = data(ring) + (place & (ring.capacity - 1));
  Record record{static_cast<std::uint32_t>(bytes.size()), form};
  std::memcpy(to, &record, sizeof record);
  if (!bytes.empty()) std::memcpy(to + sizeof record, bytes.data(), bytes.size());
}

// A producer died in the middle: a parcel that it handed over and did not publish is nobody's.
void Ring::mend_put(Space& space, RingCell& ring, Offset block) {
  ring.seen_head = ring.head.load(std::memory_order_acquire);
  Offset parcel = ring.handing_over.load();
  std::uint64_t tail = ring.tail.load();
  if (parcel) arena::drop_from_ring(space, parcel, block, tail);
  ring.handing_over.store(0);
}

bool Ring::try_put(std::span<const std::byte> message) const {
  return put_some(std::span(&message, 1)) == 1;
}

std::size_t Ring::put_some(std::span<const std::span<const std::byte>> messages) const {
  Space& space = Space::here();
  RingCell& ring = cell();
  std::size_t count = 0;
  {
    sync::Locked guard(ring.put_lock, space);
    if (guard.owner_died()) mend_put(space, ring, block_.offset());
    std::uint64_t tail = ring.tail.load(std::memory_order_relaxed);
    for (auto message : messages) {
      auto place = room_at(ring, tail, message.size());
      if (!place) break;
      if (*place != tail) {
        Record skip{static_cast<std::uint32_t>(*place - tail - sizeof(Record)), Form::skip};
        std::memcpy(data(ring) + (tail & (ring.capacity - 1)), &skip, sizeof skip);
      }
      write(ring, *place, Form::bytes, message);
      tail = *place + needed(message.size());
      ++count;
    }
    os::step("ring.written");
    if (count) ring.tail.store(tail, std::memory_order_release);
    os::step("ring.committed");
  }
  if (count) ring.filled.ring(static_cast<int>(count));
  return count;
}

bool Ring::try_put_parcel(Offset parcel) const {
  Space& space = Space::here();
  RingCell& ring = cell();
  {
    sync::Locked guard(ring.put_lock, space);
    if (guard.owner_died()) mend_put(space, ring, block_.offset());
    std::uint64_t tail = ring.tail.load(std::memory_order_relaxed);
    auto place = room_at(ring, tail, sizeof parcel);
    if (!place) return false;
    if (*place != tail) {
      // A skip is published by itself, so that the parcel's stamp is the tail it is put at.
      Record skip{static_cast<std::uint32_t>(*place - tail - sizeof(Record)), Form::skip};
      std::memcpy(data(ring) + (tail & (ring.capacity - 1)), &skip, sizeof skip);
      ring.tail.store(*place, std::memory_order_release);
    }
    ring.handing_over.store(parcel);
    os::step("ring.handing_over");
    arena::give_to_ring(space, parcel, block_.offset(), *place);
    os::step("ring.handed_over");
    write(ring, *place, Form::parcel, std::as_bytes(std::span(&parcel, 1)));
    os::step("ring.written");
    ring.tail.store(*place + needed(sizeof parcel), std::memory_order_release);
    os::step("ring.committed");
    ring.handing_over.store(0);
  }
  ring.filled.ring(1);
  return true;
}

bool Ring::put(std::span<const std::byte> message, os::Deadline deadline,
               std::span<const Offset> references) const {
  Space& space = Space::here();
  RingCell& ring = cell();
  bool whole = references.empty() && needed(message.size()) <= ring.capacity / 4;
  if (whole) {
    if (try_put(message)) return true;
    if (!ring.drained.wait(space, deadline, [&] { return try_put(message); })) return false;
    if (has_room(message.size())) ring.drained.ring(1);
    return true;
  }
  Offset parcel = arena::make_parcel(space, references, message.size());
  auto payload = arena::payload_of(space, parcel);
  if (!message.empty()) std::memcpy(payload.data(), message.data(), message.size());
  os::step("ring.parcel_made");
  if (try_put_parcel(parcel)) return true;
  if (!ring.drained.wait(space, deadline, [&] { return try_put_parcel(parcel); })) {
    arena::drop_parcel(space, parcel);
    return false;
  }
  if (has_room(sizeof parcel)) ring.drained.ring(1);
  return true;
}

// About: whether another message of this length would fit, for a producer that sleeps still.
bool Ring::has_room(std::size_t length) const {
  return bytes_waiting() + needed(length) <= cell().capacity;
}

// Under the consumers' lock: the message at `head`, which moves past it. A parcel that is not in
// the ring's hands any more was taken by a consumer that died before it could say so: it is gone
// with it.
std::optional<Message> Ring::take_one(Space& space, RingCell& ring, std::uint64_t& head) const {
  for (;;) {
    if (head == ring.seen_tail) {
      ring.seen_tail = ring.tail.load(std::memory_order_acquire);
      if (head == ring.seen_tail) return std::nullopt;
    }
    const std::byte* from = data(ring) + (head & (ring.capacity - 1));
    Record record;
    std::memcpy(&record, from, sizeof record);
    std::uint64_t place = head;
    head += needed(record.length);
    if (record.form == Form::skip) continue;
    Message message;
    if (record.form == Form::bytes) {
      message.copied_.assign(from + sizeof record, from + sizeof record + record.length);
      return message;
    }
    Offset parcel = 0;
    std::memcpy(&parcel, from + sizeof record, sizeof parcel);
    auto referred = detail::BlockRefs::take_parcel(space, parcel, block_.offset(), place);
    if (!referred) continue;
    message.parcel_ = parcel;
    message.epoch_ = Space::epoch();
    message.referred_ = std::move(*referred);
    return message;
  }
}

std::optional<Message> Ring::try_take() const {
  if (empty()) return std::nullopt;
  Space& space = Space::here();
  RingCell& ring = cell();
  std::optional<Message> message;
  {
    sync::Locked guard(ring.take_lock, space);
    std::uint64_t head = ring.head.load(std::memory_order_relaxed);
    message = take_one(space, ring, head);
    os::step("ring.copied");
    ring.head.store(head, std::memory_order_release);
    os::step("ring.taken");
  }
  ring.drained.ring(1);
  return message;
}

std::optional<Message> Ring::take(os::Deadline deadline) const {
  return take_unless([] { return false; }, deadline);
}

bool Ring::empty() const {
  RingCell& ring = cell();
  return ring.head.load(std::memory_order_acquire) == ring.tail.load(std::memory_order_acquire);
}

std::size_t Ring::bytes_waiting() const {
  RingCell& ring = cell();
  auto head = ring.head.load(std::memory_order_acquire);
  return ring.tail.load(std::memory_order_acquire) - head;
}

}  // namespace cohort::ring
