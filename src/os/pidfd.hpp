// A child or another process, held by a pidfd: no signal or wait ever reaches a recycled pid.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

#include "os/fd.hpp"

namespace cohort::os {

// How a process ended: its exit code, or minus the signal that killed it.
using ExitCode = int;

class Pidfd {
 public:
  Pidfd() = default;
  explicit Pidfd(Fd fd) noexcept : fd_(std::move(fd)) {}
  // Empty when there is no such process. Throws std::system_error on anything else.
  static Pidfd open(pid_t pid);

  int get() const noexcept { return fd_.get(); }
  Fd take() noexcept { return std::move(fd_); }
  explicit operator bool() const noexcept { return static_cast<bool>(fd_); }

  // Answers false when the process is gone.
  bool send(int signal) const;
  bool ended() const { return wait_readable(get(), Clock::time_point{}); }

  // Reaps a child of this process, whatever its exit signal; empty while it runs, and when it is
  // not (or no longer) ours to reap.
  std::optional<ExitCode> reap() const;
  // The exit code of a process that has ended and waits to be reaped by somebody else.
  std::optional<ExitCode> unreaped_exit(pid_t pid) const;
  // The exit code that the kernel keeps with the pidfd, after somebody else reaped the process
  // (Linux 6.15 and newer).
  std::optional<ExitCode> recorded_exit() const;

 private:
  Fd fd_;
};

// Decodes a wait status.
ExitCode exit_code_of(int status);

// When the process started, on CLOCK_BOOTTIME in nanoseconds, to the tick (10 ms); empty if gone.
std::optional<std::uint64_t> start_time(pid_t pid);
// The most memory that it had resident, in bytes; 0 if gone.
std::size_t peak_memory_of(pid_t pid);
// Whether a signal or a debugger has stopped it.
bool stopped(pid_t pid);
std::uint64_t boot_time_now();

}  // namespace cohort::os
