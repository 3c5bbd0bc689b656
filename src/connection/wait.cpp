#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "cohort/connection_wait.hpp"
#include "connection/queue_watch.hpp"
#include "os/call.hpp"
#include "os/fd.hpp"

namespace cohort::connection {
namespace {

bool passed(os::Deadline deadline) { return deadline && os::Clock::now() >= *deadline; }

// Polls until something shows or the deadline.
void poll_all(std::vector<pollfd>& items, os::Deadline deadline) {
  for (;;) {
    const int count = ::poll(items.data(), items.size(), os::poll_timeout(deadline));
    if (count > 0) break;
    if (count < 0 && errno != EINTR) os::fail("poll", errno);
    if (passed(deadline)) return;
  }
  const bool invalid = std::any_of(items.begin(), items.end(), [](const pollfd& item) {
    return (item.revents & POLLNVAL) != 0;
  });
  if (invalid) os::fail("poll", EBADF, "one of the descriptors is not open");
}

std::vector<pollfd> items_for(std::span<const Waitable> objects) {
  std::vector<pollfd> items;
  for (const Waitable& one : objects) {
    if (one.fileno() < 0 && !one.watched_block())
      os::fail("poll", EBADF, "a negative number is no descriptor");
    items.push_back({one.fileno(), POLLIN, 0});
  }
  return items;
}

// What is ready of these, as poll has found their descriptors in `items`.
std::vector<std::size_t> ready_of(std::span<const Waitable> objects,
                                  const std::vector<pollfd>& items) {
  std::vector<std::size_t> ready;
  for (std::size_t i = 0; i < objects.size(); ++i) {
    const auto& queue = objects[i].watched_block();
    if (queue ? queue_ready(queue) : items[i].revents != 0) ready.push_back(i);
  }
  return ready;
}

std::vector<std::size_t> wait_for_mixed(std::span<const Waitable> objects, os::Deadline deadline) {
  constexpr os::Clock::time_point kAtOnce{};
  auto items = items_for(objects);
  poll_all(items, kAtOnce);
  auto ready = ready_of(objects, items);
  if (!ready.empty() || passed(deadline)) return ready;
  std::vector<detail::BlockRef> queues;
  for (const Waitable& one : objects) {
    if (one.watched_block()) queues.push_back(one.watched_block());
  }
  QueueWatch watch(queues);
  items.push_back({watch.fd(), POLLIN, 0});
  // Once more at once: for what came before the watch began.
  for (os::Deadline until = kAtOnce;; until = deadline) {
    poll_all(items, until);
    if (items.back().revents != 0) watch.drain();
    ready = ready_of(objects, items);
    if (!ready.empty() || passed(deadline)) return ready;
  }
}

}  // namespace

std::vector<Waitable> wait(std::initializer_list<Waitable> objects, WaitLimit limit) {
  std::vector<Waitable> ready;
  for (std::size_t i : detail::wait_for_ready({objects.begin(), objects.size()}, limit.deadline()))
    ready.push_back(objects.begin()[i]);
  return ready;
}

}  // namespace cohort::connection

namespace cohort::detail {

std::vector<std::size_t> wait_for_ready(std::span<const connection::Waitable> objects,
                                        Deadline deadline) {
  const bool queues = std::any_of(objects.begin(), objects.end(), [](const auto& one) {
    return static_cast<bool>(one.watched_block());
  });
  if (queues) return connection::wait_for_mixed(objects, deadline);
  auto items = connection::items_for(objects);
  connection::poll_all(items, deadline);
  return connection::ready_of(objects, items);
}

}  // namespace cohort::detail
