#include "wire/frame.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>

namespace cohort::wire {
namespace {

constexpr std::uint64_t kMostShort = 0x7fff'ffff;  // longer ones have the long form
// Room that is made for a message before any of it has come.
constexpr std::uint64_t kRoomOnCredit = std::uint64_t{1} << 20;

class Header {
 public:
  explicit Header(std::uint64_t length) {
    if (length <= kMostShort) {
      put(length, 4);
    } else {
      put(0xffff'ffff, 4);
      put(length, 8);
    }
  }
  std::span<const std::byte> bytes() const { return std::span(bytes_).first(size_); }

 private:
  void put(std::uint64_t value, int count) {
    for (int i = count; i-- > 0;) bytes_[size_++] = static_cast<std::byte>(value >> (8 * i));
  }
  std::array<std::byte, 12> bytes_{};
  std::size_t size_ = 0;
};

template <std::size_t N>
std::uint64_t number_from(const std::array<std::byte, N>& bytes) {
  std::uint64_t value = 0;
  for (std::byte one : bytes) value = value << 8 | std::to_integer<std::uint64_t>(one);
  return value;
}

// A peer that closed its socket before it had read everything resets the connection: its end.
std::optional<std::size_t> read_some(const os::Stream& stream, std::span<std::byte> into) {
  try {
    return stream.read(into);
  } catch (const std::system_error& error) {
    if (error.code() == std::errc::connection_reset) return 0;
    throw;
  }
}

// Answers how much came before the end.
std::size_t read_until_end(const os::Stream& stream, std::span<std::byte> into,
                           Patience& patience) {
  std::size_t done = 0;
  while (done < into.size()) {
    auto count = read_some(stream, into.subspan(done));
    if (!count) {
      patience.until_readable(stream);
    } else if (*count == 0) {
      break;
    } else {
      done += *count;
    }
  }
  return done;
}

bool passed(os::Deadline deadline) { return deadline && os::Clock::now() >= *deadline; }

}  // namespace

void Patience::until_readable(const os::Stream& stream) {
  // Not once more after it: a peer that sends a byte at a time could go on for ever.
  if (passed(deadline_) || !stream.wait_readable(deadline_)) throw TimeoutError();
}
void Patience::until_writable(const os::Stream& stream) {
  if (passed(deadline_) || !stream.wait_writable(deadline_)) throw TimeoutError();
}

void write_frame(const os::Stream& stream, std::span<const std::byte> payload, Patience& patience) {
  const Header header(payload.size());
  auto head = header.bytes();
  while (!head.empty() || !payload.empty()) {
    auto count = stream.write(head, payload, patience.endless());
    if (!count) {
      patience.until_writable(stream);
      continue;
    }
    std::size_t of_head = std::min(*count, head.size());
    head = head.subspan(of_head);
    payload = payload.subspan(*count - of_head);
  }
}

std::uint64_t read_length(const os::Stream& stream, Patience& patience) {
  std::array<std::byte, 4> four;
  std::size_t came = read_until_end(stream, four, patience);
  if (came == 0) throw EndOfFile();
  if (came < four.size()) throw TruncatedFrame();
  auto length = static_cast<std::int32_t>(number_from(four));
  if (length >= 0) return static_cast<std::uint64_t>(length);
  if (length != -1)
    throw ProtocolError("protocol error: a message of negative length " + std::to_string(length));
  std::array<std::byte, 8> eight;
  read_exactly(stream, eight, patience);
  return number_from(eight);
}

void read_exactly(const os::Stream& stream, std::span<std::byte> into, Patience& patience) {
  if (read_until_end(stream, into, patience) < into.size()) throw TruncatedFrame();
}

std::vector<std::byte> read_payload(const os::Stream& stream, std::uint64_t length,
                                    Patience& patience) {
  std::vector<std::byte> payload;
  if (length > payload.max_size())
    throw ProtocolError("protocol error: a message of " + std::to_string(length) +
                        " bytes is more than memory can hold");
  std::uint64_t room = std::min(length, kRoomOnCredit);
  for (std::size_t done = 0;;) {
    payload.resize(room);
    read_exactly(stream, std::span(payload).subspan(done), patience);
    if (room == length) return payload;
    done = room;
    room = std::min(length, 2 * room);
  }
}

void write_frame(int fd, std::span<const std::byte> payload, os::Deadline deadline) {
  Patience patience(deadline);
  write_frame(os::Stream(fd), payload, patience);
}

std::vector<std::byte> read_frame(int fd, os::Deadline deadline, std::uint64_t limit) {
  Patience patience(deadline);
  const os::Stream stream(fd);
  std::uint64_t length = read_length(stream, patience);
  if (length > limit)
    throw std::length_error("a message of " + std::to_string(length) + " bytes, where at most " +
                            std::to_string(limit) + " are accepted");
  return read_payload(stream, length, patience);
}

}  // namespace cohort::wire
