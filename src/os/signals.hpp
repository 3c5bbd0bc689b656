// Signal masks and dispositions.
#pragma once

#include <signal.h>

#include <string_view>

namespace cohort::os {

// Blocks every signal in this thread for as long as it lives.
class SignalsBlocked {
 public:
  SignalsBlocked() noexcept;
  ~SignalsBlocked();
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

// A child starts clean: default dispositions (an ignored SIGHUP, as nohup leaves it, stays) and
// nothing blocked. Both are async-signal-safe.
void reset_dispositions() noexcept;
void unblock_all_signals() noexcept;
void block_all_signals() noexcept;
void ignore_signal(int number) noexcept;

// A handler of ours, in place of the default disposition alone. Answers false, and changes nothing,
// where the program has a handler of its own or ignores the signal. All signals are blocked while
// it runs.
using SignalHandler = void (*)(int);
bool handle_if_default(int number, SignalHandler handler) noexcept;
// Back to the default, unless the program has put something else in its place.
void stop_handling(int number, SignalHandler handler) noexcept;
// For handlers: writes a line, or nothing where that would wait. No SIGPIPE while it is blocked.
void write_from_handler(int fd, std::string_view line) noexcept;
// For handlers: ends this process by the signal, as if nobody had handled it.
void end_by_default(int number) noexcept;

}  // namespace cohort::os
