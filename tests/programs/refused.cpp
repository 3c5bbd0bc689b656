// Meets a system that refuses something. Says what was thrown; exit code 3: it was thrown where it
// should be, 0: nothing was refused.
//
// usage: refused SCENARIO METHOD
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cohort/async.hpp>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <fstream>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "channel.hpp"

// The leak sanitizer makes a process of its own, which is what this program has refused.
extern "C" const char* __lsan_default_options();
extern "C" const char* __lsan_default_options() { return "detect_leaks=0"; }

namespace {

using test::Channel;
using test::Process;
using test::StartMethod;

// From now on these calls fail in this process and its children.
void refuse(const std::vector<long>& calls, int error) {
  std::vector<sock_filter> code;
  code.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)));
  for (long call : calls) {
    code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(call), 0, 1));
    code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error)));
  }
  code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    std::perror("seccomp");
}

std::vector<long> process_calls() {
  std::vector<long> calls{SYS_clone3, SYS_clone};
#ifdef SYS_fork
  calls.push_back(SYS_fork);
  calls.push_back(SYS_vfork);
#endif
  return calls;
}

// In this process or, for the methods that ask the fork server, there.
template <class Deny>
void deny_where_it_counts(StartMethod method, Deny deny) {
  if (method == StartMethod::fork) {
    deny();
  } else {
    cohort::preload(deny);
  }
}

void limit_descriptors() {
  int next = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::close(next);
  rlimit limit{static_cast<rlim_t>(next), static_cast<rlim_t>(next)};
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

void limit(int what, std::size_t bytes) {
  rlimit limit{bytes, bytes};
  ::setrlimit(static_cast<__rlimit_resource>(what), &limit);
}

std::size_t address_space() {
  std::ifstream file("/proc/self/statm");
  std::size_t pages = 0;
  file >> pages;
  return pages * 4096;
}

void say(Channel& channel) { channel.send(1); }

int start_one(StartMethod method) {
  auto channel = Channel::make();
  Process child({.start_method = method}, say, channel);
  try {
    child.start();
  } catch (const std::exception& error) {
    auto* system = dynamic_cast<const std::system_error*>(&error);
    std::printf("%s%s\n", system ? "system_error: " : "", error.what());
    if (!cohort::active_children().empty()) std::printf("a child is left\n");
    if (child.is_alive() || child.pid() != 0) std::printf("the process seems to be started\n");
    if (!channel.empty()) std::printf("the target has run\n");
    return 3;
  }
  child.join();
  if (child.exitcode() != 0 || channel.receive<int>() != 1) return 1;
  return 0;
}

}  // namespace

int main(int argc, char** argv) try {
  std::string how = argv[1];
  StartMethod method = test::method_of(argv[2]);
  // A process run again by spawn has the filter of its starter.
  bool first = ::prctl(PR_GET_SECCOMP) == 0;
  if (first) {
    if (how == "clone3-enosys-before") refuse({SYS_clone3}, ENOSYS);
    if (how == "clone3-eperm-before") refuse({SYS_clone3}, EPERM);
    if (how == "memfd-before") refuse({SYS_memfd_create}, EPERM);
    if (how == "address-space") limit(RLIMIT_AS, std::size_t{2} << 30);
    if (how == "little-address-space") limit(RLIMIT_AS, std::size_t{64} << 20);
    if (how == "no-address-space") limit(RLIMIT_AS, address_space() + (std::size_t{2} << 20));
    if (how == "file-size") limit(RLIMIT_FSIZE, std::size_t{64} << 20);
    if (how == "no-file-size") limit(RLIMIT_FSIZE, std::size_t{64} << 10);
  }
  if (how != "clone3-enosys-noinit" && how != "memfd-noinit")
    cohort::init(argc, argv, {.arena_bytes = how == "small-arena" ? std::size_t{8} << 20 : 0});
  if (how == "clone3-enosys-noinit") refuse({SYS_clone3}, ENOSYS);
  if (how == "memfd-noinit") refuse({SYS_memfd_create}, EPERM);

  if (how == "processes" || how == "processes-threaded") {
    deny_where_it_counts(method, [] { refuse(process_calls(), EAGAIN); });
  }
  if (how == "clone3-enosys") deny_where_it_counts(method, [] { refuse({SYS_clone3}, ENOSYS); });
  if (how == "clone3-eperm") deny_where_it_counts(method, [] { refuse({SYS_clone3}, EPERM); });
  if (how == "descriptors") {
    (void)Channel::make();  // there is an arena, but no connection to the fork server yet
    limit_descriptors();
  }
  if (how == "descriptors-connected") {
    if (start_one(method) != 0) return 2;
    limit_descriptors();
  }
  if (how == "small-arena") {
    try {
      Process child(
          {.start_method = method}, [](const std::vector<char>&) {},
          std::vector<char>(100'000'000));
      child.start();
      child.join();
      return child.exitcode() == 0 ? 0 : 1;
    } catch (const cohort::Error& error) {
      std::printf("%s\n", error.what());
      return start_one(method) == 0 ? 3 : 1;  // and all goes on
    }
  }
  if (how == "members") {
    std::vector<Process> many;
    try {
      for (int i = 0; i < 2000; ++i) {
        many.emplace_back(cohort::ProcessOptions{.daemon = true, .start_method = method}, [] {
          for (;;) ::pause();
        });
        many.back().start();
      }
      return 1;
    } catch (const std::exception& error) {
      std::printf("%s\n", error.what());
      many.clear();
      return start_one(method) == 0 ? 3 : 1;
    }
  }
  return start_one(method);
} catch (const std::exception& error) {
  std::printf("main: %s\n", error.what());
  return 4;
}
