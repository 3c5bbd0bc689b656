#include "robust_ring.hpp"

#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>
#include <new>
#include <stdexcept>

namespace bench {
namespace {

constexpr std::size_t kLengthBytes = sizeof(std::uint64_t);

std::size_t space_for(std::size_t size) { return kLengthBytes + (size + 7) / 8 * 8; }

void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// After a death there is nothing to mend: what was not handed over is not there.
class Guard {
 public:
  explicit Guard(PthreadMutex& mutex) : mutex_(mutex) {
    if (mutex.lock() == EOWNERDEAD) pthread_mutex_consistent(mutex.native());
  }
  ~Guard() { mutex_.unlock(); }
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;

 private:
  PthreadMutex& mutex_;
};

}  // namespace

template <class Condition>
void RobustRing::Bell::wait(int pauses, Condition&& condition) {
  for (int passed = 0; passed < std::max(50, 4 * pauses); passed += pauses) {
    for (int i = 0; i < pauses; ++i) pause_cpu();
    if (condition()) return;
  }
  const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(20);
  do {
    sched_yield();
    if (condition()) return;
  } while (std::chrono::steady_clock::now() < until);
  while (!condition()) {
    sleeps_.store(1);
    if (condition()) return;
    sleep();
  }
}

void RobustRing::Bell::sleep() {
  const timespec limit{0, 100'000'000};
  syscall(SYS_futex, &sleeps_, FUTEX_WAIT, 1, &limit, nullptr, 0);
}

void RobustRing::Bell::ring() {
  if (sleeps_.load() == 0 || sleeps_.exchange(0) == 0) return;
  syscall(SYS_futex, &sleeps_, FUTEX_WAKE, 1 << 30, nullptr, nullptr, 0);
}

RobustRing::RobustRing(std::size_t capacity, int pauses) : capacity_(capacity), pauses_(pauses) {
  void* place = mmap(nullptr, sizeof(Cell) + capacity, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (place == MAP_FAILED) throw std::runtime_error("no shared memory");
  cell_ = new (place) Cell;
  data_ = static_cast<std::byte*>(place) + sizeof(Cell);
}

RobustRing::~RobustRing() { munmap(cell_, sizeof(Cell) + capacity_); }

void RobustRing::send(std::span<const std::byte> messages, std::size_t count) {
  const std::size_t size = messages.size() / count;
  while (!messages.empty()) {
    const std::size_t put = put_some(messages, size);
    messages = messages.subspan(put * size);
    if (put > 0) cell_->filled.ring();
    if (!messages.empty()) cell_->drained.wait(pauses_, [&] { return has_room(size); });
  }
}

std::size_t RobustRing::receive(std::span<std::byte> messages, std::size_t count) {
  const std::size_t size = messages.size() / count;
  for (;;) {
    if (const std::size_t taken = take_some(messages, size); taken > 0) {
      cell_->drained.ring();
      return taken;
    }
    cell_->filled.wait(pauses_, [&] { return has_message(); });
  }
}

std::size_t RobustRing::put_some(std::span<const std::byte> messages, std::size_t size) {
  Side& side = cell_->put;
  const std::uint64_t needed = space_for(size);
  const Guard guard(side.mutex);
  std::uint64_t tail = side.position.load(std::memory_order_relaxed);
  std::size_t put = 0;
  for (; !messages.empty(); ++put) {
    if (tail + needed - side.seen > capacity_) {
      side.seen = cell_->take.position.load(std::memory_order_acquire);
      if (tail + needed - side.seen > capacity_) break;
    }
    const std::uint64_t length = size;
    std::memcpy(data_ + tail % capacity_, &length, sizeof length);
    copy_in(tail + kLengthBytes, messages.first(size));
    messages = messages.subspan(size);
    tail += needed;
  }
  side.position.store(tail, std::memory_order_release);
  return put;
}

std::size_t RobustRing::take_some(std::span<std::byte> messages, std::size_t size) {
  Side& side = cell_->take;
  const Guard guard(side.mutex);
  std::uint64_t head = side.position.load(std::memory_order_relaxed);
  std::size_t taken = 0;
  for (; !messages.empty(); ++taken) {
    if (head == side.seen) {
      side.seen = cell_->put.position.load(std::memory_order_acquire);
      if (head == side.seen) break;
    }
    std::uint64_t length;
    std::memcpy(&length, data_ + head % capacity_, sizeof length);
    if (length != size) throw std::logic_error("a message of another size");
    copy_out(head + kLengthBytes, messages.first(size));
    messages = messages.subspan(size);
    head += space_for(size);
  }
  side.position.store(head, std::memory_order_release);
  return taken;
}

bool RobustRing::has_room(std::size_t size) const {
  const std::uint64_t tail = cell_->put.position.load(std::memory_order_relaxed);
  return tail + space_for(size) - cell_->take.position.load(std::memory_order_acquire) <= capacity_;
}

bool RobustRing::has_message() const {
  return cell_->put.position.load(std::memory_order_acquire) !=
         cell_->take.position.load(std::memory_order_relaxed);
}

void RobustRing::copy_in(std::uint64_t position, std::span<const std::byte> bytes) {
  const std::size_t place = position % capacity_;
  const std::size_t straight = std::min(bytes.size(), capacity_ - place);
  std::memcpy(data_ + place, bytes.data(), straight);
  std::memcpy(data_, bytes.data() + straight, bytes.size() - straight);
}

void RobustRing::copy_out(std::uint64_t position, std::span<std::byte> bytes) const {
  const std::size_t place = position % capacity_;
  const std::size_t straight = std::min(bytes.size(), capacity_ - place);
  std::memcpy(bytes.data(), data_ + place, straight);
  std::memcpy(bytes.data() + straight, data_, bytes.size() - straight);
}

}  // namespace bench
