// An event count: sleepers wait for a condition on shared memory, wakers ring after they changed
// it. Ringing while nobody sleeps costs one fence and one load.
//
// Sleepers raise a flag, which the waker clears; a woken sleeper raises it again for those who may
// still sleep. Rings meanwhile wake nobody: a woken sleeper that leaves something behind for others
// rings on. (A count of sleepers would leak when a sleeper is killed, and every later ring
// would pay a system call for ever.) A wake lost to a kill is made good by the janitor, which wakes
// every recorded wait, and by the bound on every sleep.
#pragma once

#include <atomic>
#include <cstdint>

#include "arena/space.hpp"
#include "os/futex.hpp"
#include "os/step.hpp"
#include "sync/backoff.hpp"

namespace cohort::sync {

struct Doorbell {
  std::atomic<std::uint32_t> rings;
  std::atomic<std::uint32_t> sleeping;

  // Waits until `ready()` holds. Answers false when the deadline passed first.
  template <class Ready>
  bool wait(arena::Space& space, os::Deadline deadline, Ready&& ready) {
    if (deadline && os::Clock::now() >= *deadline) return ready();
    for (Backoff backoff; backoff.step();) {
      if (ready()) return true;
    }
    return sleep(space, deadline, ready);
  }

  // As wait, for callers that have spun already.
  template <class Ready>
  bool sleep(arena::Space& space, os::Deadline deadline, Ready&& ready) {
    for (bool slept = false;; slept = true) {
      std::uint32_t seen = rings.load(std::memory_order_acquire);
      sleeping.store(1, std::memory_order_seq_cst);
      std::atomic_thread_fence(std::memory_order_seq_cst);
      if (slept) os::step("doorbell.woken");
      if (ready()) return true;
      if (deadline && os::Clock::now() >= *deadline) return false;
      space.sleep_on(rings, seen, deadline);
    }
  }

  // Wakes up to `count` sleepers, after a change that they wait for.
  void ring(int count = 1) {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    ring_after_change(count);
  }

  // The same when the change was a sequentially consistent read-modify-write: no fence is needed.
  void ring_after_change(int count) {
    if (sleeping.load(std::memory_order_seq_cst) == 0) return;
    if (sleeping.exchange(0, std::memory_order_acq_rel) == 0) return;
    os::step("doorbell.flag_cleared");
    rings.fetch_add(1, std::memory_order_release);
    os::futex_wake(rings, count);
  }
};

}  // namespace cohort::sync
