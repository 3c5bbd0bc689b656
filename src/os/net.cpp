#include "os/net.hpp"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <system_error>

#include "os/call.hpp"

namespace cohort::os {
namespace {

constexpr std::size_t kNameAt = offsetof(sockaddr_un, sun_path);

// getaddrinfo has errors of its own.
class ResolverErrors : public std::error_category {
 public:
  const char* name() const noexcept override { return "getaddrinfo"; }
  std::string message(int code) const override { return ::gai_strerror(code); }
};

[[noreturn]] void fail_to_resolve(const std::string& host, int code) {
  static const ResolverErrors errors;
  const std::string call = "getaddrinfo (" + host + ")";
  if (code == EAI_SYSTEM) fail(call, errno);
  throw std::system_error(code, errors, call);
}

void set_flag(int socket, int level, int option) {
  const int on = 1;
  must("setsockopt", [&] { return ::setsockopt(socket, level, option, &on, sizeof on); });
}

// A message goes out as it is written, not when the last one was acknowledged.
void send_without_delay(int socket, int family) {
  if (family == AF_INET || family == AF_INET6) set_flag(socket, IPPROTO_TCP, TCP_NODELAY);
}

Fd stream_socket(int family, int flags) {
  return Fd::clear_of_stdio(
      must("socket", [&] { return ::socket(family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0); }));
}

void set_blocking(int fd) {
  int flags = must("fcntl(F_GETFL)", [&] { return ::fcntl(fd, F_GETFL); });
  must("fcntl(F_SETFL)", [&] { return ::fcntl(fd, F_SETFL, flags & ~O_NONBLOCK); });
}

std::string text_of(const SocketAddress& address) {
  return address.family() == AF_UNIX ? unix_name(address) : internet_name(address);
}

// The other end is gone, or the network to it.
bool peer_was_lost(int error) {
  switch (error) {
    case ECONNABORTED:
    case EPROTO:
    case ENOPROTOOPT:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET:
      return true;
    default:
      return false;
  }
}

bool wait_writable(int fd, Deadline deadline) {
  pollfd item{fd, POLLOUT, 0};
  for (;;) {
    int count = ::poll(&item, 1, poll_timeout(deadline));
    if (count > 0) return true;
    if (count < 0 && errno != EINTR) fail("poll", errno);
    if (deadline && Clock::now() >= *deadline) return false;
  }
}

int pending_error(int socket) {
  int error = 0;
  socklen_t length = sizeof error;
  must("getsockopt", [&] { return ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &length); });
  return error;
}

// A port that nobody listens at, of those that the system hands out itself, may be our own.
bool reached_itself(int socket) {
  SocketAddress peer;
  if (::getpeername(socket, peer.raw(), &peer.length) != 0) return false;
  const SocketAddress mine = local_address(socket);
  return mine.length == peer.length && std::memcmp(mine.raw(), peer.raw(), mine.length) == 0;
}

Fd connect_internet(const SocketAddress& address, Deadline deadline) {
  Fd socket = stream_socket(address.family(), SOCK_NONBLOCK);
  // Interrupted or not, the system goes on with it meanwhile.
  if (::connect(socket.get(), address.raw(), address.length) != 0) {
    if (errno != EINPROGRESS && errno != EINTR) fail("connect", errno, text_of(address));
    if (!wait_writable(socket.get(), deadline)) return {};
    if (int error = pending_error(socket.get())) fail("connect", error, text_of(address));
  }
  if (reached_itself(socket.get())) fail("connect", ECONNREFUSED, text_of(address));
  send_without_delay(socket.get(), address.family());
  set_blocking(socket.get());
  return socket;
}

void limit_sending(int socket, std::chrono::microseconds limit) {
  timeval time{};
  time.tv_sec = limit.count() / 1'000'000;
  time.tv_usec = limit.count() % 1'000'000;
  must("setsockopt",
       [&] { return ::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time); });
}

// One that does not block would fail at once where the listener's backlog is full, and there is
// nothing to poll for then.
Fd connect_unix(const SocketAddress& address, Deadline deadline) {
  using std::chrono::microseconds;
  Fd socket = stream_socket(AF_UNIX, 0);
  for (;;) {
    if (deadline) {
      auto left = std::chrono::ceil<microseconds>(*deadline - Clock::now());
      limit_sending(socket.get(), std::max(left, microseconds(1)));
    }
    if (::connect(socket.get(), address.raw(), address.length) == 0) break;
    if (errno == EAGAIN && deadline) {
      if (Clock::now() >= *deadline) return {};
    } else if (errno != EINTR) {
      fail("connect", errno, text_of(address));
    }
  }
  if (deadline) limit_sending(socket.get(), microseconds(0));
  return socket;
}

}  // namespace

SocketAddress unix_address(std::string_view name) {
  if (name.empty() || name.size() > kLongestUnixName) fail("unix_address", ENAMETOOLONG);
  sockaddr_un raw{};
  raw.sun_family = AF_UNIX;
  name.copy(raw.sun_path, name.size());
  SocketAddress address;
  // An abstract name ends with the address, a path with its zero.
  address.length = static_cast<socklen_t>(kNameAt + name.size() + (name[0] == '\0' ? 0 : 1));
  std::memcpy(&address.storage, &raw, sizeof raw);
  return address;
}

std::string unix_name(const SocketAddress& address) {
  if (address.length <= kNameAt) return {};  // a client without a name
  sockaddr_un raw{};
  std::memcpy(&raw, &address.storage, sizeof raw);
  std::string name(raw.sun_path, std::min(address.length - kNameAt, sizeof raw.sun_path));
  if (name[0] != '\0') name.resize(std::strlen(name.c_str()));
  return name;
}

std::vector<SocketAddress> resolve(const std::string& host, std::uint16_t port, bool to_listen) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | (to_listen ? AI_PASSIVE : 0);
  addrinfo* first = nullptr;
  const int error = ::getaddrinfo(host.empty() ? nullptr : host.c_str(),
                                  std::to_string(port).c_str(), &hints, &first);
  if (error != 0) fail_to_resolve(host, error);
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> all(first, ::freeaddrinfo);
  std::vector<SocketAddress> found;
  for (const addrinfo* one = first; one; one = one->ai_next) {
    SocketAddress address;
    address.length = one->ai_addrlen;
    std::memcpy(&address.storage, one->ai_addr, one->ai_addrlen);
    found.push_back(address);
  }
  std::stable_partition(found.begin(), found.end(),
                        [](const SocketAddress& one) { return one.family() == AF_INET; });
  return found;
}

std::string internet_name(const SocketAddress& address) {
  char host[NI_MAXHOST];
  char port[NI_MAXSERV];
  const int error = ::getnameinfo(address.raw(), address.length, host, sizeof host, port,
                                  sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
  if (error != 0) return {};
  const std::string name = address.family() == AF_INET6 ? "[" + std::string(host) + "]" : host;
  return name + ":" + port;
}

Fd listen_at(const SocketAddress& address, int backlog) {
  Fd socket = stream_socket(address.family(), SOCK_NONBLOCK);
  set_flag(socket.get(), SOL_SOCKET, SO_REUSEADDR);
  if (::bind(socket.get(), address.raw(), address.length) != 0)
    fail("bind", errno, text_of(address));
  if (::listen(socket.get(), backlog) != 0) fail("listen", errno, text_of(address));
  return socket;
}

SocketAddress local_address(int socket) {
  SocketAddress address;
  must("getsockname", [&] { return ::getsockname(socket, address.raw(), &address.length); });
  return address;
}

void hang_up(int socket) noexcept { ::shutdown(socket, SHUT_RDWR); }

std::optional<Accepted> accept_one(int listener) {
  for (;;) {
    Accepted client;
    const int raw = retry([&] {
      client.peer.length = sizeof client.peer.storage;
      return ::accept4(listener, client.peer.raw(), &client.peer.length, SOCK_CLOEXEC);
    });
    if (raw >= 0) {
      client.socket = Fd::clear_of_stdio(raw);
      send_without_delay(client.socket.get(), client.peer.family());
      return client;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) return std::nullopt;
    if (!peer_was_lost(errno)) fail("accept4", errno);
  }
}

Fd connect_to(const SocketAddress& address, Deadline deadline) {
  return address.family() == AF_UNIX ? connect_unix(address, deadline)
                                     : connect_internet(address, deadline);
}

std::optional<std::size_t> receive_now(int socket, std::span<char> place) {
  auto count = retry([&] { return ::recv(socket, place.data(), place.size(), MSG_DONTWAIT); });
  if (count >= 0) return static_cast<std::size_t>(count);
  if (errno == EAGAIN || errno == EWOULDBLOCK) return std::nullopt;
  if (errno == ECONNRESET || errno == ETIMEDOUT || peer_was_lost(errno)) return 0;
  fail("recv", errno);
}

bool send_now(int socket, std::string_view bytes) {
  auto count = retry(
      [&] { return ::send(socket, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL); });
  return count == static_cast<ssize_t>(bytes.size());
}

}  // namespace cohort::os
