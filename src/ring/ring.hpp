// The transport under queues and pools: a byte ring in the arena for messages of any size, many
// producers and many consumers.
//
// A kill between any two instructions leaves a message whole or not there. Producers share one
// robust lock, consumers another, and the sides hand over without a lock: records are written
// behind `tail` and published by one store to it; they are copied out and then passed by one store
// to `head`. So after an owner's death there is nothing to mend but a parcel that was handed to the
// ring and not published. Nobody waits while holding a lock, so a stopped process can freeze the
// others only within the few instructions of a copy.
//
// A message that carries handles, or is larger than a quarter of the ring, travels as a parcel, a
// block of its own, and the ring holds its offset.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "arena/shared_block.hpp"
#include "arena/space.hpp"
#include "cohort/detail/block_ref.hpp"
#include "sync/doorbell.hpp"
#include "sync/robust_lock.hpp"

namespace cohort::ring {

// A received message: its bytes, and the blocks that its handles refer to, which this process
// holds until the message goes.
class Message {
 public:
  Message() = default;
  Message(Message&& other) noexcept;
  Message& operator=(Message&& other) noexcept;
  ~Message() { clear(); }

  std::span<const std::byte> bytes() const;
  std::span<const arena::Offset> references() const;

 private:
  friend class Ring;
  void clear();

  std::vector<std::byte> copied_;
  arena::Offset parcel_ = 0;
  std::uint32_t epoch_ = 0;  // in a child that the host forked, the parcel is not ours
  std::vector<detail::BlockRef> referred_;  // what the parcel refers to
};

struct RingCell {
  std::uint64_t capacity;  // a power of two

  alignas(64) std::atomic<std::uint64_t> tail;
  sync::RobustLock put_lock;
  std::atomic<std::uint64_t> handing_over;  // the parcel that is being put
  std::uint64_t seen_head;                  // producers' copy of head

  alignas(64) std::atomic<std::uint64_t> head;
  sync::RobustLock take_lock;
  std::uint64_t seen_tail;  // consumers' copy of tail

  alignas(64) sync::Doorbell filled;
  alignas(64) sync::Doorbell drained;
};

class Ring {
 public:
  Ring() = default;
  // Room for `bytes`, rounded up to a power of two; at least 4 KiB.
  explicit Ring(std::size_t bytes);
  // The ring in a block that a handle of another kind refers to.
  explicit Ring(detail::BlockRef block) : block_(std::move(block)) {}

  // Answers false when the ring stayed full until the deadline; a past deadline tries once.
  // `references`: blocks that handles in the message refer to, held by the caller.
  bool put(std::span<const std::byte> message, os::Deadline deadline = std::nullopt,
           std::span<const arena::Offset> references = {}) const;
  // Puts as many as fit at once, in order; answers how many. No references, none large.
  std::size_t put_some(std::span<const std::span<const std::byte>> messages) const;

  // The oldest message; empty when none came before the deadline.
  std::optional<Message> take(os::Deadline deadline = std::nullopt) const;
  // The same, but empty too when `stop()` holds while the ring is empty; asked after each wake-up.
  template <class Stop>
  std::optional<Message> take_unless(Stop&& stop, os::Deadline deadline) const;
  // Calls visit(bytes) for up to `most` messages that are there now, copied out of the ring under
  // one lock. Answers how many. Parcels are passed as their payload.
  template <class Visit>
  std::size_t take_some(std::size_t most, Visit&& visit) const;

  bool empty() const;
  std::size_t bytes_waiting() const;
  const detail::BlockRef& block() const noexcept { return block_; }

  template <class Archive>
  void serialize(Archive& archive) {
    archive(block_);
  }

 private:
  enum class Form : std::uint32_t { bytes, parcel, skip };
  struct Record {
    std::uint32_t length;
    Form form;
  };
  static constexpr std::size_t kAlign = 8;

  friend void finalize_ring(arena::Space&, arena::Offset);

  RingCell& cell() const { return *reinterpret_cast<RingCell*>(block_.data()); }
  static std::byte* data(RingCell& ring) { return reinterpret_cast<std::byte*>(&ring + 1); }
  static std::size_t needed(std::size_t length) {
    return sizeof(Record) + (length + kAlign - 1) / kAlign * kAlign;
  }
  static std::optional<std::uint64_t> room_at(RingCell& ring, std::uint64_t tail,
                                              std::size_t length);
  static void write(RingCell& ring, std::uint64_t place, Form form,
                    std::span<const std::byte> bytes);
  static void mend_put(arena::Space& space, RingCell& ring, arena::Offset block);
  bool try_put(std::span<const std::byte> message) const;
  bool try_put_parcel(arena::Offset parcel) const;
  bool has_room(std::size_t length) const;
  std::optional<Message> try_take() const;
  std::optional<Message> take_one(arena::Space& space, RingCell& ring, std::uint64_t& head) const;

  detail::BlockRef block_;
};

template <class Stop>
std::optional<Message> Ring::take_unless(Stop&& stop, os::Deadline deadline) const {
  std::optional<Message> message = try_take();
  if (message) return message;
  cell().filled.wait(arena::Space::here(), deadline, [&] {
    message = try_take();
    return message.has_value() || stop();
  });
  // Messages that were put while we woke up rang for nobody: pass it on to who sleeps still.
  if (message && !empty()) cell().filled.ring(1);
  return message;
}

template <class Visit>
std::size_t Ring::take_some(std::size_t most, Visit&& visit) const {
  std::vector<Message> taken;
  {
    arena::Space& space = arena::Space::here();
    RingCell& ring = cell();
    if (empty()) return 0;
    taken.reserve(std::min<std::size_t>(most, 64));
    sync::Locked guard(ring.take_lock, space);
    std::uint64_t head = ring.head.load(std::memory_order_relaxed);
    while (taken.size() < most) {
      auto message = take_one(space, ring, head);
      if (!message) break;
      taken.push_back(std::move(*message));
    }
    os::step("ring.copied");
    ring.head.store(head, std::memory_order_release);
    os::step("ring.taken");
  }
  if (!taken.empty()) cell().drained.ring(1);
  for (Message& message : taken) visit(message.bytes());
  return taken.size();
}

}  // namespace cohort::ring
