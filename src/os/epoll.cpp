#include "os/epoll.hpp"

#include <sys/epoll.h>

#include "os/call.hpp"

namespace cohort::os {

Epoll::Epoll()
    : fd_(Fd::clear_of_stdio(
          must("epoll_create1", [] { return ::epoll_create1(EPOLL_CLOEXEC); }))) {}

void Epoll::watch(int fd, std::uint64_t key) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = key;
  must("epoll_ctl", [&] { return ::epoll_ctl(fd_.get(), EPOLL_CTL_ADD, fd, &event); });
}

void Epoll::forget(int fd) noexcept {
  epoll_event unused{};
  ::epoll_ctl(fd_.get(), EPOLL_CTL_DEL, fd, &unused);
}

std::optional<std::uint64_t> Epoll::wait(Deadline deadline) {
  for (;;) {
    epoll_event event{};
    int count = ::epoll_wait(fd_.get(), &event, 1, poll_timeout(deadline));
    if (count > 0) return std::uint64_t{event.data.u64};
    if (count < 0 && errno != EINTR) fail("epoll_wait", errno);
    if (deadline && Clock::now() >= *deadline) return std::nullopt;
  }
}

}  // namespace cohort::os
