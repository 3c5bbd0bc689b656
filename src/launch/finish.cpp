#include "launch/finish.hpp"

#include <unistd.h>

#include <cstdlib>

#include "launch/child.hpp"
#include "launch/child_main.hpp"
#include "launch/finalizers.hpp"
#include "launch/fork_client.hpp"
#include "launch/runtime.hpp"

namespace cohort::launch {
namespace {

void finish_this_process() noexcept {
  Finalizers::run_all();
  Child::finish_all();
}

}  // namespace

void leave_by_own_exit() noexcept {
  ::on_exit(
      [](int status, void*) {
        finish_this_process();
        flush_streams();
        ::_exit(status);
      },
      nullptr);
}

void finish_at_exit() noexcept {
  static const pid_t owner = ::getpid();
  static const int registered = std::atexit([] {
    if (::getpid() != owner) return;  // a child that the host forked ends by exit() too
    finish_this_process();
    shut_down_servers();
  });
  (void)registered;
}

}  // namespace cohort::launch
