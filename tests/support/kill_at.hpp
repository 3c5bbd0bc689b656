// Kills whoever comes to a named step, in every process of a family that is founded after this was
// set up.
#pragma once

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <string_view>

#include "os/step.hpp"

namespace test {

struct KillAt {
  std::atomic<int> armed;  // how many are still to be killed
  std::atomic<int> killed;
  pid_t root;
  char step[64];

  // Only helpers come to steps of the server's; children have steps of their own.
  static bool concerns_us(std::string_view step) {
    if (step.starts_with("child.")) return true;
    char name[16] = {};
    ::prctl(PR_GET_NAME, name);
    return std::string_view(name).starts_with("cohort-");
  }
  static inline KillAt* shared = nullptr;
  static void hook(const char* name) {
    if (shared->armed.load(std::memory_order_relaxed) <= 0 || std::strcmp(name, shared->step) != 0)
      return;
    if (::getpid() == shared->root || !concerns_us(name)) return;
    if (shared->armed.fetch_sub(1) <= 0) return;
    shared->killed.fetch_add(1);
    ::raise(SIGKILL);
    ::kill(::getpid(), SIGKILL);
  }
  // Before cohort::init.
  static KillAt& set_up(const char* step) {
    void* place =
        ::mmap(nullptr, sizeof(KillAt), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    shared = new (place) KillAt{};
    shared->root = ::getpid();
    std::strncpy(shared->step, step, sizeof shared->step - 1);
    cohort::os::step_hook = hook;
    return *shared;
  }
};

}  // namespace test
