#include "bare_workers.hpp"

#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <new>
#include <stdexcept>

namespace bench {
namespace {

// A number that the other side is waited to raise: pauses, then yields, then sleep.
struct alignas(64) Signal {
  std::atomic<std::uint32_t> value{0};
  std::atomic<std::uint32_t> sleeping{0};

  void raise() {
    value.fetch_add(1);
    if (sleeping.exchange(0) != 0) {
      syscall(SYS_futex, &value, FUTEX_WAKE, 1, nullptr, nullptr, 0);
    }
  }
  void wait_past(std::uint32_t seen) {
    const auto there = [&] { return value.load(std::memory_order_acquire) != seen; };
    for (int i = 0; i < 50; ++i) {
      if (there()) return;
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    }
    const auto limit = std::chrono::steady_clock::now() + std::chrono::microseconds(20);
    while (std::chrono::steady_clock::now() < limit) {
      if (there()) return;
      sched_yield();
    }
    while (!there()) {
      sleeping.store(1);
      if (!there()) syscall(SYS_futex, &value, FUTEX_WAIT, seen, nullptr, nullptr, 0);
    }
  }
};

struct Slot {
  Signal asked;
  Signal done;
  std::size_t from = 0;
  std::size_t count = 0;  // 0: end
};

}  // namespace

struct BareWorkers::Shared {
  std::array<Slot, kWorkers> slots;
  // Then the input and the output.
  int* input() { return reinterpret_cast<int*>(this + 1); }
};

BareWorkers::BareWorkers(Function function, std::size_t most)
    : function_(function), most_(most), bytes_(sizeof(Shared) + 2 * most * sizeof(int)) {
  void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("no shared memory");
  shared_ = new (memory) Shared;
  for (std::size_t worker = 0; worker < kWorkers; ++worker) {
    pids_[worker] = fork();
    if (pids_[worker] < 0) throw std::runtime_error("no fork");
    if (pids_[worker] == 0) work(worker);
  }
}

BareWorkers::~BareWorkers() {
  for (std::size_t worker = 0; worker < kWorkers; ++worker) {
    start(worker, {}, 0);
    waitpid(pids_[worker], nullptr, 0);
  }
  munmap(shared_, bytes_);
}

void BareWorkers::work(std::size_t worker) const {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  Slot& slot = shared_->slots[worker];
  std::vector<int> items;
  for (std::uint32_t seen = 0;; ++seen) {
    slot.asked.wait_past(seen);
    if (slot.count == 0) _exit(0);
    const int* input = shared_->input() + slot.from;
    items.assign(input, input + slot.count);
    for (int& item : items) item = function_(item);
    std::copy(items.begin(), items.end(), shared_->input() + most_ + slot.from);
    slot.done.raise();
  }
}

void BareWorkers::start(std::size_t worker, std::span<const int> items, std::size_t from) {
  Slot& slot = shared_->slots[worker];
  std::copy(items.begin(), items.end(), shared_->input() + from);
  slot.from = from;
  slot.count = items.size();
  slot.asked.raise();
}

std::span<const int> BareWorkers::finish(std::size_t worker) {
  Slot& slot = shared_->slots[worker];
  slot.done.wait_past(slot.asked.value.load() - 1);
  return {shared_->input() + most_ + slot.from, slot.count};
}

std::vector<int> BareWorkers::map(const std::vector<int>& items) {
  const std::size_t half = items.size() / 2;
  start(0, std::span(items).first(half), 0);
  start(1, std::span(items).subspan(half), half);
  std::vector<int> results;
  results.reserve(items.size());
  for (std::size_t worker = 0; worker < kWorkers; ++worker) {
    const std::span<const int> part = finish(worker);
    results.insert(results.end(), part.begin(), part.end());
  }
  return results;
}

int BareWorkers::apply(int item) {
  start(0, std::span(&item, 1), 0);
  return finish(0).front();
}

}  // namespace bench
