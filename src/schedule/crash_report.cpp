#include "schedule/crash_report.hpp"

#include <link.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#include <unwind.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "launch/symbols.hpp"
#include "os/call.hpp"

// Defined in programs that run under a sanitizer.
[[gnu::weak]] void address_sanitizer_start() asm("__asan_init");
[[gnu::weak]] void thread_sanitizer_start() asm("__tsan_init");

namespace cohort::schedule {
namespace {

struct CrashSignal {
  int number;
  const char* name;
};
constexpr std::array kSignals{CrashSignal{SIGSEGV, "SIGSEGV"}, CrashSignal{SIGBUS, "SIGBUS"},
                              CrashSignal{SIGFPE, "SIGFPE"},   CrashSignal{SIGILL, "SIGILL"},
                              CrashSignal{SIGTRAP, "SIGTRAP"}, CrashSignal{SIGSYS, "SIGSYS"},
                              CrashSignal{SIGABRT, "SIGABRT"}};

constexpr std::size_t kHandlerStack = 128 << 10;
constexpr std::size_t kGuard = 64 << 10;
constexpr std::uint64_t kNear = 64 << 10;   // what one frame touches beside the stack pointer
constexpr std::uint64_t kLarge = 64 << 20;  // no frame is larger

// What the handler knows of its process.
struct Catcher {
  CrashReport* report = nullptr;
  pid_t process = 0;
  pid_t thread = 0;               // that called catch_crashes
  std::uint64_t stack_begin = 0;  // of that thread
  std::uint64_t stack_end = 0;
  std::array<struct sigaction, kSignals.size()> former{};
  std::atomic<pid_t> walker = 0;  // the thread that fills the report
  // Where the walker goes on when the walk itself faults.
  sigjmp_buf escape{};
  volatile sig_atomic_t walking = 0;
};
constinit Catcher catcher;

// ---- in the handler: nothing here allocates or locks

struct Walk {
  CrashReport& report;
  std::uint32_t size;
  bool skip_first;
  bool in_program = false;
};

_Unwind_Reason_Code note_frame(_Unwind_Context* context, void* argument) {
  Walk& walk = *static_cast<Walk*>(argument);
  int before_instruction = 0;
  std::uintptr_t ip = _Unwind_GetIPInfo(context, &before_instruction);
  if (!walk.in_program) {
    // The first frame that a signal interrupted is the program's; those above are the handler's.
    if (before_instruction == 0) return _URC_NO_REASON;
    walk.in_program = true;
    if (walk.skip_first) return _URC_NO_REASON;
  }
  if (walk.size == CrashReport::kMostFrames || ip == 0) return _URC_END_OF_STACK;
  // A return address lies behind its call, perhaps already in the next function.
  if (before_instruction == 0) --ip;
  walk.report.addresses[walk.size++] = ip;
  walk.report.frames.store(walk.size, std::memory_order_release);
  return _URC_NO_REASON;
}

// Memory that is damaged ends the walk, not the process: see on_crash.
template <class Step>
void attempt(Step&& step) noexcept {
  if (::sigsetjmp(catcher.escape, 1) == 0) {
    catcher.walking = 1;
    step();
  }
  catcher.walking = 0;
}

bool is_overflow(const siginfo_t& info, std::uint64_t address, std::uint64_t stack_pointer) {
  if (info.si_signo != SIGSEGV || info.si_code <= 0 || info.si_code == SI_KERNEL) return false;
  // On its stack, or a frame's size below it, and that close to it there was no memory.
  bool ours = ::gettid() == catcher.thread && stack_pointer < catcher.stack_end &&
              stack_pointer + kLarge >= catcher.stack_begin;
  std::uint64_t limit = std::max(stack_pointer, catcher.stack_begin) + kNear;
  return ours && address + kNear >= stack_pointer && address < limit;
}

void fill(CrashReport& report, const siginfo_t& info, ucontext_t& context) noexcept {
  auto& ip = context.uc_mcontext.gregs[REG_RIP];
  auto& stack_pointer = context.uc_mcontext.gregs[REG_RSP];
  const auto crashed_ip = ip;
  const auto crashed_stack_pointer = stack_pointer;
  bool fault = info.si_signo == SIGSEGV || info.si_signo == SIGBUS;
  auto address = fault ? reinterpret_cast<std::uint64_t>(info.si_addr) : 0;
  if (info.si_code <= 0) address = 0;  // sent by a process: there it tells who
  report.signal.store(info.si_signo, std::memory_order_relaxed);
  report.code.store(info.si_code, std::memory_order_relaxed);
  report.fault_address.store(address, std::memory_order_relaxed);
  report.overflow.store(is_overflow(info, address, static_cast<std::uint64_t>(stack_pointer)),
                        std::memory_order_relaxed);
  report.addresses[0] = static_cast<std::uint64_t>(ip);
  report.frames.store(1, std::memory_order_release);

  // A call to where no code is (a null function): the walk begins at the caller instead, since
  // nothing tells the unwinder how to leave such a place.
  bool called_nowhere = fault && info.si_code > 0 && info.si_code != SI_KERNEL &&
                        address == static_cast<std::uint64_t>(crashed_ip);
  Walk walk{report, 1, !called_nowhere};
  attempt([&] {
    if (called_nowhere) {
      ip = *reinterpret_cast<const greg_t*>(crashed_stack_pointer) - 1;
      stack_pointer += static_cast<greg_t>(sizeof(greg_t));
    }
    _Unwind_Backtrace(note_frame, &walk);
  });
  ip = crashed_ip;
  stack_pointer = crashed_stack_pointer;
}

// Has the disposition from before act on the same signal as soon as the handler returns. Sent
// again, since not every crash happens again by itself (abort, a breakpoint, a signal of kill).
void hand_on(int number, siginfo_t& info) noexcept {
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    if (kSignals[i].number == number) ::sigaction(number, &catcher.former[i], nullptr);
  }
  sigset_t until_return;
  ::sigemptyset(&until_return);
  ::sigaddset(&until_return, number);
  ::pthread_sigmask(SIG_BLOCK, &until_return, nullptr);
  if (::syscall(SYS_rt_tgsigqueueinfo, ::getpid(), ::gettid(), number, &info) != 0) ::raise(number);
}

// Another thread crashed first and its stack is being noted: gives it a second, since what comes
// next ends the process.
void wait_for_walker() noexcept {
  const timespec moment{0, 1'000'000};
  for (int i = 0; i < 1000 && catcher.walker.load() != 0; ++i) ::nanosleep(&moment, nullptr);
}

void on_crash(int number, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  const pid_t thread = ::gettid();
  pid_t nobody = 0;
  if (::getpid() != catcher.process) {
    hand_on(number, *info);  // forked from the worker: the report is not about it
  } else if (catcher.walker.compare_exchange_strong(nobody, thread)) {
    fill(*catcher.report, *info, *static_cast<ucontext_t*>(context));
    hand_on(number, *info);
    catcher.walker.store(0);
  } else if (nobody != thread) {
    wait_for_walker();
    hand_on(number, *info);
  } else if (catcher.walking != 0) {
    ::siglongjmp(catcher.escape, 1);
  } else {
    hand_on(number, *info);
  }
  errno = saved_errno;
}

// ---- installing

bool under_sanitizer() {
  return &address_sanitizer_start != nullptr || &thread_sanitizer_start != nullptr;
}

void note_stack() {
  pthread_attr_t attributes;
  void* begin = nullptr;
  std::size_t bytes = 0;
  if (int error = ::pthread_getattr_np(::pthread_self(), &attributes); error != 0)
    os::fail("pthread_getattr_np", error);
  ::pthread_attr_getstack(&attributes, &begin, &bytes);
  ::pthread_attr_destroy(&attributes);
  catcher.stack_begin = reinterpret_cast<std::uint64_t>(begin);
  catcher.stack_end = catcher.stack_begin + bytes;
}

// A crash because the stack is full needs another to be handled on. Never freed; a larger one that
// the program has already is kept.
void give_handler_stack() {
  const auto least = static_cast<std::size_t>(::sysconf(_SC_MINSIGSTKSZ));
  const std::size_t bytes = kHandlerStack + (least + kGuard - 1) / kGuard * kGuard;
  stack_t now{};
  os::must("sigaltstack", [&] { return ::sigaltstack(nullptr, &now); });
  if ((now.ss_flags & SS_DISABLE) == 0 && now.ss_size >= kHandlerStack) return;
  void* place = ::mmap(nullptr, kGuard + bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (place == MAP_FAILED) os::fail("mmap", errno, "a stack for the handler of crashes");
  stack_t stack{};
  stack.ss_sp = static_cast<std::byte*>(place) + kGuard;
  stack.ss_size = bytes;
  os::must("mprotect", [&] { return ::mprotect(stack.ss_sp, bytes, PROT_READ | PROT_WRITE); });
  os::must("sigaltstack", [&] { return ::sigaltstack(&stack, nullptr); });
}

void install_handler(std::size_t index) {
  const int number = kSignals[index].number;
  struct sigaction now {};
  os::must("sigaction", [&] { return ::sigaction(number, nullptr, &now); });
  bool plain = (now.sa_flags & SA_SIGINFO) == 0;
  if (!plain && now.sa_sigaction == &on_crash) return;
  if (plain && now.sa_handler == SIG_IGN) return;
  catcher.former[index] = now;
  struct sigaction ours {};
  ours.sa_sigaction = &on_crash;
  // No handler of the program's runs on the small stack; a fault while the stack is walked is told
  // to ours.
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  ::sigfillset(&ours.sa_mask);
  for (const CrashSignal& crash : kSignals) ::sigdelset(&ours.sa_mask, crash.number);
  os::must("sigaction", [&] { return ::sigaction(number, &ours, nullptr); });
}

// ---- the owner's side

struct Image {
  std::uint64_t base = 0;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;

  bool contains(std::uint64_t address) const { return begin <= address && address < end; }
};

Image main_program() {
  Image image;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* argument) {
        Image& out = *static_cast<Image*>(argument);
        out.base = info->dlpi_addr;
        out.begin = UINT64_MAX;
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          const auto& part = info->dlpi_phdr[i];
          if (part.p_type != PT_LOAD) continue;
          out.begin = std::min<std::uint64_t>(out.begin, out.base + part.p_vaddr);
          out.end = std::max<std::uint64_t>(out.end, out.base + part.p_vaddr + part.p_memsz);
        }
        return 1;  // the first is the main program
      },
      &image);
  return image;
}

std::uint64_t linker_base() { return ::getauxval(AT_BASE); }

std::string hex(std::uint64_t number) {
  char text[2 + 16 + 1];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(number));
  return text;
}

std::string headline(const CrashReport& report) {
  const int number = report.signal.load(std::memory_order_relaxed);
  const int code = report.code.load(std::memory_order_relaxed);
  std::string text = "signal " + std::to_string(number);
  for (const CrashSignal& crash : kSignals) {
    if (crash.number == number) text = crash.name;
  }
  if (report.overflow.load(std::memory_order_relaxed) != 0) return text + ": stack overflow";
  if (number == SIGFPE && code == FPE_INTDIV) return text + ": integer division by zero";
  // The kernel does not tell the address of what is none (SI_KERNEL).
  bool fault = (number == SIGSEGV || number == SIGBUS) && code > 0 && code != SI_KERNEL;
  if (!fault) return text;
  return text + " at address " + hex(report.fault_address.load(std::memory_order_relaxed));
}

// Names addresses of the worker by what lies there in this process.
class Names {
 public:
  explicit Names(const CrashReport& report)
      : ours_(main_program()), base_(report.main_base.load(std::memory_order_relaxed)) {
    alike_ =
        base_ == ours_.base && report.linker_base.load(std::memory_order_relaxed) == linker_base();
  }

  detail::Symbol find(std::uint64_t address) {
    if (alike_) return symbols_.find(address);
    const std::uint64_t here = address - base_ + ours_.base;
    if (ours_.contains(here)) return symbols_.find(here);
    return {.function = {}, .module = "?", .offset = address};
  }

 private:
  detail::Symbols symbols_;
  Image ours_;
  std::uint64_t base_;
  bool alike_ = false;  // forked: everything lies where it does here
};

}  // namespace

void catch_crashes(CrashReport& report) {
  if (under_sanitizer()) return;
  report.main_base.store(main_program().base, std::memory_order_relaxed);
  report.linker_base.store(linker_base(), std::memory_order_relaxed);
  note_stack();
  give_handler_stack();
  // The unwinder prepares itself at its first use, and may allocate then.
  _Unwind_Backtrace([](_Unwind_Context*, void*) { return _URC_NO_REASON; }, nullptr);
  catcher.report = &report;
  catcher.process = ::getpid();
  catcher.thread = ::gettid();
  catcher.walker.store(0);
  catcher.walking = 0;
  for (std::size_t i = 0; i < kSignals.size(); ++i) install_handler(i);
}

std::string describe(const CrashReport& report) {
  const std::size_t frames = std::min<std::size_t>(report.frames.load(std::memory_order_acquire),
                                                   CrashReport::kMostFrames);
  if (frames == 0) return {};
  std::string text = headline(report) + '\n';
  Names names(report);
  for (std::size_t i = 0; i < frames; ++i) {
    const detail::Symbol symbol = names.find(report.addresses[i]);
    if (symbol.function.starts_with("cohort::detail::run_traced(")) break;
    text += symbol.line() + '\n';
  }
  return text;
}

void clear(CrashReport& report) {
  report.frames.store(0, std::memory_order_release);
  report.signal.store(0, std::memory_order_relaxed);
  report.code.store(0, std::memory_order_relaxed);
  report.overflow.store(0, std::memory_order_relaxed);
  report.fault_address.store(0, std::memory_order_relaxed);
  report.addresses.fill(0);
}

}  // namespace cohort::schedule
