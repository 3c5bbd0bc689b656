// Where a process spent its time: in itself, in the kernel, and how often it slept.
#pragma once

#include <sys/types.h>

namespace bench {

struct CpuUse {
  double user = 0;     // seconds
  double kernel = 0;   // seconds
  long sleeps = 0;     // times that it waited
  long preempted = 0;  // times that it left its CPU to others, by sched_yield or because it had to

  friend CpuUse operator-(const CpuUse& a, const CpuUse& b) {
    return {a.user - b.user, a.kernel - b.kernel, a.sleeps - b.sleeps, a.preempted - b.preempted};
  }
};

// Of all its threads so far, as /proc tells; zeros when there is no such process.
CpuUse cpu_use(pid_t pid);

}  // namespace bench
