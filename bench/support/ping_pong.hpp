// How long it takes until a process goes on that another one signals, back and forth between two.
//
// A signal has raise(), and await(), which returns once after each raise().
#pragma once

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>

#include "shared.hpp"
#include "two_processes.hpp"

namespace bench {

enum class Other {
  asleep,  // the signalled one has gone to sleep before
  busy,    // it may not have yet
};

// The least that a signal can be.
class FutexSignal {
 public:
  void raise() {
    word_.store(1);
    syscall(SYS_futex, &word_, FUTEX_WAKE, 1, nullptr, nullptr, 0);
  }
  void await() {
    while (word_.exchange(0) == 0) syscall(SYS_futex, &word_, FUTEX_WAIT, 0, nullptr, nullptr, 0);
  }

 private:
  std::atomic<std::uint32_t> word_{0};
};

// Longer than anybody spins. Yields, in case the other one needs this CPU to go to sleep.
inline void let_sleep() {
  const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(150);
  while (std::chrono::steady_clock::now() < until) sched_yield();
}

// Seconds from a raise() to the end of the other side's await(): the mean over both directions.
template <class Signal>
double ping_pong(Placement placement, Other other, int times, Signal& ping, Signal& pong) {
  struct Passed {
    std::atomic<std::int64_t> raised{0};
    double seconds = 0;
  };
  const Shared<std::array<Passed, 2>> passed;
  const Shared<std::atomic<int>> done(0);
  const auto now = [] { return std::chrono::steady_clock::now().time_since_epoch().count(); };
  const auto raise = [&](Signal& signal, Passed& mine) {
    if (other == Other::asleep) let_sleep();
    mine.raised.store(now());
    signal.raise();
  };
  const auto await = [&](Signal& signal, Passed& theirs, bool counts) {
    signal.await();
    if (counts) theirs.seconds += static_cast<double>(now() - theirs.raised.load()) * 1e-9;
  };
  Passed& pings = (*passed)[0];
  Passed& pongs = (*passed)[1];
  const int warm_up = times / 5;
  // One that left early could take its last signal with it.
  const auto leave = [&] {
    for (done->fetch_add(1); done->load() < 2;) sched_yield();
  };
  const auto first = [&] {
    for (int i = -warm_up; i < times; ++i) {
      raise(ping, pings);
      await(pong, pongs, i >= 0);
    }
    leave();
  };
  const auto second = [&] {
    for (int i = -warm_up; i < times; ++i) {
      await(ping, pings, i >= 0);
      raise(pong, pongs);
    }
    leave();
  };
  in_two_processes(placement, first, second);
  return (pings.seconds + pongs.seconds) / 2 / times;
}

}  // namespace bench
