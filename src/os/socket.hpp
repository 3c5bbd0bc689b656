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
// The same without waiting: false when the socket's buffer is full, or when this user has too many
// descriptors on their way in sockets (RLIMIT_NOFILE, without privileges).
bool try_send_record(int socket, std::span<const std::byte> data, std::span<const int> fds);
// Takes one record of at most data.size() bytes; empty when the peer is gone. Blocks unless
// `wait` is false; then an idle socket answers Received{0}. EMFILE when there was no number left
// for a descriptor in it: that is gone with the record.
std::optional<Received> receive_record(int socket, std::span<std::byte> data, bool wait = true);

// The same without waiting, and leaves the record: its descriptors are new ones. (SO_PEEK_OFF says
// which record.)
std::optional<Received> peek_record(int socket, std::span<std::byte> data);

}  // namespace cohort::os
