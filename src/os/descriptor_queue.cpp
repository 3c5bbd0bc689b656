#include "os/descriptor_queue.hpp"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "os/call.hpp"
#include "os/socket.hpp"

namespace cohort::os {
namespace {

// Room for some 500 descriptors, at less than 1 KiB each: what every system grants without
// privileges, and few enough to be looked through each time.
constexpr int kBuffer = 208 << 10;
constexpr int kReserve = 16 << 10;  // for moves to the back

std::span<const std::byte> bytes_of(const DescriptorTag& tag) {
  return std::as_bytes(std::span(&tag, 1));
}

// Where the next peek looks: at the record that begins this many bytes behind the front.
void peek_from(int socket, std::size_t offset) {
  int place = static_cast<int>(offset);
  must("setsockopt(SO_PEEK_OFF)",
       [&] { return ::setsockopt(socket, SOL_SOCKET, SO_PEEK_OFF, &place, sizeof place); });
}

}  // namespace

DescriptorQueue DescriptorQueue::make() {
  auto [in, out] = socket_pair();
  (void)::setsockopt(in.get(), SOL_SOCKET, SO_SNDBUF, &kBuffer, sizeof kBuffer);
  return {std::move(in), std::move(out)};
}

bool DescriptorQueue::has_room() const {
  int used = 0;
  int buffer = 0;
  socklen_t length = sizeof buffer;
  must("ioctl(SIOCOUTQ)", [&] { return ::ioctl(in(), SIOCOUTQ, &used); });
  must("getsockopt(SO_SNDBUF)",
       [&] { return ::getsockopt(in(), SOL_SOCKET, SO_SNDBUF, &buffer, &length); });
  return used + kReserve <= buffer;
}

bool DescriptorQueue::put(const DescriptorTag& tag, int fd) const {
  return try_send_record(in(), bytes_of(tag), std::span(&fd, 1));
}

std::vector<DescriptorTag> DescriptorQueue::tags(const std::function<bool()>& go_on) const {
  std::vector<DescriptorTag> all;
  if (go_on && !go_on()) return all;
  peek_from(out(), 0);  // and each peek moves on
  for (DescriptorTag tag;;) {
    if (go_on && !go_on()) return all;
    auto length = retry([&] { return ::recv(out(), &tag, sizeof tag, MSG_PEEK | MSG_DONTWAIT); });
    if (length < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return all;
    if (length < 0) fail("recv(MSG_PEEK)", errno);
    if (length != sizeof tag) fail("recv(MSG_PEEK)", EBADMSG);
    all.push_back(tag);
  }
}

std::optional<Fd> DescriptorQueue::copy(std::size_t index, const DescriptorTag& expected) const {
  DescriptorTag tag;
  peek_from(out(), index * sizeof tag);
  auto record = peek_record(out(), std::as_writable_bytes(std::span(&tag, 1)));
  if (!record || record->fds.empty() || tag != expected) return std::nullopt;
  return std::move(record->fds.front());
}

void DescriptorQueue::drop_front() const {
  DescriptorTag tag;
  // Without room for a descriptor the system closes it.
  auto length = retry([&] { return ::recv(out(), &tag, sizeof tag, MSG_DONTWAIT); });
  if (length < 0) fail("recv", errno);
}

}  // namespace cohort::os
