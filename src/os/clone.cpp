#include "os/clone.hpp"

#include <linux/futex.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/single_threaded.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace cohort::os {
namespace {

// Where the kernel clears this thread's id: &pthread::tid. Null on kernels without the prctl.
int* thread_id_address() {
  int* address = nullptr;
  if (::prctl(PR_GET_TID_ADDRESS, &address) != 0) return nullptr;
  return address;
}

}  // namespace

Cloned clone_process(const CloneOptions& options) {
  Cloned result;
  int* tid = thread_id_address();
  robust_list_head* robust = nullptr;
  std::size_t robust_bytes = 0;
  ::syscall(SYS_get_robust_list, 0, &robust, &robust_bytes);

  int pidfd = -1;
  clone_args args{};
  if (options.want_pidfd) {
    args.flags |= CLONE_PIDFD;
    args.pidfd = reinterpret_cast<std::uintptr_t>(&pidfd);
  }
  if (options.sibling) args.flags |= CLONE_PARENT;
  if (tid) {
    args.flags |= CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
    args.child_tid = reinterpret_cast<std::uintptr_t>(tid);
  }
  if (options.pid_out) {
    args.flags |= CLONE_PARENT_SETTID;
    args.parent_tid = reinterpret_cast<std::uintptr_t>(options.pid_out);
  }
  long pid = ::syscall(SYS_clone3, &args, sizeof args);
  if (pid == 0) {
    if (robust) ::syscall(SYS_set_robust_list, robust, robust_bytes);
    result.pid = 0;
    return result;
  }
  result.pid = static_cast<pid_t>(pid);
  if (pid < 0) {
    result.error = errno;
  } else {
    result.pidfd = Fd(pidfd);
  }
  return result;
}

bool single_threaded() { return __libc_single_threaded != 0; }

}  // namespace cohort::os
