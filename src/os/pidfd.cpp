#include "os/pidfd.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <string>
#include <string_view>

#include "os/call.hpp"

namespace cohort::os {
namespace {

constexpr idtype_t kPidfd = static_cast<idtype_t>(3);  // P_PIDFD; glibc 2.36 has it, older not

// The kernel's struct pidfd_info as of Linux 6.15, which Debian's headers do not have yet.
struct PidfdInfo {
  std::uint64_t mask;
  std::uint64_t cgroup_id;
  std::uint32_t pid, tgid, ppid;
  std::uint32_t ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
  std::int32_t exit_code;
};
constexpr std::uint64_t kInfoExit = 1U << 3;

// /proc/PID/stat; empty where there is no such process.
std::string read_stat(pid_t pid) {
  char path[32];
  std::snprintf(path, sizeof path, "/proc/%d/stat", static_cast<int>(pid));
  Fd file(::open(path, O_RDONLY | O_CLOEXEC));
  if (!file) return {};
  char text[1024];
  auto length = retry([&] { return ::read(file.get(), text, sizeof text); });
  return length > 0 ? std::string(text, static_cast<std::size_t>(length)) : std::string();
}

// The start of a field, which are counted from 1; null when there are fewer. Not for the first two.
const char* field_of(const std::string& stat, int number) {
  const char* at = std::strrchr(stat.c_str(), ')');  // the command's name may hold spaces
  for (int field = 2; at && field < number; ++field) at = std::strchr(at + 1, ' ');
  return at ? at + 1 : nullptr;
}

}  // namespace

Pidfd Pidfd::open(pid_t pid) {
  long raw = ::syscall(SYS_pidfd_open, pid, 0);
  if (raw >= 0) return Pidfd(Fd::clear_of_stdio(static_cast<int>(raw)));
  if (errno == ESRCH || errno == EINVAL) return {};
  fail("pidfd_open", errno);
}

bool Pidfd::send(int signal) const {
  if (::syscall(SYS_pidfd_send_signal, get(), signal, nullptr, 0) == 0) return true;
  if (errno == ESRCH) return false;
  fail("pidfd_send_signal", errno);
}

ExitCode exit_code_of(int status) {
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

std::optional<ExitCode> Pidfd::reap() const {
  siginfo_t info{};
  int result = retry([&] {
    return ::waitid(kPidfd, static_cast<id_t>(get()), &info, WEXITED | WNOHANG | __WALL);
  });
  if (result != 0) {
    if (errno == ECHILD) return std::nullopt;
    fail("waitid(P_PIDFD)", errno);
  }
  if (info.si_pid == 0) return std::nullopt;
  return info.si_code == CLD_EXITED ? info.si_status : -info.si_status;
}

std::optional<ExitCode> Pidfd::unreaped_exit(pid_t pid) const {
  auto text = read_stat(pid);
  auto state = field_of(text, 3);
  auto status = field_of(text, 52);
  if (!state || *state != 'Z' || !status) return std::nullopt;
  if (!send(0)) return std::nullopt;  // reaped meanwhile: that may have been another process
  return exit_code_of(std::atoi(status));
}

std::optional<ExitCode> Pidfd::recorded_exit() const {
  PidfdInfo info{};
  info.mask = kInfoExit;
  if (::ioctl(get(), _IOWR(0xFF, 11, PidfdInfo), &info) != 0) return std::nullopt;
  if ((info.mask & kInfoExit) == 0) return std::nullopt;
  return exit_code_of(info.exit_code);
}

std::size_t peak_memory_of(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  constexpr std::string_view kField = "VmHWM:";
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(kField))
      return std::strtoull(line.c_str() + kField.size(), nullptr, 10) << 10;
  }
  return 0;
}

bool stopped(pid_t pid) {
  auto text = read_stat(pid);
  if (text.empty()) return false;
  const char* state = field_of(text, 3);
  return state && (*state == 'T' || *state == 't');
}

std::optional<std::uint64_t> start_time(pid_t pid) {
  auto text = read_stat(pid);
  auto at = field_of(text, 22);
  if (!at) return std::nullopt;
  auto ticks = std::strtoull(at, nullptr, 10);
  return ticks * (1'000'000'000ULL / static_cast<unsigned long long>(::sysconf(_SC_CLK_TCK)));
}

std::uint64_t boot_time_now() {
  // Not through the vdso, whose pages a new child would have to fault in first.
  timespec now{};
  ::syscall(SYS_clock_gettime, CLOCK_BOOTTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000ULL +
         static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace cohort::os
