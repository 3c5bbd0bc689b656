// Making processes without glibc's fork().
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>

#include "os/fd.hpp"

namespace cohort::os {

struct CloneOptions {
  bool sibling = false;                          // CLONE_PARENT: the child of our parent, not ours
  std::atomic<std::int32_t>* pid_out = nullptr;  // the kernel stores the child's pid here, in the
                                                 // caller's memory, before the call can be seen
  bool want_pidfd = true;
};

struct Cloned {
  pid_t pid = -1;  // 0 in the child, -1 on failure (see error)
  int error = 0;
  Fd pidfd;
};

// fork() by clone3 with exit signal 0 (or the caller's own, for a sibling), so that only a wait
// with __WALL sees the child. No pthread_atfork handlers run: only for single-threaded callers.
// glibc's cached thread id and the robust list are made right in the child (a robust pthread mutex
// held by a killed child would otherwise hang the next locker for ever).
Cloned clone_process(const CloneOptions& options);

// Whether the calling process has but one thread of its own.
bool single_threaded();

}  // namespace cohort::os
