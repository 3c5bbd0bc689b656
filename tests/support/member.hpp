// Members of the family made by a plain fork, for tests below the launch layer; and a watchdog.
#pragma once

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "arena/block_refs.hpp"
#include "arena/inheritance.hpp"
#include "arena/space.hpp"
#include "os/clone.hpp"
#include "os/pidfd.hpp"
#include "os/step.hpp"

namespace test {

using namespace std::chrono_literals;
using cohort::arena::MemberId;
using cohort::arena::Phase;
using cohort::arena::Space;
using cohort::os::Clock;
using cohort::os::Deadline;

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

// Longer than anything healthy takes, on a machine with other work to do.
inline constexpr auto kPatience = 30s;
inline Deadline soon() { return Clock::now() + kPatience; }

// Ends the program with a message when a test hangs. By alarm(2), so that it needs no thread: the
// tests fork.
class Watched : public testing::Test {
 protected:
  explicit Watched(unsigned seconds = kSanitized ? 240 : 120) : seconds_(seconds) {}
  void SetUp() override {
    ::signal(SIGALRM, [](int) {
      static const char text[] = "watchdog: the test hangs\n";
      [[maybe_unused]] auto written = ::write(2, text, sizeof text - 1);
      ::abort();
    });
    ::alarm(seconds_);
  }
  void TearDown() override { ::alarm(0); }

 private:
  unsigned seconds_;
};

// Waits for a condition on shared memory that has no futex to sleep on. Answers whether it came.
template <class Condition>
bool eventually(Condition&& condition, Deadline deadline = soon()) {
  while (!condition()) {
    if (Clock::now() >= *deadline) return false;
    ::sched_yield();
  }
  return true;
}

// A T that this process and its later children share, outside the arena.
template <class T>
class Shared {
 public:
  Shared() {
    place_ = ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (place_ == MAP_FAILED) throw std::bad_alloc();
    new (place_) T{};
  }
  ~Shared() { ::munmap(place_, sizeof(T)); }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  T& operator*() const { return *static_cast<T*>(place_); }
  T* operator->() const { return static_cast<T*>(place_); }

 private:
  void* place_;
};

// One child process that is a member. Killed and buried at the end, if it still runs.
class Member {
 public:
  // Runs `body` in the child, which ends with exit code 0; with what body returns, should that be
  // an int; with 99 when it threw.
  template <class Body>
  explicit Member(Body&& body) {
    Space& space = Space::here();
    id_ = space.members().enlist(space.self(), "test member", 0);
    auto registry = cohort::detail::BlockRefs::lock_registry();
    for (auto block : cohort::detail::BlockRefs::held(registry))
      cohort::arena::hold(space, block, id_);
    pid_t parent = ::getpid();
    pid_t pid = -1;
    {
      cohort::arena::LaunchFork guard;
      pid = ::fork();
    }
    if (pid == 0) {
      registry.unlock();
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != parent) ::_exit(98);
      space.become(id_);
      if (!space.members().activate(id_, ::getpid())) ::_exit(97);
      ::_exit(run(body));
    }
    if (pid < 0) {
      space.members().discharge(id_);
      throw std::system_error(errno, std::generic_category(), "fork");
    }
    process_ = cohort::os::Pidfd::open(pid);
  }
  Member(Member&&) = default;
  Member& operator=(Member&&) = delete;
  ~Member() {
    if (!process_) return;
    if (!exit_) kill();
    bury();
  }

  MemberId id() const { return id_; }
  bool running() const { return !process_.ended(); }
  void send(int signal) const { process_.send(signal); }

  // Waits for the end. Empty when it did not come.
  std::optional<int> wait(Deadline deadline = soon()) {
    if (!exit_ && cohort::os::wait_readable(process_.get(), deadline)) exit_ = process_.reap();
    return exit_;
  }
  void kill() {
    send(SIGKILL);
    wait();
  }
  // After its end: returns what it held, unless the family's janitor is at it, and waits for that.
  bool bury() {
    Space& space = Space::here();
    if (!wait()) return false;
    space.bury(id_);
    bool returned = eventually([&] {
      space.reclaim(id_);  // again, should another be at it and be killed
      auto phase = space.members().phase(id_);
      return phase == Phase::ended || phase == Phase::free;
    });
    space.members().seen_by_parent(id_);
    return returned;
  }
  bool kill_and_bury() {
    kill();
    return bury();
  }

 private:
  template <class Body>
  static int run(Body& body) noexcept {
    try {
      if constexpr (std::is_void_v<decltype(body())>) {
        body();
        return 0;
      } else {
        return static_cast<int>(body());
      }
    } catch (const std::exception& error) {
      std::fprintf(stderr, "in the child: %s\n", error.what());
    } catch (...) {
      std::fprintf(stderr, "in the child: an exception of an unknown type\n");
    }
    return 99;
  }

  MemberId id_;
  cohort::os::Pidfd process_;
  std::optional<int> exit_;
};

// Kills this process when it comes to the named step for the `times`th time.
inline const char* fatal_step = nullptr;
inline int fatal_times = 0;
inline void die_at(const char* step, int times = 1) {
  fatal_step = step;
  fatal_times = times;
  cohort::os::step_hook = [](const char* name) {
    if (std::strcmp(name, fatal_step) == 0 && --fatal_times == 0) ::raise(SIGKILL);
  };
}

}  // namespace test
