#include "os/signals.hpp"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

#include "os/call.hpp"

namespace cohort::os {
namespace {

bool is_handled_by(const struct sigaction& action, SignalHandler handler) noexcept {
  return (action.sa_flags & SA_SIGINFO) == 0 && action.sa_handler == handler;
}

}  // namespace

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

bool handle_if_default(int number, SignalHandler handler) noexcept {
  struct sigaction now {};
  if (::sigaction(number, nullptr, &now) != 0) return false;
  if (is_handled_by(now, handler)) return true;
  if (!is_handled_by(now, SIG_DFL)) return false;
  struct sigaction ours {};
  ours.sa_handler = handler;
  ours.sa_flags = SA_RESTART | SA_ONSTACK;
  ::sigfillset(&ours.sa_mask);
  return ::sigaction(number, &ours, nullptr) == 0;
}

void stop_handling(int number, SignalHandler handler) noexcept {
  struct sigaction now {};
  if (::sigaction(number, nullptr, &now) != 0 || !is_handled_by(now, handler)) return;
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  ::sigaction(number, &standard, nullptr);
}

void write_from_handler(int fd, std::string_view line) noexcept {
  pollfd room{fd, POLLOUT, 0};
  if (::poll(&room, 1, 0) != 1 || (room.revents & POLLOUT) == 0) return;
  (void)retry([&] { return ::write(fd, line.data(), line.size()); });
}

void end_by_default(int number) noexcept {
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  ::sigaction(number, &standard, nullptr);
  ::raise(number);
  // It is blocked while its handler runs; this lets it in, with all others still kept out.
  sigset_t only;
  ::sigemptyset(&only);
  ::sigaddset(&only, number);
  ::pthread_sigmask(SIG_UNBLOCK, &only, nullptr);
}

}  // namespace cohort::os
