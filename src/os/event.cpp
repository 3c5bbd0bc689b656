#include "os/event.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>

#include "os/call.hpp"

namespace cohort::os {

Event::Event()
    : fd_(Fd::clear_of_stdio(
          must("eventfd", [] { return ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }))) {}

void Event::signal() noexcept {
  std::uint64_t one = 1;
  // Fails only when the count is at its end, and then it is readable already.
  (void)retry([&] { return ::write(fd_.get(), &one, sizeof one); });
}

void Event::drain() noexcept {
  std::uint64_t count = 0;
  (void)retry([&] { return ::read(fd_.get(), &count, sizeof count); });
}

std::vector<std::size_t> wait_any(std::span<const int> fds, Deadline deadline) {
  std::vector<pollfd> items;
  items.reserve(fds.size());
  for (int fd : fds) items.push_back({fd, POLLIN, 0});
  int count = 0;
  do {
    count = ::poll(items.data(), items.size(), poll_timeout(deadline));
    if (count < 0 && errno != EINTR) fail("poll", errno);
  } while (count < 0);
  std::vector<std::size_t> ready;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (items[i].revents != 0) ready.push_back(i);
  }
  return ready;
}

}  // namespace cohort::os
