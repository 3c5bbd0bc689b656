#include "os/fd.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <climits>

#include "os/call.hpp"

namespace cohort::os {

void Fd::reset(int raw) noexcept {
  if (raw_ >= 0) ::close(raw_);
  raw_ = raw;
}

Fd Fd::clear_of_stdio(int raw) noexcept {
  Fd fd(raw);
  if (raw < 0 || raw > STDERR_FILENO) return fd;
  int moved = ::fcntl(raw, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  return moved >= 0 ? Fd(moved) : std::move(fd);
}

Fd Fd::duplicate() const {
  return Fd(must("fcntl(F_DUPFD_CLOEXEC)", [&] { return ::fcntl(raw_, F_DUPFD_CLOEXEC, 3); }));
}

int poll_timeout(Deadline deadline) {
  if (!deadline) return -1;
  auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<long long>(left, 0, INT_MAX));
}

bool wait_readable(int fd, Deadline deadline) {
  pollfd item{fd, POLLIN, 0};
  for (;;) {
    int count = ::poll(&item, 1, poll_timeout(deadline));
    if (count > 0) return true;
    if (count < 0 && errno != EINTR) fail("poll", errno);
    if (deadline && Clock::now() >= *deadline) return false;
  }
}

void set_close_on_exec(int fd, bool on) {
  must("fcntl(F_SETFD)", [&] { return ::fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0); });
}

}  // namespace cohort::os
