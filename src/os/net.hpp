// Stream sockets that other programs can reach: over TCP, and Unix sockets with a name.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "os/fd.hpp"

namespace cohort::os {

// An address of any family, as the system has it.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = sizeof(sockaddr_storage);

  sockaddr* raw() noexcept { return reinterpret_cast<sockaddr*>(&storage); }
  const sockaddr* raw() const noexcept { return reinterpret_cast<const sockaddr*>(&storage); }
  int family() const noexcept { return storage.ss_family; }
};

struct Accepted {
  Fd socket;
  SocketAddress peer;
};

// What a path or, behind a zero byte, an abstract name may have at most.
inline constexpr std::size_t kLongestUnixName = 107;

// A path, or a zero byte and an abstract name.
SocketAddress unix_address(std::string_view name);
std::string unix_name(const SocketAddress& address);

// What a host stands for, IPv4 first; a host that is empty is every interface of this machine to a
// listener, and this machine to everybody else. Throws std::system_error when it stands for
// nothing.
std::vector<SocketAddress> resolve(const std::string& host, std::uint16_t port, bool to_listen);
// HOST:PORT, or [HOST]:PORT for IPv6, in numbers.
std::string internet_name(const SocketAddress& address);

// A socket that listens there. It does not block.
Fd listen_at(const SocketAddress& address, int backlog);
SocketAddress local_address(int socket);
// The next client; none when there is none at the moment.
std::optional<Accepted> accept_one(int listener);
// Ends a connection for every process that has it; what was sent arrives.
void hang_up(int socket) noexcept;
// A connection to that address; empty when the deadline passed first.
Fd connect_to(const SocketAddress& address, Deadline deadline);

// What has come, at once, into `place`: how many bytes, 0 at the end, none when nothing is there.
std::optional<std::size_t> receive_now(int socket, std::span<char> place);
// Sends all of it, at once. False when the peer is gone, or does not take it.
bool send_now(int socket, std::string_view bytes);

}  // namespace cohort::os
