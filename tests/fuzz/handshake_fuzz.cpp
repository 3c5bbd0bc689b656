// clang++-16 -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude -Isrc
//   tests/fuzz/handshake_fuzz.cpp src/wire/{authenticate,handshake_io,hmac}.cpp
//   src/os/{net,random,fd,call}.cpp -lcrypto -o handshake_fuzz
//
// A peer that has not got the key, and may write anything: neither role of ours must ever take it
// for one that has. Where its bytes ask for it, it is given what only the key's owner could say, so
// that the later messages are reached, too.
#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "os/fd.hpp"
#include "wire/authenticate.hpp"
#include "wire/handshake_io.hpp"

namespace {

using namespace cohort;
using wire::Handshake;

constexpr std::size_t kMostBytes = 16384;
const std::string kChallenge = "{sha256}0123456789012345678901234567890123456789";

struct Peer {
  Handshake::Role role;  // ours
  wire::Credentials ours;
  bool proved = false;

  explicit Peer(std::uint8_t choice)
      : role((choice & 1) != 0 ? Handshake::Role::accepting : Handshake::Role::connecting),
        ours{"the key that the peer has not got", (choice & 2) != 0} {}

  Handshake handshake() const { return {role, ours, kChallenge}; }
  std::string said(std::string_view message) {
    if (message == "R") {
      proved = true;
      return *wire::respond({ours.key}, kChallenge);
    }
    if (message == "W") return "#WELCOME#";
    if (message.starts_with('C')) return "#CHALLENGE#" + std::string(message.substr(1));
    return std::string(message);
  }
};

// Message by message: the first byte of each is its length.
void whole_messages(Peer peer, std::string_view text) {
  Handshake handshake = peer.handshake();
  handshake.first_message();
  while (!text.empty() && handshake.state() == Handshake::State::going) {
    const std::size_t length = static_cast<unsigned char>(text[0]);
    const auto answer = handshake.take(peer.said(text.substr(1, length)));
    if (answer && answer->size() > wire::kMostHandshakeBytes) std::abort();
    text.remove_prefix(std::min(text.size(), 1 + length));
  }
  if (handshake.state() == Handshake::State::done && !peer.proved) std::abort();
}

// Bytes as they come.
void raw_bytes(const Peer& peer, std::string_view text) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) return;
  const os::Fd ours(ends[0]);
  const os::Fd theirs(ends[1]);
  wire::HandshakeIo io(ours.get(), peer.handshake());
  using State = wire::HandshakeIo::State;
  State state = State::going;
  for (std::size_t step = 1; !text.empty() && state == State::going; step = step * 3 % 97) {
    const std::string_view some = text.substr(0, step);
    if (::send(theirs.get(), some.data(), some.size(), MSG_NOSIGNAL) < 0) std::abort();
    text.remove_prefix(some.size());
    state = io.advance();
  }
  if (state == State::going) {
    ::shutdown(theirs.get(), SHUT_WR);
    if (io.advance() == State::going) std::abort();
  }
  if (state == State::done) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1 || size > kMostBytes) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  whole_messages(Peer(data[0]), text);
  raw_bytes(Peer(data[0]), text);
  return 0;
}
