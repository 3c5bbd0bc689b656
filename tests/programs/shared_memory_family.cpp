// A program with blocks of shared memory, to end in one way or another.
//
// usage: shared_memory_family WHAT PREFIX [METHOD]; WHAT:
//   attach     opens the block PREFIX, writes to it, ends (an unrelated program, without init)
//   leave      creates blocks here and in a child by METHOD, says "ready" and waits
//   end        the same, and ends
//   late       ends at once, with a child that has yet to open what it was sent
//   no_init    creates blocks without cohort::init, also in a forked child, and ends
//   untracked  creates a block that is to stay
//   host_fork  forks by itself; its child ends by exit()
//   abort      creates blocks and calls abort()
//   exec       creates blocks and becomes /bin/true
//   bare_fork  forks by itself a child that outlives it, whose pid it prints
//   signals    checks what init leaves of the signal mask and dispositions
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cohort/shared_memory.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "channel.hpp"

namespace {

using cohort::SharedMemory;
using test::Channel;
using test::Process;
using test::StartMethod;

int failures = 0;

void expect(bool right, const std::string& what) {
  if (right) return;
  std::fprintf(stderr, "%s\n", what.c_str());
  ++failures;
}

bool there(const std::string& name) { return ::access(("/dev/shm/" + name).c_str(), F_OK) == 0; }

// Closing is not unlinking: the handles are gone when this returns.
void create_some(const std::string& prefix) {
  for (int i = 0; i < 3; ++i) {
    auto memory = SharedMemory::create(prefix + std::to_string(i), 5000);
    std::memset(memory.bytes().data(), 1, memory.size());
  }
  SharedMemory::create(prefix + "gone", 100).unlink();
}

void create_and_wait(const std::string& prefix, const Channel& done) {
  create_some(prefix);
  done.send(1);
  for (;;) ::pause();
}

void create_and_end(const std::string& prefix) { create_some(prefix); }

void say_ready() {
  std::puts("ready");
  std::fflush(stdout);
}

void leave(const std::string& prefix, StartMethod method, bool ends) {
  create_some(prefix + "root-");
  Process ended({.start_method = method}, create_and_end, prefix + "ended-");
  ended.start();
  ended.join();
  expect(ended.exitcode() == 0, "the child could not create");
  auto done = Channel::make();
  Process waiting({.daemon = true, .start_method = method}, create_and_wait, prefix + "waiting-",
                  done);
  waiting.start();
  done.receive<int>();
  for (const char* who : {"root-", "ended-", "waiting-"}) {
    for (const char* which : {"0", "1", "2"})
      expect(there(prefix + who + which), std::string("early gone: ") + who + which);
  }
  say_ready();
  while (!ends) ::pause();
}

void open_late(const SharedMemory& memory) {
  if (memory.bytes()[0] != std::byte{7}) std::exit(9);
  std::puts("opened");
}

void host_forks(const std::string& prefix) {
  auto memory = SharedMemory::create(prefix + "one", 100);
  pid_t pid = ::fork();
  if (pid == 0) {
    auto own = SharedMemory::create(prefix + "child", 100);
    memory.close();
    std::exit(7);
  }
  int status = 0;
  expect(::waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 7, "the child failed");
  expect(there(prefix + "one"), "the host's own child removed a name of ours");
  expect(!there(prefix + "child"), "the host's own child left a name of its own");
  memory.bytes()[0] = std::byte{1};
}

void bare_fork(const std::string& prefix) {
  create_some(prefix);
  pid_t pid = ::fork();
  if (pid == 0) {
    ::close(1);
    ::close(2);
    for (;;) ::pause();
  }
  std::printf("%d %d\n", pid, *cohort::fork_server_pid());
}

void check_signals(int argc, char** argv) {
  sigset_t blocked;
  ::sigemptyset(&blocked);
  ::sigaddset(&blocked, SIGUSR1);
  ::sigaddset(&blocked, SIGINT);
  ::sigprocmask(SIG_SETMASK, &blocked, nullptr);
  cohort::init(argc, argv);
  auto memory = SharedMemory::create(100);
  sigset_t now;
  ::sigprocmask(SIG_SETMASK, nullptr, &now);
  for (int number = 1; number < 32; ++number) {
    expect(::sigismember(&now, number) == ::sigismember(&blocked, number),
           "the mask changed: signal " + std::to_string(number));
    struct sigaction action {};
    ::sigaction(number, nullptr, &action);
    expect(action.sa_handler == SIG_DFL, "not the default: signal " + std::to_string(number));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "signals") == 0) {
    check_signals(argc, argv);
    return failures;
  }
  bool plain =
      argc > 1 && (std::strcmp(argv[1], "attach") == 0 || std::strcmp(argv[1], "no_init") == 0);
  if (!plain) cohort::init(argc, argv);
  std::string what = argv[1];
  std::string prefix = argv[2];
  StartMethod method = argc > 3 ? test::method_of(argv[3]) : StartMethod::fork;
  if (what == "attach") {
    auto memory = SharedMemory::open(prefix);
    memory.bytes()[0] = std::byte{42};
  } else if (what == "leave" || what == "end") {
    leave(prefix, method, what == "end");
  } else if (what == "late") {
    auto memory = SharedMemory::create(prefix + "late", 100);
    memory.bytes()[0] = std::byte{7};
    Process child({.daemon = false, .start_method = method}, open_late, memory);
    child.start();
    std::exit(0);  // without the child's destructor: it is joined at the very end
  } else if (what == "no_init") {
    create_some(prefix);
    Process child(create_and_end, prefix + "child-");
    child.start();
    child.join();
    expect(there(prefix + "child-0"), "a child's blocks went with it");
  } else if (what == "untracked") {
    SharedMemory::create(prefix + "stays", 100, {.track = false});
  } else if (what == "host_fork") {
    host_forks(prefix);
  } else if (what == "abort") {
    create_some(prefix);
    say_ready();
    std::abort();
  } else if (what == "exec") {
    create_some(prefix);
    ::execl("/bin/true", "true", nullptr);
    return 9;
  } else if (what == "bare_fork") {
    bare_fork(prefix);
  }
  return failures;
}
