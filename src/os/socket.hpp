// Unix sockets that pass descriptors beside small records.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "os/fd.hpp"

namespace cohort::os {

struct Received {
  std::size_t bytes = 0;
  std::vector<Fd> fds;
};

// A connected pair of SOCK_SEQPACKET sockets: records stay whole, and the end of the peer shows.
std::pair<Fd, Fd> socket_pair();
// The same with SOCK_DGRAM: many writers may share one end.
std::pair<Fd, Fd> datagram_pair();

// Sends one record. Answers false when the peer is gone; throws std::system_error otherwise.
bool send_record(int socket, std::span<const std::byte> data, std::span<const int> fds = {});
// Takes one record of at most data.size() bytes; empty when the peer is gone. Blocks unless
// `wait` is false; then an idle socket answers Received{0}.
std::optional<Received> receive_record(int socket, std::span<std::byte> data, bool wait = true);

}  // namespace cohort::os
