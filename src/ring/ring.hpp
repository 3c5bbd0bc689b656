// The transport under queues: a byte ring in the arena for messages of any size, many producers and
// many consumers.
//
// A kill between any two instructions leaves a message whole or not there. Producers share one
// lock, consumers another, and the sides hand over without a lock: records are written behind
// `tail` and published by one compare-and-swap of it; they are copied out and then passed by one of
// `head`. So after an owner's death there is nothing to mend but what was about to be linked or
// handed over. A stop between any two instructions freezes nobody, either: the lock of a stopped
// owner is seized, and its compare-and-swap fails when it goes on (see SeizableLock, Producer,
// Consumer).
//
// A message that carries handles, or is larger than some KiB, travels as a parcel, a block of its
// own, and the ring holds its offset. A ring that grows adds segments when it is full, each up to
// twice as large as the last, and gives back those that were emptied.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "arena/block_refs.hpp"
#include "arena/space.hpp"
#include "cohort/detail/block_ref.hpp"
#include "ring/consumer.hpp"
#include "ring/message.hpp"
#include "ring/ring_cell.hpp"

namespace cohort::ring {

struct RingOptions {
  std::size_t bytes = 4096;         // of the first segment; rounded up to a power of two
  bool grows = false;               // otherwise it is full when these are
  std::uint32_t most_messages = 0;  // full as well when it has so many; 0: no such bound
  std::size_t extra_bytes = 0;      // zeroes beside the ring, for its user
};

// A ring in a block that somebody else refers to meanwhile.
class RingView {
 public:
  RingView() = default;
  explicit RingView(const detail::BlockRef& block)
      : cell_(reinterpret_cast<RingCell*>(block.data())),
        block_(block.offset()),
        epoch_(arena::Space::epoch()) {}

  enum class Put { done, full, closed };

  // Waits for room until the deadline; a past deadline tries once. `references`: blocks that
  // handles in the message refer to, held by the caller.
  Put offer(std::span<const std::byte> message, os::Deadline deadline,
            std::span<const arena::Offset> references = {}) const;
  // The same for a parcel of ours, which is the ring's, or a consumer's, when it was put.
  Put offer_parcel(arena::Offset parcel, os::Deadline deadline) const;
  bool put(std::span<const std::byte> message, os::Deadline deadline = std::nullopt,
           std::span<const arena::Offset> references = {}) const {
    return offer(message, deadline, references) == Put::done;
  }
  // Puts `count` messages of message(i) bytes each, as many as fit at once, in order. Answers how
  // many; none is a parcel.
  template <class Message>
  std::size_t put_some(std::size_t count, Message&& message, Put* why = nullptr) const;
  std::size_t put_some(std::span<const std::span<const std::byte>> messages) const;
  // Whether a message of so many bytes travels in the ring itself.
  bool carries(std::size_t bytes) const;

  // The oldest message; empty when none came before the deadline.
  std::optional<Message> take(os::Deadline deadline = std::nullopt) const;
  // The same, but empty too when `stop()` holds while the ring is empty; asked after each wake-up.
  template <class Stop>
  std::optional<Message> take_unless(Stop&& stop, os::Deadline deadline) const;
  // Takes up to `most` messages that are there now, under one lock: sink.bytes(span) for each, in
  // place, or sink.parcel(Message) for one alone, unless sink.wants_parcels() is false. Before they
  // leave the ring, sink.taking is told, and sink.taken when they are ours; should they stay,
  // sink.discard of as many. Answers how many.
  template <class Sink>
  std::size_t take_batch(std::size_t most, Sink&& sink) const;
  // Calls visit(bytes) for up to `most` messages that are there now. Answers how many.
  template <class Visit>
  std::size_t take_some(std::size_t most, Visit&& visit) const;

  // Passes messages at the head that nobody has any more, since a consumer was killed when it had
  // taken them and not said so: else they count until somebody takes.
  void skip_lost() const;

  // No message is put after this; those in the ring can be taken, or not even these. Never goes
  // back: from for_all to for_putting it does nothing.
  void close(Closed how) const;
  Closed closed() const;

  bool empty() const;
  // Whether it is not empty by what consumers saw when they looked last.
  bool knows_messages() const {
    const Mark head{cell().head.load(std::memory_order_acquire)};
    return messages_between(head, Mark{cell().seen_tail.load(std::memory_order_relaxed)}) > 0;
  }
  std::size_t size() const;  // messages
  std::size_t most_messages() const { return cell().most_messages; }
  // Differs whenever something was put in between.
  std::uint64_t puts() const { return cell().tail.load(std::memory_order_acquire); }
  // For who counts what was taken: see Claim.
  std::atomic<std::uint64_t>& claim() const { return cell().claim; }
  std::uint32_t head_count() const { return Mark{cell().head.load()}.count(); }
  std::size_t bytes_waiting() const;  // about, and no more than 128 MiB
  sync::Doorbell& filled() const { return cell().filled; }
  sync::Doorbell& drained() const { return cell().drained; }
  std::byte* extra() const;

 private:
  RingCell& cell() const {
    if (epoch_ != arena::Space::epoch()) [[unlikely]]
      detail::BlockRefs::refuse_in_host_child();
    return *cell_;
  }
  Put try_parcel(arena::Offset parcel) const;
  template <class Try>
  Put wait_for_room(os::Deadline deadline, Try&& attempt) const;
  // As empty(), without a look at the producers' tail where one taken before will do: each look
  // takes it away from them.
  bool found_empty() const { return !knows_messages() && empty(); }
  bool quarter_free() const;
  bool room_for_more() const;
  bool try_take(Message& message) const;

  RingCell* cell_ = nullptr;
  arena::Offset block_ = 0;
  std::uint32_t epoch_ = 0;
};

class Ring : public RingView {
 public:
  Ring() = default;
  // Room for `bytes`, rounded up to a power of two; at least 4 KiB.
  explicit Ring(std::size_t bytes) : Ring(RingOptions{.bytes = bytes}) {}
  explicit Ring(const RingOptions& options);
  // The ring in a block that a handle of another kind refers to.
  explicit Ring(detail::BlockRef block) : RingView(block), block_(std::move(block)) {}

  const detail::BlockRef& block() const noexcept { return block_; }

  template <class Archive>
  void save(Archive& archive) const {
    archive(block_);
  }
  template <class Archive>
  void load(Archive& archive) {
    archive(block_);
    static_cast<RingView&>(*this) = block_ ? RingView(block_) : RingView();
  }

 private:
  detail::BlockRef block_;
};

// What a sink does by default.
struct RingSink {
  bool wants_parcels() const { return true; }
  // As many as it takes in one turn.
  std::size_t most() const { return std::numeric_limits<std::size_t>::max(); }
  // So many, or this parcel; for those who claim them. Answers false when the turn was lost.
  bool taking(Consumer&, std::size_t, const Consumer::Found*) { return true; }
  void taken(const Consumer&) {}
  void untaking(Consumer&) {}
  void discard(std::size_t) {}
};

template <class Sink>
std::size_t RingView::take_batch(std::size_t most, Sink&& sink) const {
  arena::Space& space = arena::Space::here();
  RingCell& ring = cell();
  most = std::min(most, sink.most());
  while (!found_empty()) {
    std::size_t count = 0;
    bool whole = false;
    bool refused = false;
    bool taken = false;
    {
      Consumer consumer(space, ring, block_);
      Mark at = consumer.head();
      while (count < most) {
        auto found = consumer.find(at);
        if (!found) break;
        if (found->form == Form::parcel && (count != 0 || !sink.wants_parcels())) {
          refused = count == 0;
          break;
        }
        at = found->next;
        if (found->form == Form::bytes) {
          sink.bytes(found->bytes);
          ++count;
          continue;
        }
        if (!sink.taking(consumer, 1, &*found)) break;
        std::optional<Message> message;
        try {
          message = consumer.take_parcel(*found);
        } catch (...) {
          sink.untaking(consumer);
          throw;
        }
        if (message) {
          sink.taken(consumer);
          sink.parcel(std::move(*message));
          whole = true;  // it is ours, whatever becomes of this turn
          break;
        }
        sink.untaking(consumer);
      }
      const bool may = count == 0 || sink.taking(consumer, count, nullptr);
      taken = may && at != consumer.head() && consumer.commit(at);
      if (count && taken) sink.taken(consumer);
      if (count && !taken) sink.discard(std::exchange(count, 0));
      if (!whole && !taken && !consumer.robbed()) return 0;
    }
    if (whole) count = 1;
    // Also when it were only messages that nobody has any more.
    if (taken || whole)
      ring.drained.ring_after_change(static_cast<int>(std::max<std::size_t>(count, 1)));
    if (count || refused) return count;
  }
  return 0;
}

template <class Stop>
std::optional<Message> RingView::take_unless(Stop&& stop, os::Deadline deadline) const {
  std::optional<Message> message(std::in_place);
  if (try_take(*message)) return message;
  bool got = false;
  cell().filled.wait(arena::Space::here(), deadline, [&] {
    got = try_take(*message);
    return got || stop();
  });
  if (!got) return std::nullopt;
  // Messages that were put while we woke up rang for nobody: pass it on to who sleeps still.
  if (!empty()) cell().filled.ring(1);
  return message;
}

template <class Visit>
std::size_t RingView::take_some(std::size_t most, Visit&& visit) const {
  struct Sink : RingSink {
    void bytes(std::span<const std::byte> one) { messages.emplace_back().assign(one); }
    void parcel(Message message) { messages.push_back(std::move(message)); }
    void discard(std::size_t) { messages.clear(); }
    std::vector<Message> messages;
  };
  std::size_t count = 0;
  while (count < most) {
    Sink sink;
    std::size_t some = take_batch(most - count, sink);
    if (!some) break;
    for (Message& message : sink.messages) visit(message.bytes());
    count += some;
  }
  return count;
}

}  // namespace cohort::ring

#include "ring/put_some.hpp"
