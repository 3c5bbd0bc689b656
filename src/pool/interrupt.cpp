#include "pool/interrupt.hpp"

#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <string_view>

#include "os/signals.hpp"

namespace cohort {
namespace {

constexpr std::string_view kLine =
    "cohort: interrupted; the workers of this program are ended with it\n";

// Held for a few system calls. In a copy made by fork while a thread held it, that thread does not
// exist, so that the lock is free there.
class ForkedLock {
 public:
  void lock() noexcept {
    const pid_t self = ::getpid();
    for (;;) {
      pid_t holder = 0;
      if (holder_.compare_exchange_strong(holder, self, std::memory_order_acquire)) return;
      if (holder != self &&
          holder_.compare_exchange_strong(holder, self, std::memory_order_acquire))
        return;
      ::sched_yield();
    }
  }
  void unlock() noexcept { holder_.store(0, std::memory_order_release); }

 private:
  std::atomic<pid_t> holder_{0};
};

constinit ForkedLock lock;
constinit pid_t counted_for = 0;  // the process that `count` is about: a copy starts at none
constinit unsigned count = 0;

// For the handler, which may run in any thread, and in a forked copy.
constinit std::atomic<pid_t> speaker{0};
constinit std::atomic<bool> told{false};

void on_interrupt(int number) {
  const bool ours = speaker.load() == ::getpid();
  if (ours && told.exchange(true)) return;  // another thread is at it
  if (ours) os::write_from_handler(STDERR_FILENO, kLine);
  os::end_by_default(number);
}

void start_handling(pid_t self) noexcept {
  // The first process of a pid namespace would survive the default, and not end as the line says.
  if (self == 1) return;
  told.store(false);
  speaker.store(self);
  if (!os::handle_if_default(SIGINT, on_interrupt)) speaker.store(0);
}

void stop_handling() noexcept {
  os::stop_handling(SIGINT, on_interrupt);
  speaker.store(0);
}

}  // namespace

InterruptNotice::InterruptNotice() noexcept : process_(::getpid()) {
  std::lock_guard guard(lock);
  if (counted_for != process_) {
    counted_for = process_;
    count = 0;
  }
  if (count++ == 0) start_handling(process_);
}

InterruptNotice::~InterruptNotice() {
  if (process_ != ::getpid()) return;
  std::lock_guard guard(lock);
  if (--count == 0) stop_handling();
}

}  // namespace cohort
