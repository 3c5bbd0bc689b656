#include "schedule/task_queue.hpp"

#include <bit>

#include "os/futex.hpp"
#include "os/step.hpp"

namespace cohort::schedule {
namespace {

void put_last(const Layout& cells, Ticket ticket) {
  SchedulerCell& queue = cells.head();
  std::uint64_t tail = queue.tail.load(std::memory_order_relaxed);
  cells.queue(tail).store(ticket.raw, std::memory_order_release);
  queue.tail.store(tail + 1, std::memory_order_release);
}

// Gives a pending task a new generation, so that no worker takes it by its old entry.
bool renew(const Layout& cells, Ticket& ticket) {
  auto expected = TaskState::of(ticket.generation(), Status::pending).raw;
  Ticket renewed = Ticket::of(ticket.task(), ticket.generation() + 1);
  bool pending = cells.task(ticket.task())
                     .state.compare_exchange_strong(
                         expected, TaskState::of(renewed.generation(), Status::pending).raw,
                         std::memory_order_acq_rel);
  ticket = renewed;
  return pending;
}

// Once round: entries of tasks that were claimed or taken back drop out, pending ones keep their
// order. There are half as many tasks as entries, so this is rare.
void drop_stale(const Layout& cells) {
  SchedulerCell& queue = cells.head();
  std::uint64_t end = queue.tail.load(std::memory_order_relaxed);
  for (;;) {
    std::uint64_t head = queue.head.load(std::memory_order_acquire);
    if (head >= end) return;
    Ticket ticket{cells.queue(head).load(std::memory_order_relaxed)};
    bool pending = renew(cells, ticket);
    queue.head.compare_exchange_strong(head, head + 1);  // or a worker did it
    if (pending) put_last(cells, ticket);
  }
}

}  // namespace

void append(const Layout& cells, Ticket ticket) {
  SchedulerCell& queue = cells.head();
  std::uint64_t head = queue.head.load(std::memory_order_acquire);
  if (queue.tail.load(std::memory_order_relaxed) - head >= queue.queue_capacity) drop_stale(cells);
  put_last(cells, ticket);
}

std::optional<std::uint32_t> claim(const Layout& cells, std::uint32_t worker) {
  SchedulerCell& queue = cells.head();
  for (;;) {
    std::uint64_t head = queue.head.load(std::memory_order_acquire);
    if (head == queue.tail.load(std::memory_order_acquire)) return std::nullopt;
    // When others moved on meanwhile this may be a later task's entry: that is as good.
    Ticket ticket{cells.queue(head).load(std::memory_order_acquire)};
    auto expected = TaskState::of(ticket.generation(), Status::pending).raw;
    bool won = cells.task(ticket.task())
                   .state.compare_exchange_strong(
                       expected, TaskState::of(ticket.generation(), Status::claimed, worker).raw,
                       std::memory_order_acq_rel);
    if (won) os::step("schedule.claimed");
    queue.head.compare_exchange_strong(head, head + 1, std::memory_order_acq_rel);
    if (won) return ticket.task();
  }
}

void wake_workers(const Layout& cells, std::uint64_t most) {
  SchedulerCell& shared = cells.head();
  std::uint32_t words = (shared.workers + 63) / 64;
  for (std::uint32_t word = 0; word < words && most > 0; ++word) {
    std::uint64_t asleep = shared.sleeping[word].load(std::memory_order_relaxed);
    for (; asleep != 0 && most > 0; asleep &= asleep - 1) {
      std::uint32_t index = word * 64 + static_cast<std::uint32_t>(std::countr_zero(asleep));
      if (!take_from(shared.sleeping, index)) continue;
      WorkerSlot& slot = cells.worker(index);
      slot.bell.fetch_add(1, std::memory_order_release);
      os::futex_wake(slot.bell, 1);
      --most;
    }
  }
}

void wake_for_queued(const Layout& cells) {
  SchedulerCell& shared = cells.head();
  std::atomic_thread_fence(std::memory_order_seq_cst);
  std::uint32_t words = (shared.workers + 63) / 64;
  std::uint64_t asleep = 0;
  for (std::uint32_t word = 0; word < words; ++word)
    asleep |= shared.sleeping[word].load(std::memory_order_relaxed);
  if (asleep == 0) return;
  // The head first: a worker leaves the searching before it claims.
  std::uint64_t head = shared.head.load(std::memory_order_acquire);
  std::uint64_t queued = shared.tail.load(std::memory_order_relaxed) - head;
  std::uint64_t searching = 0;
  for (std::uint32_t word = 0; word < words; ++word) {
    searching += static_cast<std::uint64_t>(
        std::popcount(shared.searching[word].load(std::memory_order_acquire)));
  }
  if (queued > searching) wake_workers(cells, queued - searching);
}

}  // namespace cohort::schedule
