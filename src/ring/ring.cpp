#include "ring/ring.hpp"

#include <sched.h>

#include <bit>
#include <cstring>
#include <limits>
#include <utility>

#include "arena/block_refs.hpp"
#include "cohort/error.hpp"
#include "os/step.hpp"
#include "ring/producer.hpp"

namespace cohort::ring {

using arena::Offset;
using arena::Space;

namespace {

constexpr std::size_t kLeastBytes = 4096;
// Larger messages cost more to copy into and out of the ring, under its locks, than a block does.
constexpr std::size_t kLargestCarried = std::size_t{16} << 10;

// Bytes of large messages.
constexpr std::size_t kFarAhead = std::size_t{4} << 20;

// Gives back what messages still in the ring carry, and its segments.
void finalize_ring(Space& space, Offset block) {
  if (space.cell<RingCell>(arena::cell_of(block)).sent_blocks.load())
    arena::drop_all_in_ring(space, block);
}
const bool finalizer_set = (arena::set_finalizer(arena::BlockKind::ring, finalize_ring), true);

}  // namespace

namespace {

detail::BlockRef make_ring(const RingOptions& options) {
  (void)finalizer_set;
  const std::size_t bytes = std::bit_ceil(std::max(options.bytes, kLeastBytes));
  auto block = detail::BlockRefs::create(
      sizeof(RingCell) + sizeof(Segment) + bytes + options.extra_bytes, arena::BlockKind::ring);
  auto& ring = *reinterpret_cast<RingCell*>(block.data());
  ring.grows = options.grows ? 1 : 0;
  ring.most_messages = options.most_messages;
  ring.first_bytes = bytes;
  const Offset first = first_segment_of(arena::cell_of(block.offset()));
  const auto log2 = static_cast<unsigned>(std::countr_zero(bytes));
  ring.put_segment = ring.take_segment = SegmentName::of(first, log2, 0, 0).raw;
  return block;
}

}  // namespace

Ring::Ring(const RingOptions& options) : Ring(make_ring(options)) {}

std::byte* RingView::extra() const {
  RingCell& ring = cell();
  return reinterpret_cast<std::byte*>(cell_ + 1) + sizeof(Segment) + ring.first_bytes;
}

bool RingView::carries(std::size_t bytes) const {
  const std::size_t most =
      cell().grows ? kLargestCarried : std::min(kLargestCarried, cell().first_bytes / 4);
  return record_bytes(bytes) <= most;
}

std::size_t RingView::put_some(std::span<const std::span<const std::byte>> messages) const {
  return put_some(messages.size(), [&](std::size_t i) { return messages[i]; });
}

RingView::Put RingView::try_parcel(Offset parcel) const {
  Space& space = Space::here();
  RingCell& ring = cell();
  for (;;) {
    Producer producer(space, ring, block_);
    if (!producer.usable()) continue;
    if (producer.closed() != Closed::no) return Put::closed;
    auto at = producer.room_at(producer.tail(), sizeof parcel);
    if (!at && producer.grow(sizeof parcel)) at = producer.room_at(producer.tail(), sizeof parcel);
    if (!at && producer.lost()) continue;
    if (!at) return Put::full;
    producer.hand_over(parcel, *at);
    producer.write(*at, Form::parcel, std::as_bytes(std::span(&parcel, 1)));
    if (producer.commit(at->after(1, record_bytes(sizeof parcel)))) {
      producer.handed_over(parcel);
      break;
    }
    if (!producer.take_back(parcel, *at))
      throw Error("a message was lost while its sender was stopped: send it again");
  }
  ring.filled.ring_after_change(1);
  return Put::done;
}

// Not worth a lock where the head is anything else: that is looked at first.
void RingView::skip_lost() const {
  if (empty() || !cell().sent_blocks.load(std::memory_order_relaxed)) return;
  bool passed = false;
  {
    Consumer consumer(arena::Space::here(), cell(), block_);
    Mark at = consumer.head();
    for (Mark end = at;; at = end) {
      auto found = consumer.find(end);
      if (!found || found->form != Form::parcel || consumer.is_there(*found)) break;
      end = found->next;
    }
    passed = at != consumer.head() && consumer.commit(at);
  }
  if (passed) cell().drained.ring(1);
}

// Waits until `enough()`, though not for long.
template <class Enough>
void linger(Enough&& enough) {
  constexpr std::chrono::microseconds kLongest{10};
  constexpr int kPauses = 16;
  const auto until = os::Clock::now() + kLongest;
  for (int round = 0; !enough() && os::Clock::now() < until; ++round) {
    if (round > 3) ::sched_yield();
    for (int i = 0; i < kPauses; ++i) os::pause();
  }
}

bool RingView::quarter_free() const {
  RingCell& ring = cell();
  if (ring.most_messages) return size() <= ring.most_messages - (ring.most_messages + 3) / 4;
  return bytes_waiting() <= ring.first_bytes - ring.first_bytes / 4;
}

// Until attempt() is not refused for want of room.
template <class Try>
RingView::Put RingView::wait_for_room(os::Deadline deadline, Try&& attempt) const {
  Put result = attempt();
  if (result != Put::full) return result;
  skip_lost();
  // A producer that puts as soon as there is room for one message fights with the consumer for
  // every one, and sleeps in between: so it waits for a quarter of the room first.
  if (!deadline || os::Clock::now() < *deadline) linger([&] { return quarter_free(); });
  cell().drained.wait(Space::here(), deadline, [&] { return (result = attempt()) != Put::full; });
  if (result == Put::done && room_for_more()) cell().drained.ring(1);
  return result;
}

RingView::Put RingView::offer_parcel(Offset parcel, os::Deadline deadline) const {
  // Messages that pile up leave the caches, and new pages for them cost more than copying does: so
  // a producer that is far ahead lets its consumers catch up a little.
  const std::size_t bytes = arena::payload_of(Space::here(), parcel).size();
  const auto few = [&] { return size() * bytes <= kFarAhead; };
  if (cell().grows && !few() && (!deadline || os::Clock::now() < *deadline)) linger(few);
  return wait_for_room(deadline, [&] { return try_parcel(parcel); });
}

RingView::Put RingView::offer(std::span<const std::byte> message, os::Deadline deadline,
                              std::span<const Offset> references) const {
  if (references.empty() && carries(message.size())) {
    return wait_for_room(deadline, [&] {
      Put result = Put::done;
      put_some(
          1, [&](std::size_t) { return message; }, &result);
      return result;
    });
  }
  Space& space = Space::here();
  Offset parcel = arena::make_parcel(space, references, message.size());
  auto payload = arena::payload_of(space, parcel);
  if (!message.empty()) std::memcpy(payload.data(), message.data(), message.size());
  os::step("ring.parcel_made");
  Put result = offer_parcel(parcel, deadline);
  if (result != Put::done) arena::drop_parcel(space, parcel);
  return result;
}

// About: whether there is room for a producer that sleeps still.
bool RingView::room_for_more() const {
  RingCell& ring = cell();
  if (ring.most_messages) return size() < ring.most_messages;
  return bytes_waiting() < ring.first_bytes;
}

bool RingView::try_take(Message& message) const {
  struct Sink : RingSink {
    void bytes(std::span<const std::byte> one) { to.assign(one); }
    void parcel(Message taken) { to = std::move(taken); }
    Message& to;
  };
  Sink sink{{}, message};
  return take_batch(1, sink) == 1;
}

std::optional<Message> RingView::take(os::Deadline deadline) const {
  return take_unless([] { return false; }, deadline);
}

void RingView::close(Closed how) const {
  Space& space = Space::here();
  RingCell& ring = cell();
  for (bool done = false; !done;) {
    Producer producer(space, ring, block_);
    if (!producer.usable()) continue;
    std::uint32_t seen = ring.closed.load();
    while (seen < static_cast<std::uint32_t>(how) &&
           !ring.closed.compare_exchange_weak(seen, static_cast<std::uint32_t>(how))) {
    }
    done = true;
  }
  ring.filled.ring(std::numeric_limits<int>::max());
  ring.drained.ring(std::numeric_limits<int>::max());
}

Closed RingView::closed() const {
  return static_cast<Closed>(cell().closed.load(std::memory_order_acquire));
}

bool RingView::empty() const { return size() == 0; }

std::size_t RingView::size() const {
  RingCell& ring = cell();
  // The head first: it never passes a tail that is seen later.
  const Mark head{ring.head.load(std::memory_order_acquire)};
  const Mark tail{ring.tail.load(std::memory_order_acquire)};
  return tail.count() - head.count();
}

std::size_t RingView::bytes_waiting() const {
  RingCell& ring = cell();
  const Mark head{ring.head.load(std::memory_order_acquire)};
  return bytes_between(head, Mark{ring.tail.load(std::memory_order_acquire)});
}

}  // namespace cohort::ring
