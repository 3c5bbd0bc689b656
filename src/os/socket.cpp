#include "os/socket.hpp"

#include <sys/socket.h>

#include <cstring>

#include "os/call.hpp"
#include "os/handover.hpp"

namespace cohort::os {
namespace {

constexpr std::size_t kMostFds = 16;

std::pair<Fd, Fd> pair_of(int type) {
  int ends[2];
  must("socketpair", [&] { return ::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends); });
  return {Fd::clear_of_stdio(ends[0]), Fd::clear_of_stdio(ends[1])};
}

bool peer_is_gone(int error) {
  return error == EPIPE || error == ECONNRESET || error == ECONNREFUSED || error == ENOTCONN;
}

bool would_block(int error) { return error == EAGAIN || error == EWOULDBLOCK; }

ssize_t send(int socket, std::span<const std::byte> data, std::span<const int> fds, int flags) {
  if (fds.size() > kMostFds) fail("sendmsg", EMFILE, "too many descriptors in one record");
  iovec part{const_cast<std::byte*>(data.data()), data.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMostFds)]{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(head), fds.data(), fds.size_bytes());
  }
  return retry([&] { return ::sendmsg(socket, &message, MSG_NOSIGNAL | flags); });
}

std::optional<Received> receive(int socket, std::span<std::byte> data, int flags) {
  iovec part{data.data(), data.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMostFds)];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  auto length = retry([&] { return ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | flags); });
  if (length < 0) {
    if ((flags & MSG_DONTWAIT) != 0 && would_block(errno)) return Received{};
    if (peer_is_gone(errno)) return std::nullopt;
    fail("recvmsg", errno);
  }
  Received result{static_cast<std::size_t>(length), {}};
  for (cmsghdr* head = CMSG_FIRSTHDR(&message); head; head = CMSG_NXTHDR(&message, head)) {
    if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
    std::size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int raw = -1;
      std::memcpy(&raw, CMSG_DATA(head) + i * sizeof(int), sizeof raw);
      result.fds.push_back(Fd::clear_of_stdio(raw));
    }
  }
  if ((message.msg_flags & MSG_CTRUNC) != 0)
    fail("recvmsg", EMFILE,
         "there was no descriptor number left for one that was sent: close some, or raise "
         "ulimit -n");
  if (length == 0 && result.fds.empty()) return std::nullopt;
  return result;
}

}  // namespace

std::pair<Fd, Fd> socket_pair() { return pair_of(SOCK_SEQPACKET); }
std::pair<Fd, Fd> datagram_pair() { return pair_of(SOCK_DGRAM); }

bool send_record(int socket, std::span<const std::byte> data, std::span<const int> fds) {
  hand_over();
  if (send(socket, data, fds, 0) >= 0) return true;
  if (peer_is_gone(errno)) return false;
  fail("sendmsg", errno);
}

bool try_send_record(int socket, std::span<const std::byte> data, std::span<const int> fds) {
  if (send(socket, data, fds, MSG_DONTWAIT) >= 0) return true;
  if (would_block(errno) || errno == ETOOMANYREFS) return false;
  fail("sendmsg", errno);
}

std::optional<Received> receive_record(int socket, std::span<std::byte> data, bool wait) {
  return receive(socket, data, wait ? 0 : MSG_DONTWAIT);
}

std::optional<Received> peek_record(int socket, std::span<std::byte> data) {
  return receive(socket, data, MSG_PEEK | MSG_DONTWAIT);
}

}  // namespace cohort::os
