#include "connection/queue_watch.hpp"

#include <algorithm>

#include "os/futex.hpp"
#include "os/signals.hpp"

namespace cohort::connection {
namespace {

// What this process is not told of, since a waker was killed or stopped, it finds by itself.
constexpr std::chrono::milliseconds kLongestSleep{100};

bool ring_ready(const ring::RingView& ring) {
  return !ring.empty() || ring.closed() != ring::Closed::no;
}

}  // namespace

bool queue_ready(const detail::BlockRef& queue) { return ring_ready(ring::RingView(queue)); }

QueueWatch::QueueWatch(std::span<const detail::BlockRef> queues) {
  for (const auto& queue : queues) rings_.emplace_back(queue);
  os::SignalsBlocked blocked;  // they are for the program's own threads
  thread_ = std::thread([this] { watch(); });
}

QueueWatch::~QueueWatch() {
  stopped_.store(true);
  next_turn();
  thread_.join();
}

void QueueWatch::drain() noexcept {
  event_.drain();
  next_turn();
}

void QueueWatch::next_turn() noexcept {
  turn_.fetch_add(1);
  os::futex_wake_all(turn_);
}

bool QueueWatch::any_ready() const { return std::any_of(rings_.begin(), rings_.end(), ring_ready); }

void QueueWatch::watch() {
  while (!stopped_.load()) {
    if (!any_ready()) {
      sleep();
      continue;
    }
    const std::uint32_t turn = turn_.load();
    event_.signal();
    // The wake that this thread got may have been meant for one who would have taken the message.
    for (const auto& ring : rings_) {
      if (!ring.empty()) ring.filled().ring(1);
    }
    while (!stopped_.load() && turn_.load() == turn)
      os::futex_wait(turn_, turn, os::Clock::now() + kLongestSleep);
  }
}

// Until one of the queues rings, or the wait is over.
void QueueWatch::sleep() {
  std::vector<os::FutexValue> words{{&turn_, turn_.load()}};
  for (const auto& ring : rings_) {
    auto& bell = ring.filled();
    words.push_back({&bell.rings, bell.rings.load(std::memory_order_acquire)});
    bell.sleeping.store(1, std::memory_order_seq_cst);
  }
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!stopped_.load() && !any_ready()) os::futex_wait_any(words, os::Clock::now() + kLongestSleep);
}

}  // namespace cohort::connection
