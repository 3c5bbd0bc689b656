// Bytes through descriptors of any kind: sockets, pipes, terminals, blocking or not.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <utility>

#include "os/fd.hpp"

namespace cohort::os {

// A descriptor that somebody else owns. Sockets are never waited for inside a transfer, so that
// many processes may share one; other blocking descriptors may be.
class Stream {
 public:
  explicit Stream(int fd);

  int fd() const noexcept { return fd_; }

  // As many bytes as there are, 0 at the end; empty when there are none yet: wait, and try again.
  // Throws std::system_error.
  std::optional<std::size_t> read(std::span<std::byte> into) const;
  // As many bytes of `head` and then `body` as there is room for; empty when there is none yet.
  // Without `whole` at most what a pipe takes without waiting. A broken pipe is EPIPE, never a
  // SIGPIPE. Throws std::system_error.
  std::optional<std::size_t> write(std::span<const std::byte> head, std::span<const std::byte> body,
                                   bool whole) const;

  // Answers whether that came before the deadline; errors and hang-ups count.
  bool wait_readable(Deadline deadline) const;
  bool wait_writable(Deadline deadline) const;

 private:
  int fd_;
  bool socket_;
};

// The kernel's pipe, its read end first; and a connected pair of stream sockets. `buffer`: what is
// asked for in bytes, where the system allows as much.
std::pair<Fd, Fd> make_pipe(std::size_t buffer);
std::pair<Fd, Fd> stream_pair(std::size_t buffer);

}  // namespace cohort::os
