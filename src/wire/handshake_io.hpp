// A handshake over a connected socket, without ever waiting.
#pragma once

#include <array>
#include <cstddef>

#include "wire/authenticate.hpp"

namespace cohort::wire {

class HandshakeIo {
 public:
  enum class State { going, done, failed, hung_up };

  HandshakeIo(int socket, Handshake handshake);  // sends what comes first

  // Takes what has come, and nothing of what comes behind the handshake, and answers it. While it
  // is going, the socket polls readable when there is more to do.
  State advance();
  const char* reason() const noexcept { return reason_ ? reason_ : handshake_.reason(); }

 private:
  static constexpr std::size_t kHeader = 4;

  State take_message();
  bool send(std::string_view message);
  bool length_is_good();
  std::size_t expected() const noexcept { return kHeader + (got_ < kHeader ? 0 : length_); }

  int socket_;
  Handshake handshake_;
  const char* reason_ = nullptr;
  std::size_t got_ = 0;     // of the message that is coming, its header included
  std::size_t length_ = 0;  // of its payload, once the header is here
  std::array<char, kHeader + kMostHandshakeBytes> bytes_;
};

}  // namespace cohort::wire
