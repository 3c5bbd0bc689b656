// Signal masks and dispositions.
#pragma once

#include <signal.h>

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

}  // namespace cohort::os
