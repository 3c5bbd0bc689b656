// Waiting for queues beside descriptors: a descriptor that shows when it is worth a look at them.
//
// Queues wake their sleepers by futexes, which poll(2) knows nothing of: so a thread of this
// process sleeps on them and signals an event. It lives as long as the wait, and nobody but who
// waits this way pays for it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <thread>
#include <vector>

#include "cohort/detail/block_ref.hpp"
#include "os/event.hpp"
#include "ring/ring.hpp"

namespace cohort::connection {

// Whether a get() would find something at once, or that the queue is shut down.
bool queue_ready(const detail::BlockRef& queue);

class QueueWatch {
 public:
  // From here on no change is missed. `queues` must be held meanwhile. Throws std::system_error
  // where there is no descriptor or thread to be had.
  explicit QueueWatch(std::span<const detail::BlockRef> queues);
  ~QueueWatch();
  QueueWatch(const QueueWatch&) = delete;
  QueueWatch& operator=(const QueueWatch&) = delete;

  // Polls readable when some queue may have become ready.
  int fd() const noexcept { return event_.get(); }
  // To be called when fd() polled readable, before a look at the queues: then the watch goes on.
  void drain() noexcept;

 private:
  void watch();
  void sleep();
  bool any_ready() const;
  void next_turn() noexcept;

  std::vector<ring::RingView> rings_;
  os::Event event_;
  std::atomic<bool> stopped_{false};
  std::atomic<std::uint32_t> turn_{0};  // futex: what the thread waits for after a signal
  std::thread thread_;
};

}  // namespace cohort::connection
