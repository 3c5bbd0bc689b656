// What a Ctrl-C at the terminal says while pools are at work.
#pragma once

#include <sys/types.h>

namespace cohort {

// While at least one exists in this process, a SIGINT that would end it writes one line to stderr
// first; the process then ends by SIGINT, as its shell expects. A program that handles or ignores
// SIGINT itself is left alone, as is one that begins to do so meanwhile.
//
// Workers ignore SIGINT and end with their owner, so that line is all that is said. Thread-safe; in
// a child made by fork the copy does nothing.
class InterruptNotice {
 public:
  InterruptNotice() noexcept;
  ~InterruptNotice();
  InterruptNotice(const InterruptNotice&) = delete;
  InterruptNotice& operator=(const InterruptNotice&) = delete;

 private:
  pid_t process_;
};

}  // namespace cohort
