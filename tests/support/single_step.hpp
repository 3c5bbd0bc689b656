// A child that runs an operation under a tracer, up to any instruction of it, where a test kills it
// or leaves it stopped.
#pragma once

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <system_error>
#include <utility>
#include <vector>

#include "member.hpp"

namespace test {

class Stepped {
 public:
  // Which one, and how often the operation comes by there before.
  struct Instruction {
    std::uintptr_t address;
    unsigned passed;
  };

  // In the child: prepare(), then operation(), which the parent steps through, then finish(), which
  // answers the exit code.
  template <class Prepare, class Operation, class Finish>
  Stepped(Prepare&& prepare, Operation&& operation, Finish&& finish)
      : member_([&] {
          prepare();
          state_->pid.store(::getpid());
          if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) return 96;
          state_->traced.store(1);
          asm volatile("int3" ::: "memory");
          operation();
          state_->done.store(1);
          if (state_->traced.load()) asm volatile("int3" ::: "memory");
          return static_cast<int>(finish());
        }) {
    if (!eventually([&] { return state_->pid.load() != 0 || !member_.running(); }))
      throw std::runtime_error("the stepped child did not start");
    if (wait_stopped() != SIGTRAP) throw std::runtime_error("the stepped child did not stop");
  }

  // The instructions of the whole operation, one by one.
  std::vector<Instruction> step_through() {
    std::vector<Instruction> all;
    std::map<std::uintptr_t, unsigned> before;
    while (!state_->done.load(std::memory_order_relaxed)) {
      const std::uintptr_t address = registers().rip;
      all.push_back({address, before[address]++});
      step();
    }
    return all;
  }
  // Stops before that instruction. Answers false when the operation was over first.
  bool run_to(const Instruction& there) {
    for (unsigned passed = 0; !state_->done.load(std::memory_order_relaxed);) {
      if (registers().rip == there.address) {
        if (passed++ == there.passed) return true;
        step();
      } else if (!run_to_address(there.address)) {
        return false;
      }
    }
    return false;
  }
  // No more steps: it is stopped as any process may be.
  void leave_stopped() {
    state_->traced.store(0);
    ::ptrace(PTRACE_DETACH, pid(), nullptr, reinterpret_cast<void*>(SIGSTOP));
    if (wait_stopped() != SIGSTOP) throw std::runtime_error("the child did not stay stopped");
  }
  void go_on() { member_.send(SIGCONT); }

  pid_t pid() const { return state_->pid.load(); }
  Member& member() { return member_; }

 private:
  struct State {
    std::atomic<pid_t> pid;
    std::atomic<int> traced;
    std::atomic<int> done;
  };

  user_regs_struct registers() const {
    user_regs_struct all{};
    check(::ptrace(PTRACE_GETREGS, pid(), nullptr, &all));
    return all;
  }
  void step() {
    check(::ptrace(PTRACE_SINGLESTEP, pid(), nullptr, nullptr));
    if (wait_stopped() != SIGTRAP) throw std::runtime_error("the stepped child was disturbed");
  }
  // By a breakpoint, which is gone afterwards.
  bool run_to_address(std::uintptr_t address) {
    auto* place = reinterpret_cast<void*>(address);
    errno = 0;
    const long text = ::ptrace(PTRACE_PEEKTEXT, pid(), place, nullptr);
    if (text == -1) check(errno == 0 ? 0 : -1);
    const long trap = (text & ~0xFFL) | 0xCC;
    check(::ptrace(PTRACE_POKETEXT, pid(), place, reinterpret_cast<void*>(trap)));
    check(::ptrace(PTRACE_CONT, pid(), nullptr, nullptr));
    if (wait_stopped() != SIGTRAP) throw std::runtime_error("the stepped child was disturbed");
    check(::ptrace(PTRACE_POKETEXT, pid(), place, reinterpret_cast<void*>(text)));
    user_regs_struct all = registers();
    if (all.rip != address + 1) return false;  // it is at its own trap, behind the operation
    all.rip = address;
    check(::ptrace(PTRACE_SETREGS, pid(), nullptr, &all));
    return true;
  }
  static void check(long answer) {
    if (answer < 0) throw std::system_error(errno, std::generic_category(), "ptrace");
  }

  // The signal that stopped it; 0 when it ended instead.
  int wait_stopped() const {
    int status = 0;
    while (::waitpid(pid(), &status, WUNTRACED) < 0) {
      if (errno != EINTR) return 0;
    }
    return WIFSTOPPED(status) ? WSTOPSIG(status) : 0;
  }

  Shared<State> state_;
  Member member_;
};

// The numbers below `count`, each once, evenly spread from the first few on: so that whoever has to
// give up early has seen a bit of everything.
class Spread {
 public:
  Spread(std::size_t count, std::size_t first) : count_(count), at_(count ? first % count : 0) {
    stride_ = static_cast<std::size_t>(static_cast<double>(count) * 0.618034) | 1;
    while (count > 1 && gcd(stride_, count) != 1) ++stride_;
  }
  bool over() const { return given_ == count_; }
  std::size_t given() const { return given_; }
  std::size_t next() {
    ++given_;
    return std::exchange(at_, (at_ + stride_) % count_);
  }

 private:
  static std::size_t gcd(std::size_t a, std::size_t b) { return b == 0 ? a : gcd(b, a % b); }
  std::size_t count_;
  std::size_t at_;
  std::size_t stride_ = 1;
  std::size_t given_ = 0;
};

}  // namespace test
