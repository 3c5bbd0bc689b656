#include "os/socket.hpp"

#include <sys/socket.h>

#include <cstring>

#include "os/call.hpp"

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

}  // namespace

std::pair<Fd, Fd> socket_pair() { return pair_of(SOCK_SEQPACKET); }
std::pair<Fd, Fd> datagram_pair() { return pair_of(SOCK_DGRAM); }

bool send_record(int socket, std::span<const std::byte> data, std::span<const int> fds) {
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
  auto sent = retry([&] { return ::sendmsg(socket, &message, MSG_NOSIGNAL); });
  if (sent >= 0) return true;
  if (peer_is_gone(errno)) return false;
  fail("sendmsg", errno);
}

std::optional<Received> receive_record(int socket, std::span<std::byte> data, bool wait) {
  iovec part{data.data(), data.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMostFds)];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  int flags = MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT);
  auto length = retry([&] { return ::recvmsg(socket, &message, flags); });
  if (length < 0) {
    if (!wait && (errno == EAGAIN || errno == EWOULDBLOCK)) return Received{};
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
  if (length == 0 && result.fds.empty()) return std::nullopt;
  return result;
}

}  // namespace cohort::os
