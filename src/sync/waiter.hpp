// Where a thread waits to be told something by another: one record for each thread, in the arena,
// owned by its process. Records are found by looking at all of them, so there is no list of waiters
// for a kill to break.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "arena/space.hpp"
#include "os/futex.hpp"
#include "sync/backoff.hpp"

namespace cohort::sync {

// What a waiter was told. A wait is ended by one compare-and-swap: a notification and a time-out
// that meet have one winner.
enum class Told : std::uint32_t {
  idle,
  waiting,
  notified,  // which goes to the next if this one dies before it has gone on
};

struct Waiter {
  // A Told, and above it a number that each wait has of its own: who looked at one wait cannot tell
  // the next one, in this record or in another's at the same place. Futex.
  std::atomic<std::uint32_t> state;
  std::atomic<std::uint32_t> member;   // whose
  std::atomic<std::uint32_t> thread;   // this_thread() there
  std::atomic<std::uint32_t> tid;      // as the system numbers it
  std::atomic<std::uint64_t> subject;  // the block that is waited for
  std::atomic<std::uint64_t> ticket;   // the order among its waiters
  std::atomic<std::uint64_t> wants;    // block of the lock that this thread is blocked on, or 0
  std::atomic<std::uint32_t> turn;     // changes with `wants`

  // This thread's record, made at first use; given back when the thread ends. Throws when the arena
  // is exhausted.
  static Waiter& mine(arena::Space& space);

  // Before anybody can know of the wait.
  void prepare(std::uint64_t awaited, std::uint64_t place) {
    subject.store(awaited, std::memory_order_relaxed);
    ticket.store(place, std::memory_order_relaxed);
    const auto number = (state.load(std::memory_order_relaxed) | kToldMask) + 1;
    state.store(number | static_cast<std::uint32_t>(Told::waiting), std::memory_order_release);
  }
  static Told told_in(std::uint32_t seen) { return static_cast<Told>(seen & kToldMask); }
  Told told() const { return told_in(state.load(std::memory_order_acquire)); }
  // Sleeps until told, at most to the deadline, or until `leave()`, asked after each wake-up, says
  // so. Answers what was told: Told::waiting after the deadline, or when it left.
  template <class Leave>
  Told sleep(arena::Space& space, os::Deadline deadline, Leave&& leave);
  // `seen`: the state in that wait. Answers false when it has been told something already.
  bool tell(std::uint32_t seen, Told what) {
    return told_in(seen) == Told::waiting &&
           state.compare_exchange_strong(seen, with(seen, what), std::memory_order_acq_rel);
  }
  // By the waiter itself, or for a dead one.
  bool give_up() { return tell(state.load(std::memory_order_acquire), Told::idle); }
  void forget() {
    state.store(with(state.load(std::memory_order_relaxed), Told::idle), std::memory_order_release);
  }
  void wake() { os::futex_wake_all(state); }

 private:
  static constexpr std::uint32_t kToldMask = 3;
  static std::uint32_t with(std::uint32_t seen, Told what) {
    return (seen & ~kToldMask) | static_cast<std::uint32_t>(what);
  }
};
static_assert(sizeof(Waiter) <= 64);

// Wakes the waiter, which was told something under this lock, when wake_told(lock) is called by
// this thread. (Where memory is short, at once.)
void wake_with(const void* lock, Waiter& waiter) noexcept;
void wake_told(const void* lock) noexcept;

// Every waiter of a living member.
void for_each_waiter(arena::Space& space, const std::function<void(Waiter&)>& visit);

// 0 until it is first asked for.
inline constinit thread_local std::uint32_t this_threads_number = 0;
std::uint32_t number_this_thread() noexcept;

// A number for the calling thread, never 0, that no other thread of this process has or had.
inline std::uint32_t this_thread() noexcept {
  const std::uint32_t number = this_threads_number;
  return number != 0 ? number : number_this_thread();
}

template <class Leave>
Told Waiter::sleep(arena::Space& space, os::Deadline deadline, Leave&& leave) {
  for (Backoff backoff; backoff.step();) {
    if (told() != Told::waiting) return told();
  }
  for (;;) {
    const auto seen = state.load(std::memory_order_acquire);
    if (told_in(seen) != Told::waiting) return told_in(seen);
    if (deadline && os::Clock::now() >= *deadline) return Told::waiting;
    space.sleep_on(state, seen, deadline);
    if (leave()) return told();
  }
}

}  // namespace cohort::sync
