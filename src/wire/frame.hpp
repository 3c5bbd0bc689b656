// Messages on a byte stream: each with its length in front, so that both ends agree where it ends.
//
// The length is four bytes, big-endian and signed; from 2 GiB on these hold -1 and eight more bytes
// hold the length. This is the framing of CPython's multiprocessing.connection.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "cohort/error.hpp"
#include "os/fd.hpp"
#include "os/stream.hpp"

namespace cohort::wire {

inline constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();

// What came is no frame, or not all of one. Nothing more can be read from the stream.
class ProtocolError : public Error {
 public:
  using Error::Error;
};
// The stream ended inside a message.
class TruncatedFrame : public ProtocolError {
 public:
  TruncatedFrame() : ProtocolError("protocol error: the stream ended inside a message") {}
};

// Sends one message, header and payload in one call where the descriptor takes them at once.
// TimeoutError when it could not be sent by the deadline, which leaves the stream unusable;
// std::system_error, EPIPE among them. A SIGPIPE never.
void write_frame(int fd, std::span<const std::byte> payload, os::Deadline deadline = {});

// The next message. EndOfFile when the stream ends before it; ProtocolError; std::length_error for
// one of more than `limit` bytes, none of which is read or made room for; TimeoutError;
// std::system_error. After any of these but EndOfFile the stream is out of step.
std::vector<std::byte> read_frame(int fd, os::Deadline deadline = {},
                                  std::uint64_t limit = kNoLimit);

// How a transfer waits for its descriptor: until the deadline. A derived class may give up for
// reasons of its own, by an exception.
class Patience {
 public:
  explicit Patience(os::Deadline deadline = {}) : deadline_(deadline) {}
  virtual ~Patience() = default;
  Patience(const Patience&) = delete;
  Patience& operator=(const Patience&) = delete;

  // Return when it is worth another try. TimeoutError after the deadline.
  virtual void until_readable(const os::Stream& stream);
  virtual void until_writable(const os::Stream& stream);
  bool endless() const noexcept { return !deadline_; }

 private:
  os::Deadline deadline_;
};

// The same in parts.
void write_frame(const os::Stream& stream, std::span<const std::byte> payload, Patience& patience);
// A message's length, its first part.
std::uint64_t read_length(const os::Stream& stream, Patience& patience);
// The whole of `into`, as the next bytes of a message. TruncatedFrame when the stream ends.
void read_exactly(const os::Stream& stream, std::span<std::byte> into, Patience& patience);
// A payload of this length. Memory grows as the bytes come.
std::vector<std::byte> read_payload(const os::Stream& stream, std::uint64_t length,
                                    Patience& patience);

}  // namespace cohort::wire
