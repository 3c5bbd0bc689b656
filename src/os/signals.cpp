#include "os/signals.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace cohort::os {

SignalsBlocked::SignalsBlocked() noexcept {
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before_);
}

SignalsBlocked::~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

void block_all_signals() noexcept {
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
}

void ignore_signal(int number) noexcept {
  struct sigaction ignoring {};
  ignoring.sa_handler = SIG_IGN;
  ::sigaction(number, &ignoring, nullptr);
}

void reset_dispositions() noexcept {
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; ++number) {
    if (number == SIGKILL || number == SIGSTOP) continue;
    struct sigaction now {};
    if (::sigaction(number, nullptr, &now) != 0) continue;
    bool handled = (now.sa_flags & SA_SIGINFO) != 0 || now.sa_handler != SIG_DFL;
    bool keep = number == SIGHUP && now.sa_handler == SIG_IGN;
    if (handled && !keep) ::sigaction(number, &standard, nullptr);
  }
}

void unblock_all_signals() noexcept {
  // Not by pthread_sigmask: libc's code for it would cost each new child two page faults.
  std::uint64_t none = 0;
  ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, sizeof none);
}

}  // namespace cohort::os
