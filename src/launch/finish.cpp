#include "launch/finish.hpp"

#include <dlfcn.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>

#include "arena/space.hpp"
#include "launch/child.hpp"
#include "launch/child_main.hpp"
#include "launch/finalizers.hpp"
#include "launch/fork_client.hpp"
#include "launch/runtime.hpp"
#include "os/step.hpp"

namespace cohort::launch {
namespace {

struct Hooked {
  ProcessHooks hooks;
  bool ours;  // in the same object file as this, so as long as this
};
std::array<Hooked, 8> all_hooks;
std::atomic<std::size_t> hook_count{0};
std::atomic<pid_t> finishing_for{0};

const void* object_of(void (*function)() noexcept) noexcept {
  Dl_info info{};
  return ::dladdr(reinterpret_cast<const void*>(function), &info) ? info.dli_fbase : nullptr;
}

// A library that has a copy of cohort may have been closed again, its hooks with it.
void run_hooks(void (*ProcessHooks::*which)() noexcept) noexcept {
  for (std::size_t i = 0; i < hook_count.load(); ++i) {
    const Hooked& one = all_hooks[i];
    auto hook = one.hooks.*which;
    if (hook && (one.ours || object_of(hook))) hook();
  }
}

}  // namespace

void add_process_hooks(ProcessHooks added) noexcept {
  std::size_t place = hook_count.load();
  if (place == all_hooks.size()) return;
  all_hooks[place] = {added, object_of(added.at_end) == object_of(&run_new_process_hooks)};
  hook_count.store(place + 1);
}

void run_new_process_hooks() noexcept {
  run_hooks(&ProcessHooks::in_new_process);
  Finalizers::forget_all();
}

void finish_this_process() noexcept {
  run_hooks(&ProcessHooks::at_end);
  Finalizers::run_all();
  Child::finish_all();
}

void leave_by_own_exit() noexcept {
  ::on_exit(
      [](int status, void*) {
        finish_this_process();
        flush_streams();
        // For a parent that cannot wait for us itself.
        arena::Space& space = arena::Space::here();
        space.members().record_exit(space.self(), status & 0xff);
        os::step("child.ending");
        ::_exit(status);
      },
      nullptr);
}

void finish_at_exit() noexcept {
  if (Runtime::here().self.parent) return;  // it leaves by its own exit
  pid_t me = ::getpid();
  if (finishing_for.exchange(me) == me) return;
  std::atexit([] {
    // A child that the host forked ends by exit() too, and is not the one to finish.
    pid_t owner = ::getpid();
    if (!finishing_for.compare_exchange_strong(owner, 0)) return;
    finish_this_process();
    run_hooks(&ProcessHooks::at_program_end);
    shut_down_servers();
  });
}

}  // namespace cohort::launch
