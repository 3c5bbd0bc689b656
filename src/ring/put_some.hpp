// RingView::put_some, for messages that are made as they are put.
#pragma once

#include "ring/producer.hpp"
#include "ring/ring.hpp"

namespace cohort::ring {

template <class Message>
std::size_t RingView::put_some(std::size_t count, Message&& message, Put* why) const {
  arena::Space& space = arena::Space::here();
  RingCell& ring = cell();
  std::size_t put = 0;
  Put ended = Put::done;
  while (put < count) {
    Producer producer(space, ring, block_);
    if (!producer.usable()) continue;
    if (producer.closed() != Closed::no) {
      ended = Put::closed;
      break;
    }
    Mark end = producer.tail();
    std::size_t written = 0;
    for (; put + written < count; ++written) {
      const std::span<const std::byte> bytes = message(put + written);
      auto at = producer.room_at(end, bytes.size());
      if (!at && written == 0 && producer.grow(bytes.size())) {
        end = producer.tail();
        at = producer.room_at(end, bytes.size());
      }
      if (!at) {
        ended = Put::full;
        break;
      }
      producer.write(*at, Form::bytes, bytes);
      end = at->after(1, record_bytes(bytes.size()));
    }
    if (written != 0) {
      ended = Put::done;  // what did not fit may fit into the next segment
      if (producer.commit(end)) put += written;
    } else if (ended == Put::full && !producer.lost()) {
      break;
    }
  }
  if (put) ring.filled.ring_after_change(static_cast<int>(put));
  if (why) *why = ended;
  return put;
}

}  // namespace cohort::ring
