// The handshake by which both ends of a connection prove that they have the same key, as CPython's
// multiprocessing.connection does it (3.8 and newer). Six messages in turn, the accepting end's
// first:
//
//   accepting -> connecting   #CHALLENGE# and something new
//   connecting -> accepting   the response: its keyed digest
//   accepting -> connecting   #WELCOME# or #FAILURE#
//
// and then the same three the other way round. Up to 3.11 the new thing is 20 random bytes, and the
// response their HMAC-MD5. From 3.12 on it begins with the name of a digest in braces, and so does
// the response; but an older peer takes that for random bytes, all of it, and answers as ever.
//
// This file knows no sockets: messages come and go as strings.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace cohort::wire {

// More than that no message of a handshake has.
inline constexpr std::size_t kMostHandshakeBytes = 256;

// What one end knows and accepts.
struct Credentials {
  std::string key;
  // Neither answers a challenge in MD5 nor takes such a response: peers up to 3.11 cannot connect.
  bool refuse_md5 = false;
};

// {sha256} and 40 random bytes.
std::string new_challenge();
// What to answer to a challenge (without the word before it); none when it must not be answered.
std::optional<std::string> respond(const Credentials& mine, std::string_view challenge);
// Whether this is what somebody answers who has the key. He may choose the digest.
bool verify(const Credentials& mine, std::string_view challenge, std::string_view response);

// One end of a handshake.
class Handshake {
 public:
  enum class Role { accepting, connecting };
  enum class State { going, done, failed };

  Handshake(Role role, Credentials mine, std::string challenge = new_challenge());

  // What to send before anything came; the connecting end sends nothing.
  std::optional<std::string> first_message();
  // Takes the peer's next message, while it is going. Answers what to send; a #FAILURE# is to be
  // sent as well.
  std::optional<std::string> take(std::string_view message);

  State state() const noexcept { return state_; }
  // Once it failed: why, for our side only. The peer is not told.
  const char* reason() const noexcept { return reason_; }

 private:
  enum class Awaited { challenge, verdict, response };

  std::optional<std::string> take_challenge(std::string_view message);
  std::optional<std::string> take_verdict(std::string_view message);
  std::optional<std::string> take_response(std::string_view message);
  std::string our_challenge();
  std::nullopt_t fail(const char* reason) noexcept;

  Role role_;
  Credentials mine_;
  std::string challenge_;
  Awaited awaited_;
  State state_ = State::going;
  const char* reason_ = "";
};

}  // namespace cohort::wire
