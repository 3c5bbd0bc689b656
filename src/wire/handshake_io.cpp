#include "wire/handshake_io.hpp"

#include <cstdint>
#include <utility>

#include "os/net.hpp"

namespace cohort::wire {

HandshakeIo::HandshakeIo(int socket, Handshake handshake)
    : socket_(socket), handshake_(std::move(handshake)) {
  if (auto first = handshake_.first_message()) send(*first);
}

HandshakeIo::State HandshakeIo::advance() {
  for (;;) {
    const std::span place(bytes_.data() + got_, expected() - got_);
    const auto count = os::receive_now(socket_, place);
    if (!count) return State::going;
    if (*count == 0) return State::hung_up;
    got_ += *count;
    if (got_ == kHeader && !length_is_good()) {
      reason_ = "the other end sent what is no part of a handshake";
      return State::failed;
    }
    if (got_ < kHeader || got_ < expected()) continue;
    if (State state = take_message(); state != State::going) return state;
  }
}

HandshakeIo::State HandshakeIo::take_message() {
  const auto answer = handshake_.take({bytes_.data() + kHeader, length_});
  got_ = 0;
  const bool sent = !answer || send(*answer);
  switch (handshake_.state()) {
    case Handshake::State::failed:
      return State::failed;
    case Handshake::State::done:
      return sent ? State::done : State::hung_up;
    case Handshake::State::going:
      break;
  }
  return sent ? State::going : State::hung_up;
}

// All that a handshake says is less than any socket's buffer takes: only who is gone takes none.
bool HandshakeIo::send(std::string_view message) {
  std::string frame(kHeader, '\0');
  frame[2] = static_cast<char>(message.size() >> 8);
  frame[3] = static_cast<char>(message.size() & 0xff);
  return os::send_now(socket_, frame.append(message));
}

bool HandshakeIo::length_is_good() {
  std::uint32_t length = 0;
  for (std::size_t i = 0; i < kHeader; ++i)
    length = length << 8 | static_cast<unsigned char>(bytes_[i]);
  length_ = length;
  return length <= kMostHandshakeBytes;
}

}  // namespace cohort::wire
