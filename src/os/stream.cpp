#include "os/stream.hpp"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "os/call.hpp"

namespace cohort::os {
namespace {

// What the kernel moves in one call anyway.
constexpr std::size_t kMostAtOnce = std::size_t{1} << 30;

bool no_room_or_data(int error) { return error == EAGAIN || error == EWOULDBLOCK; }

// Keeps this thread from a SIGPIPE, and takes back the one that a write of ours made. One that was
// pending before stays.
class NoSigpipe {
 public:
  NoSigpipe() noexcept {
    ::sigemptyset(&sigpipe_);
    ::sigaddset(&sigpipe_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &sigpipe_, &before_);
    // Only where it was blocked already can one have been waiting.
    sigset_t pending;
    if (::sigismember(&before_, SIGPIPE) == 1 && ::sigpending(&pending) == 0)
      was_pending_ = ::sigismember(&pending, SIGPIPE) == 1;
  }
  ~NoSigpipe() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  NoSigpipe(const NoSigpipe&) = delete;
  NoSigpipe& operator=(const NoSigpipe&) = delete;

  void consume() noexcept {
    constexpr timespec kAtOnce{};
    if (!was_pending_) (void)retry([&] { return ::sigtimedwait(&sigpipe_, nullptr, &kAtOnce); });
  }

 private:
  sigset_t sigpipe_;
  sigset_t before_;
  bool was_pending_ = false;
};

ssize_t write_quietly(int fd, const iovec* parts, int count) {
  NoSigpipe quiet;
  auto written = retry([&] { return ::writev(fd, parts, count); });
  const int error = errno;
  // A reader that goes in the middle leaves a short count, and the signal all the same.
  std::size_t wanted = 0;
  for (int i = 0; i < count; ++i) wanted += parts[i].iov_len;
  if (written < 0 ? error == EPIPE : static_cast<std::size_t>(written) < wanted) quiet.consume();
  errno = error;
  return written;
}

std::span<const std::byte> first_of(std::span<const std::byte> bytes, std::size_t most) {
  return bytes.first(std::min(bytes.size(), most));
}

iovec part(std::span<const std::byte> bytes) {
  return {const_cast<std::byte*>(bytes.data()), bytes.size()};
}

bool wait_for(int fd, short events, Deadline deadline) {
  pollfd item{fd, events, 0};
  for (;;) {
    int count = ::poll(&item, 1, poll_timeout(deadline));
    if (count < 0 && errno != EINTR) fail("poll", errno);
    if (count > 0 && (item.revents & POLLNVAL) != 0) fail("poll", EBADF);
    if (count > 0) return true;
    if (deadline && Clock::now() >= *deadline) return false;
  }
}

}  // namespace

Stream::Stream(int fd) : fd_(fd) {
  int type = 0;
  socklen_t length = sizeof type;
  socket_ = ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0;
}

std::optional<std::size_t> Stream::read(std::span<std::byte> into) const {
  std::size_t most = std::min(into.size(), kMostAtOnce);
  ssize_t count = 0;
  if (socket_) {
    count = retry([&] { return ::recv(fd_, into.data(), most, MSG_DONTWAIT); });
  } else {
    if (!wait_for(fd_, POLLIN, Clock::time_point{})) return std::nullopt;
    count = retry([&] { return ::read(fd_, into.data(), most); });
  }
  if (count >= 0) return static_cast<std::size_t>(count);
  if (no_room_or_data(errno)) return std::nullopt;
  fail(socket_ ? "recv" : "read", errno);
}

std::optional<std::size_t> Stream::write(std::span<const std::byte> head,
                                         std::span<const std::byte> body, bool whole) const {
  std::size_t most = socket_ || whole ? kMostAtOnce : PIPE_BUF;
  head = first_of(head, most);
  body = first_of(body, most - head.size());
  std::array<iovec, 2> parts{part(head), part(body)};
  ssize_t count = 0;
  if (socket_) {
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    count = retry([&] { return ::sendmsg(fd_, &message, MSG_NOSIGNAL | MSG_DONTWAIT); });
  } else {
    if (!whole && !wait_for(fd_, POLLOUT, Clock::time_point{})) return std::nullopt;
    count = write_quietly(fd_, parts.data(), parts.size());
  }
  if (count >= 0) return static_cast<std::size_t>(count);
  if (no_room_or_data(errno)) return std::nullopt;
  fail(socket_ ? "sendmsg" : "writev", errno);
}

bool Stream::wait_readable(Deadline deadline) const { return wait_for(fd_, POLLIN, deadline); }
bool Stream::wait_writable(Deadline deadline) const { return wait_for(fd_, POLLOUT, deadline); }

std::pair<Fd, Fd> make_pipe(std::size_t buffer) {
  int ends[2];
  must("pipe2", [&] { return ::pipe2(ends, O_CLOEXEC); });
  std::pair pipe{Fd::clear_of_stdio(ends[0]), Fd::clear_of_stdio(ends[1])};
  (void)::fcntl(pipe.second.get(), F_SETPIPE_SZ, static_cast<int>(buffer));
  return pipe;
}

std::pair<Fd, Fd> stream_pair(std::size_t buffer) {
  int ends[2];
  must("socketpair", [&] { return ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends); });
  std::pair sockets{Fd::clear_of_stdio(ends[0]), Fd::clear_of_stdio(ends[1])};
  int bytes = static_cast<int>(buffer);
  for (int fd : {sockets.first.get(), sockets.second.get()})
    (void)::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
  return sockets;
}

}  // namespace cohort::os
