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
  notified,
  broken,
  signalled,  // by a condition: a notification that goes to the next if this one dies before use
};

struct Waiter {
  std::atomic<std::uint32_t> state;    // a Told; futex
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
    state.store(static_cast<std::uint32_t>(Told::waiting), std::memory_order_release);
  }
  Told told() const { return static_cast<Told>(state.load(std::memory_order_acquire)); }
  // Sleeps until told, at most to the deadline; `awake()` is asked after each wake-up, and may end
  // the wait by telling this waiter. Answers what was told: Told::waiting after the deadline.
  template <class Awake>
  Told sleep(arena::Space& space, os::Deadline deadline, Awake&& awake);
  // Answers false when it has been told something already, or does not wait.
  bool tell(Told what) {
    auto before = static_cast<std::uint32_t>(Told::waiting);
    return state.compare_exchange_strong(before, static_cast<std::uint32_t>(what),
                                         std::memory_order_acq_rel);
  }
  // Its own thread is done with what it was told.
  void forget() { state.store(static_cast<std::uint32_t>(Told::idle), std::memory_order_release); }
  void wake() { os::futex_wake_all(state); }
};
static_assert(sizeof(Waiter) <= 64);

// Every waiter of a living member.
void for_each_waiter(arena::Space& space, const std::function<void(Waiter&)>& visit);

// A number for the calling thread, never 0, that no other thread of this process has or had.
std::uint32_t this_thread() noexcept;

template <class Awake>
Told Waiter::sleep(arena::Space& space, os::Deadline deadline, Awake&& awake) {
  for (Backoff backoff; backoff.step();) {
    Told now = told();
    if (now != Told::waiting) return now;
  }
  for (;;) {
    Told now = told();
    if (now != Told::waiting) return now;
    if (deadline && os::Clock::now() >= *deadline) return now;
    space.sleep_on(state, static_cast<std::uint32_t>(Told::waiting), deadline);
    awake();
  }
}

}  // namespace cohort::sync
