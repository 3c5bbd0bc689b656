#include "cohort/detail/queue_base.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <ostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "arena/shared_block.hpp"
#include "cohort/error.hpp"
#include "launch/handle_io.hpp"
#include "queue/message_writer.hpp"
#include "queue/queue_cell.hpp"
#include "queue/thread_spare.hpp"
#include "ring/copy.hpp"
#include "ring/pacing.hpp"
#include "ring/ring.hpp"

namespace cohort::detail {

using arena::Space;
using queue::QueueCell;
using ring::Closed;
using ring::Message;
using ring::Ring;
using ring::RingView;

namespace {

// Of the first segment, which is in the queue's own block.
constexpr std::size_t kFirstBytes = std::size_t{16} << 10;
// How many bytes of messages PutMany collects.
constexpr std::size_t kBatchBytes = std::size_t{16} << 10;

QueueCell& cell_of(const RingView& ring) { return *reinterpret_cast<QueueCell*>(ring.extra()); }

[[noreturn]] void refuse_closed() {
  throw InvalidStateError(
      "the queue is closed in this process: close() ends its use here; use shutdown() to end it "
      "for all");
}

// For sinks of queues that count what is taken.
class Taking : public ring::RingSink {
 public:
  explicit Taking(const RingView& ring) {
    QueueCell& cell = cell_of(ring);
    if (cell.joinable) unfinished_.emplace(Space::here(), queue::unfinished_of(cell), ring);
  }
  std::size_t most() const { return unfinished_ ? ring::Claim::kMostMessages : RingSink::most(); }
  bool taking(ring::Consumer& consumer, std::size_t count, const ring::Consumer::Found* parcel) {
    return !unfinished_ || unfinished_->taking(consumer, count, parcel);
  }
  void taken(const ring::Consumer& consumer) {
    if (unfinished_) unfinished_->taken(consumer.claimed());
  }
  void untaking(ring::Consumer& consumer) {
    if (unfinished_) unfinished_->untaking(consumer);
  }

 private:
  std::optional<queue::Unfinished> unfinished_;
};

// Objects of one size, to memory. One of another size, which somebody lent, is noted.
class ArraySink : public Taking {
 public:
  ArraySink(const RingView& ring, void* to, std::size_t size, bool parcels = true)
      : Taking(ring),
        to_(static_cast<std::byte*>(to)),
        size_(size),
        next_(to_),
        parcels_(parcels) {}

  void bytes(std::span<const std::byte> one) {
    if (one.size() != size_) {
      wrong_ = true;
    } else {
      ring::copy_bytes(next_, one.data(), size_);
    }
    next_ += size_;
  }
  void parcel(const Message& message) { bytes(message.bytes()); }
  bool wants_parcels() const { return parcels_; }
  void discard(std::size_t) {
    next_ = to_;
    wrong_ = false;
  }
  void check() const {
    if (wrong_)
      throw SerializationError("a lent message is of another size than this queue's objects");
  }

 private:
  std::byte* to_;
  std::size_t size_;
  std::byte* next_;
  bool parcels_;
  bool wrong_ = false;
};

using SpareMessages = queue::ThreadSpare<std::vector<Message>>;

// Whole messages, copied into memory that the thread keeps.
class MessageSink : public Taking {
 public:
  // With a place for one: a parcel that was taken must not be lost for want of memory.
  explicit MessageSink(const RingView& ring) : Taking(ring), messages_(SpareMessages::take()) {
    if (messages_.empty()) messages_.emplace_back();
  }
  ~MessageSink() {
    for (std::size_t i = 0; i < count_; ++i) messages_[i].clear();
    if (messages_.size() <= kKept) SpareMessages::give(std::move(messages_));
  }
  MessageSink(const MessageSink&) = delete;
  MessageSink& operator=(const MessageSink&) = delete;

  void bytes(std::span<const std::byte> one) { next().assign(one); }
  void parcel(Message message) { next() = std::move(message); }
  void discard(std::size_t count) { count_ -= count; }
  std::span<Message> messages() { return std::span(messages_).first(count_); }

 private:
  static constexpr std::size_t kKept = 64;
  Message& next() {
    if (count_ == messages_.size()) messages_.emplace_back();
    return messages_[count_++];
  }

  std::vector<Message> messages_;
  std::size_t count_ = 0;
};

// Takes without a look.
struct DroppingSink : ring::RingSink {
  void bytes(std::span<const std::byte>) {}
  void parcel(const Message&) {}
};

void drop_all(const RingView& ring) {
  while (ring.take_batch(std::numeric_limits<std::size_t>::max(), DroppingSink{}) != 0) {
  }
}

}  // namespace

// ---- lent blocks

QueueBlock::QueueBlock(std::size_t bytes)
    : parcel_(arena::make_parcel(Space::here(), {}, bytes)), epoch_(Space::epoch()) {
  arena::set_payload(Space::here(), parcel_, arena::Payload::raw);
}

QueueBlock::~QueueBlock() {
  if (parcel_ && epoch_ == Space::epoch()) arena::drop_parcel(Space::here(), parcel_);
}

std::span<std::byte> QueueBlock::bytes() const {
  if (!parcel_ || epoch_ != Space::epoch())
    throw InvalidStateError("this loan is empty: it was put, moved from, or is another process's");
  return arena::payload_of(Space::here(), parcel_);
}

// ---- the queue

BlockRef QueueBase::make(std::size_t maxsize, Kind kind, const QueuedType& type) {
  if (maxsize > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()))
    throw std::invalid_argument("a queue's maxsize is at most 2^31 - 1; 0 is no bound");
  const bool joinable = kind == Kind::joinable;
  Ring made({.bytes = kFirstBytes,
             .grows = true,
             .most_messages = static_cast<std::uint32_t>(maxsize),
             .extra_bytes = sizeof(QueueCell) + (joinable ? sizeof(queue::UnfinishedCell) : 0)});
  QueueCell& cell = cell_of(made);
  cell.fingerprint = type.fingerprint;
  cell.joinable = joinable ? 1 : 0;
  type.name.copy(cell.type_name, queue::kTypeNameBytes - 1);
  return made.block();
}

RingView QueueBase::ring() const { return RingView(block()); }

void QueueBase::check_type(Kind kind, const QueuedType& type) const {
  const QueueCell& cell = cell_of(ring());
  if (cell.fingerprint != type.fingerprint) throw TypeMismatch(type.name, cell.type_name);
  if (kind == Kind::joinable && !cell.joinable)
    throw TypeMismatch("a joinable queue", "a queue that is not");
}

void QueueBase::check_open() const {
  if (block().closed()) refuse_closed();
}

std::size_t QueueBase::size() const {
  const RingView here = ring();
  return here.closed() == Closed::for_all ? 0 : here.size();
}
std::size_t QueueBase::maxsize() const { return ring().most_messages(); }
bool QueueBase::full() const {
  const std::size_t most = maxsize();
  return most != 0 && size() >= most;
}

void QueueBase::close() const { block().close(); }

void QueueBase::shutdown(bool immediate) const {
  const RingView here = ring();
  here.close(immediate ? Closed::for_all : Closed::for_putting);
  if (!immediate) return;
  drop_all(here);
  QueueCell& cell = cell_of(here);
  if (cell.joinable) queue::unfinished_of(cell).finished.ring(std::numeric_limits<int>::max());
}

bool QueueBase::is_shutdown() const { return ring().closed() != Closed::no; }

std::ostream& QueueBase::print(std::ostream& out, std::string_view kind) const {
  if (!block()) return out << '<' << kind << " empty>";
  return out << '<' << kind << " of " << cell_of(ring()).type_name << " size=" << size() << '>';
}

// ---- putting

namespace {
bool was_put(RingView::Put result) {
  if (result == RingView::Put::closed) throw QueueShutDown();
  return result == RingView::Put::done;
}
}  // namespace

bool QueueBase::put_bytes(const void* bytes, std::size_t size, Deadline deadline) const {
  check_open();
  return was_put(ring().offer(std::span(static_cast<const std::byte*>(bytes), size), deadline, {}));
}

bool QueueBase::put_object(const void* object, Encode encode, Deadline deadline) const {
  check_open();
  queue::MessageWriter writer(Space::here());
  encode(writer, object);
  const RingView here = ring();
  const arena::Offset parcel = writer.take_parcel();
  if (!parcel) return was_put(here.offer(writer.bytes(), deadline, writer.references()));
  QueueBlock block;
  block.parcel_ = parcel;
  block.epoch_ = Space::epoch();
  return put_block(block, deadline);
}

bool QueueBase::put_block(QueueBlock& block, Deadline deadline) const {
  check_open();
  (void)block.bytes();
  if (!was_put(ring().offer_parcel(block.parcel_, deadline))) return false;
  block.parcel_ = 0;
  return true;
}

std::size_t QueueBase::put_array(const void* bytes, std::size_t size, std::size_t count,
                                 Deadline deadline) const {
  check_open();
  const RingView here = ring();
  const auto* from = static_cast<const std::byte*>(bytes);
  std::size_t put = 0;
  while (put < count) {
    if (!here.carries(size)) {
      if (!put_bytes(from + put * size, size, deadline)) break;
      ++put;
      continue;
    }
    RingView::Put why = RingView::Put::done;
    put += here.put_some(
        count - put, [&](std::size_t i) { return std::span(from + (put + i) * size, size); }, &why);
    if (put == count || why != RingView::Put::full) {
      if (why == RingView::Put::closed) throw QueueShutDown();
      continue;
    }
    // Full: waits for room as a single one does.
    if (!put_bytes(from + put * size, size, deadline)) break;
    ++put;
  }
  return put;
}

struct QueueBase::PutMany::State {
  queue::MessageWriter writer{Space::here()};
  std::vector<std::size_t> ends;  // of the messages in the writer
};

QueueBase::PutMany::PutMany(const QueueBase& queue)
    : queue_(queue), state_(std::make_unique<State>()) {
  queue.check_open();
}
QueueBase::PutMany::~PutMany() = default;

void QueueBase::PutMany::add(const void* object, Encode encode) {
  auto& writer = state_->writer;
  const std::size_t before = writer.size();
  encode(writer, object);
  const bool alone = !writer.references().empty() || !queue_.ring().carries(writer.size() - before);
  if (alone) {
    // Its turn comes after those that wait for theirs.
    writer.truncate(before);
    flush();
    queue_.put_object(object, encode, std::nullopt);
    return;
  }
  state_->ends.push_back(writer.size());
  if (writer.size() >= kBatchBytes) flush();
}

void QueueBase::PutMany::flush() {
  auto& [writer, ends] = *state_;
  const auto bytes = writer.bytes();
  auto message = [&](std::size_t i) {
    const std::size_t begin = i == 0 ? 0 : ends[i - 1];
    return bytes.subspan(begin, ends[i] - begin);
  };
  const RingView ring = queue_.ring();
  for (std::size_t put = 0; put < ends.size();) {
    RingView::Put why = RingView::Put::done;
    put += ring.put_some(
        ends.size() - put, [&](std::size_t i) { return message(put + i); }, &why);
    if (put == ends.size()) break;
    if (was_put(ring.offer(message(put), std::nullopt, {}))) ++put;
  }
  ends.clear();
  writer.truncate(0);
}

// ---- getting

template <class Sink>
std::size_t QueueBase::get_batch(Sink&& sink, std::size_t most, Deadline deadline) const {
  check_open();
  const RingView here = ring();
  std::size_t count = 0;
  bool over = false;
  auto attempt = [&] {
    // Asked before the look: what was put before the shutdown is found by it.
    const Closed closed = here.closed();
    if (closed == Closed::for_all) {
      drop_all(here);  // whoever shut it down may have been killed over that
    } else {
      count = here.take_batch(most, sink);
    }
    over = count == 0 && closed != Closed::no;
    return count != 0 || over;
  };
  auto& pacing = ring::Pacing::here();
  auto let_gather = [&] {
    if (deadline && Clock::now() >= *deadline) return;
    pacing.wait();
    pacing.found(here.size());
  };
  const bool waited = pacing.gathering() && !here.knows_messages();
  if (waited) let_gather();
  if (!attempt()) {
    if (!waited) let_gather();
    here.filled().wait(Space::here(), deadline, attempt);
    // Messages that were put while we woke up rang for nobody: pass it on to who sleeps still.
    if (count && !here.empty()) here.filled().ring(1);
  }
  if (over) throw QueueShutDown();
  return count;
}

bool QueueBase::get_bytes(void* bytes, std::size_t size, Deadline deadline) const {
  return get_array(bytes, size, 1, deadline) != 0;
}

std::size_t QueueBase::get_array(void* bytes, std::size_t size, std::size_t most,
                                 Deadline deadline) const {
  ArraySink sink(ring(), bytes, size);
  const std::size_t count = get_batch(sink, most, deadline);
  sink.check();
  if (count == most) return count;
  return count + get_more(static_cast<std::byte*>(bytes) + count * size, size, most - count);
}

// A lent message may be of another size, and be thrown for: so it is left to a call of its own.
std::size_t QueueBase::get_more(void* bytes, std::size_t size, std::size_t most) const {
  const RingView here = ring();
  if (here.closed() == Closed::for_all) return 0;
  auto* to = static_cast<std::byte*>(bytes);
  const bool parcels = !here.carries(size);
  std::size_t total = 0;
  while (total < most) {
    ArraySink sink(here, to + total * size, size, parcels);
    const std::size_t count = here.take_batch(most - total, sink);
    sink.check();
    if (!count) break;
    total += count;
  }
  return total;
}

namespace {

void receive(QueueReceiver& receiver, QueueBlock block) { receiver.block(std::move(block)); }

}  // namespace

std::size_t QueueBase::get_objects(QueueReceiver& receiver, std::size_t most,
                                   Deadline deadline) const {
  const RingView here = ring();
  MessageSink sink(here);
  std::size_t count = get_batch(sink, most, deadline);
  while (count != 0 && count < most && here.closed() != Closed::for_all) {
    std::size_t more = 0;
    try {
      more = here.take_batch(most - count, sink);
    } catch (const std::exception&) {
      // What was taken before is not to be lost by it; the next call fails by itself.
    }
    if (!more) break;
    count += more;
  }
  Space& space = Space::here();
  for (Message& message : sink.messages()) {
    if (message.parcel() && arena::payload_kind(space, message.parcel()) == arena::Payload::raw) {
      QueueBlock block;
      block.parcel_ = message.release_parcel();
      block.epoch_ = Space::epoch();
      receive(receiver, std::move(block));
    } else {
      launch::HandleReader reader(message.bytes());
      receiver.encoded(reader);
    }
  }
  return count;
}

bool QueueBase::get_object(QueueReceiver& receiver, Deadline deadline) const {
  return get_objects(receiver, 1, deadline) != 0;
}

void QueueBase::refuse_full() { throw QueueFull(); }
void QueueBase::refuse_empty() { throw QueueEmpty(); }

// ---- joinable queues

namespace {
queue::Unfinished unfinished_of(const RingView& ring) {
  return {Space::here(), queue::unfinished_of(cell_of(ring)), ring};
}
}  // namespace

void QueueBase::finish_one() const {
  if (!unfinished_of(ring()).finish_one())
    throw InvalidStateError("task_done() was called more often than messages were got");
}

bool QueueBase::join_until(Deadline deadline) const {
  const RingView here = ring();
  return unfinished_of(here).join(deadline);
}

std::size_t QueueBase::count_unfinished() const {
  const RingView here = ring();
  return here.size() + unfinished_of(here).count();
}

std::uint64_t QueueBase::count_lost() const { return unfinished_of(ring()).lost(); }

}  // namespace cohort::detail
