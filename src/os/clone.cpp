#include "os/clone.hpp"

#include <dirent.h>
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

// ThreadSanitizer has a thread of its own, which holds no lock of the program's.
#if defined(__SANITIZE_THREAD__)
constexpr int kRuntimeThreads = 1;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
constexpr int kRuntimeThreads = 1;
#else
constexpr int kRuntimeThreads = 0;
#endif
#else
constexpr int kRuntimeThreads = 0;
#endif

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
    if (robust) {
      // As fork() does: what the parent's thread holds is not this one's.
      robust->list.next = &robust->list;
      robust->list_op_pending = nullptr;
      ::syscall(SYS_set_robust_list, robust, robust_bytes);
    }
    result.pid = 0;
    return result;
  }
  result.pid = static_cast<pid_t>(pid);
  if (pid < 0) {
    result.error = errno;
  } else {
    result.pidfd = Fd::clear_of_stdio(pidfd);
  }
  return result;
}

bool single_threaded() {
  if (__libc_single_threaded) return true;
  // Threads were made; perhaps they have ended.
  DIR* folder = ::opendir("/proc/self/task");
  if (!folder) return false;
  int threads = 0;
  while (const dirent* entry = ::readdir(folder)) threads += entry->d_name[0] != '.' ? 1 : 0;
  ::closedir(folder);
  return threads <= 1 + kRuntimeThreads;
}

}  // namespace cohort::os
