// A program with children, signal handling, threads and forks of its own, which cohort's children
// must neither disturb nor be disturbed by. Says what went wrong; exit code 0: nothing.
//
// usage: host SCENARIO METHOD [init|noinit]
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cohort/finalize.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "channel.hpp"

namespace {

using test::Channel;
using test::Process;
using test::StartMethod;

int failures = 0;

void expect(bool right, const std::string& what) {
  if (right) return;
  std::fprintf(stderr, "%s\n", what.c_str());
  ++failures;
}

std::atomic<int> sigchld_count{0};
void count_sigchld(int) { ++sigchld_count; }

void exit_with(int code) { std::exit(code); }

// Children that exit by themselves, at once, and some that are killed.
void start_and_join(StartMethod method) {
  for (int code : {0, 7, 255}) {
    Process child({.start_method = method}, exit_with, code);
    child.start();
    child.join();
    expect(child.exitcode() == code, "exit code " + std::to_string(child.exitcode().value_or(-99)) +
                                         " where " + std::to_string(code) + " was meant");
  }
  Process killed({.start_method = method}, [] {
    for (;;) ::pause();
  });
  killed.start();
  killed.kill();
  killed.join();
  expect(killed.exitcode() == -SIGKILL,
         "exit code of a killed child: " + std::to_string(killed.exitcode().value_or(-99)));
  // Ended long before it is joined.
  Process early({.start_method = method}, exit_with, 3);
  early.start();
  cohort::os::wait_readable(early.sentinel(), test::in_time());
  early.join();
  expect(early.exitcode() == 3,
         "exit code of an ended child: " + std::to_string(early.exitcode().value_or(-99)));
}

pid_t fork_own_child(int code) {
  pid_t pid = ::fork();
  if (pid == 0) ::_exit(code);
  return pid;
}

bool reaps_own_child() {
  pid_t pid = fork_own_child(5);
  int status = 0;
  return ::waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 5;
}

void with_handler(StartMethod method) {
  struct sigaction action {};
  action.sa_handler = count_sigchld;
  ::sigaction(SIGCHLD, &action, nullptr);
  start_and_join(method);
  expect(sigchld_count == 0, "the handler saw " + std::to_string(sigchld_count) + " children");
  expect(reaps_own_child(), "the host's own child was lost");
  expect(sigchld_count == 1, "the handler did not see the host's own child");
}

void with_ignored_children(StartMethod method, int flags) {
  struct sigaction action {};
  action.sa_handler = flags ? SIG_DFL : SIG_IGN;
  action.sa_flags = flags;
  ::sigaction(SIGCHLD, &action, nullptr);
  start_and_join(method);
  struct sigaction now {};
  ::sigaction(SIGCHLD, nullptr, &now);
  expect(now.sa_handler == action.sa_handler && (now.sa_flags & SA_NOCLDWAIT) == flags,
         "the disposition of SIGCHLD was changed");
}

// Asks for any child all the time, as some programs' event loops do.
void with_wait_loop(StartMethod method) {
  std::vector<Process> children;
  for (int code = 0; code < 10; ++code) {
    children.emplace_back(cohort::ProcessOptions{.start_method = method}, exit_with, code);
    children.back().start();
    int status = 0;
    expect(::waitpid(-1, &status, WNOHANG) <= 0, "waitpid(-1) saw a child at its start");
  }
  for (auto& child : children) {
    while (child.is_alive()) {
      int status = 0;
      expect(::waitpid(-1, &status, WNOHANG) <= 0, "waitpid(-1) took a child");
      child.join_for(std::chrono::milliseconds(1));
    }
  }
  for (int code = 0; code < 10; ++code)
    expect(children[static_cast<std::size_t>(code)].exitcode() == code, "a wrong exit code");
  pid_t own = fork_own_child(6);
  int status = 0;
  expect(::waitpid(-1, &status, 0) == own && WEXITSTATUS(status) == 6,
         "waitpid(-1) did not see the host's own child");
  expect(::wait(&status) == -1 && errno == ECHILD, "wait() found somebody else");
}

// The same for a program with threads, one of which reaps whatever it can. Under fork it may see
// our children, but must not take their exit codes away.
void with_threads(StartMethod method, const std::string& how) {
  std::atomic<bool> stop{false};
  std::thread other([&] {
    while (!stop) {
      int status = 0;
      if (how == "threads-wait") ::waitpid(-1, &status, WNOHANG);
      std::this_thread::yield();
    }
  });
  if (how == "threads-handler") std::signal(SIGCHLD, count_sigchld);
  if (how == "threads-ignore") std::signal(SIGCHLD, SIG_IGN);
  for (int i = 0; i < 10; ++i) start_and_join(method);
  if (how != "threads-wait" && how != "threads-ignore")
    expect(reaps_own_child(), "the host's own child was lost");
  stop = true;
  other.join();
}

// The host forks by itself, and its child leaves by exit() with everything that it inherited.
void with_own_fork(StartMethod method) {
  auto channel = Channel::make();
  channel.send(1);
  Process daemon(
      {.daemon = true, .start_method = method},
      [](Channel& c) {
        c.send(2);
        for (;;) ::pause();
      },
      channel);
  daemon.start();
  auto gate = Channel::make();
  Process plain(
      {.start_method = method}, [](Channel& g) { g.receive<int>(); }, gate);
  plain.start();
  cohort::at_exit([pid = ::getpid()] {
    if (::getpid() != pid) std::fprintf(stderr, "a hook ran in the host's own child\n");
  });
  expect(channel.receive<int>() == 1, "1 was sent");
  expect(channel.receive<int>() == 2, "2 was sent");
  for (bool drops : {false, true}) {
    pid_t pid = ::fork();
    if (pid == 0) {
      if (drops) {
        channel = Channel();
        { Process gone = std::move(daemon); }
        { Process gone = std::move(plain); }
      }
      try {
        channel.send(99);
        std::_Exit(8);  // an inert handle must refuse
      } catch (const cohort::Error&) {
        // As it should.
      }
      std::exit(7);
    }
    int status = 0;
    expect(::waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 7,
           "the host's own child ended with status " + std::to_string(status));
    expect(daemon.is_alive(), "the host's own child took the daemon with it");
    channel.send(3);
    expect(channel.receive<int>() == 3, "the channel is broken");
    start_and_join(method);
  }
  expect(plain.is_alive(), "the plain child is gone");
  gate.send(1);
  plain.join();
  // A child that the host forked has a family of its own.
  pid_t pid = ::fork();
  if (pid == 0) {
    auto own = Channel::make();
    Process child(
        {.start_method = StartMethod::fork}, [](Channel& c) { c.send(4); }, own);
    child.start();
    child.join();
    std::exit(own.receive<int>() == 4 && child.exitcode() == 0 ? 7 : 8);
  }
  int status = 0;
  expect(::waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 7,
         "a family of the host's own child: status " + std::to_string(status));
  start_and_join(method);
}

// Another thread holds the lock of stdout, or reads stdin, while this one forks.
void with_locked_streams(StartMethod method) {
  std::atomic<bool> stop{false};
  std::atomic<int> ready{0};
  std::thread holder([&] {
    ::flockfile(stdout);
    ++ready;
    while (!stop) std::this_thread::yield();
    ::funlockfile(stdout);
  });
  int in[2];
  expect(::pipe(in) == 0, "pipe");
  ::dup2(in[0], 0);
  std::thread reader([&] {
    ++ready;
    (void)std::getchar();
  });
  std::thread allocator([&] {
    while (!stop) std::free(std::malloc(100));
  });
  while (ready < 2) std::this_thread::yield();
  for (int i = 0; i < 20; ++i) {
    Process child(
        {.start_method = method},
        [](int code) {
          auto text = std::make_unique<std::string>(1000, 'x');
          std::fprintf(stderr, "%s", text->empty() ? "?" : "");
          if (code % 2) {
            std::printf("child %d\n", code);
            std::fflush(stdout);
          }
          std::exit(code);
        },
        i);
    child.start();
    expect(child.join_for(std::chrono::seconds(20)), "the child hangs");
    if (!child.exitcode()) child.kill();
    expect(child.exitcode() == i, "a wrong exit code");
  }
  stop = true;
  expect(::write(in[1], "\n", 1) == 1, "write");
  holder.join();
  reader.join();
  allocator.join();
}

}  // namespace

int main(int argc, char** argv) {
  std::string how = argv[1];
  StartMethod method = test::method_of(argv[2]);
  if (argc < 4 || std::strcmp(argv[3], "noinit") != 0) cohort::init(argc, argv);
  if (how == "handler") with_handler(method);
  if (how == "ignore") with_ignored_children(method, 0);
  if (how == "nocldwait") with_ignored_children(method, SA_NOCLDWAIT);
  if (how == "waits") with_wait_loop(method);
  if (how.starts_with("threads")) with_threads(method, how);
  if (how == "forks") with_own_fork(method);
  if (how == "streams") with_locked_streams(method);
  return failures ? 1 : 0;
}
