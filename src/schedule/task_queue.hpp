// The queue of pending tasks, from the owner to all workers. Bounded, without a lock: a worker that
// is killed or stopped anywhere in here holds up nobody.
#pragma once

#include <cstdint>
#include <optional>

#include "schedule/cells.hpp"

namespace cohort::schedule {

// The owner, one thread at a time: names a pending task in the queue.
void append(const Layout& cells, Ticket ticket);

// Takes the oldest pending task for `worker`; answers its index.
std::optional<std::uint32_t> claim(const Layout& cells, std::uint32_t worker);

inline bool anything_queued(const Layout& cells) {
  const SchedulerCell& head = cells.head();
  std::uint64_t at = head.head.load(std::memory_order_acquire);
  return at != head.tail.load(std::memory_order_acquire);
}

// Wakes sleeping workers, as many as there are queued tasks that no searching worker will take.
void wake_for_queued(const Layout& cells);
// Wakes up to `most` sleeping workers, whoever searches.
void wake_workers(const Layout& cells, std::uint64_t most);

}  // namespace cohort::schedule
