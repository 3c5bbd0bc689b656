#include "wire/authenticate.hpp"

#include <utility>

#include "os/random.hpp"
#include "wire/hmac.hpp"

namespace cohort::wire {
namespace {

constexpr std::string_view kChallenge = "#CHALLENGE#";
constexpr std::string_view kWelcome = "#WELCOME#";
constexpr std::string_view kFailure = "#FAILURE#";

constexpr std::size_t kRandomBytes = 40;
constexpr std::size_t kLegacyChallenge = 20;
constexpr std::size_t kLegacyResponse = 16;
constexpr std::size_t kLongestDigestName = 8;

// A digest's name in braces, and what comes behind.
struct Named {
  Digest digest;
  std::string_view rest;
};

std::optional<Named> split_name(std::string_view text) {
  if (!text.starts_with('{')) return std::nullopt;
  const std::size_t end = text.substr(0, kLongestDigestName + 2).find('}');
  if (end == std::string_view::npos) return std::nullopt;
  const auto digest = digest_named(text.substr(1, end - 1));
  if (!digest) return std::nullopt;
  return Named{*digest, text.substr(end + 1)};
}

std::string with_name(Digest digest, std::string_view rest) {
  std::string text = "{";
  return text.append(name_of(digest)).append("}").append(rest);
}

std::optional<std::string> named_response(Digest digest, const Credentials& mine,
                                          std::string_view challenge) {
  auto code = hmac(digest, mine.key, challenge);
  if (code) code = with_name(digest, *code);
  return code;
}

}  // namespace

std::string new_challenge() {
  std::string bytes(kRandomBytes, '\0');
  os::fill_random(bytes);
  return with_name(Digest::sha256, bytes);
}

std::optional<std::string> respond(const Credentials& mine, std::string_view challenge) {
  // By its length alone, whatever it begins with.
  if (challenge.size() == kLegacyChallenge) {
    if (mine.refuse_md5) return std::nullopt;
    if (auto code = hmac(Digest::md5, mine.key, challenge)) return code;
    return named_response(Digest::sha256, mine, challenge);  // no MD5 on this machine
  }
  // What is short could be had for a digest of the peer's choice of message.
  if (challenge.size() < kLegacyChallenge) return std::nullopt;
  const auto named = split_name(challenge);
  if (!named || (mine.refuse_md5 && named->digest == Digest::md5)) return std::nullopt;
  return named_response(named->digest, mine, challenge);
}

bool verify(const Credentials& mine, std::string_view challenge, std::string_view response) {
  Named answer{Digest::md5, response};
  if (response.size() != kLegacyResponse) {
    const auto named = split_name(response);
    if (!named) return false;
    answer = *named;
  }
  if (mine.refuse_md5 && answer.digest == Digest::md5) return false;
  const auto code = hmac(answer.digest, mine.key, challenge);
  return code && equal_secrets(*code, answer.rest);
}

Handshake::Handshake(Role role, Credentials mine, std::string challenge)
    : role_(role),
      mine_(std::move(mine)),
      challenge_(std::move(challenge)),
      awaited_(role == Role::accepting ? Awaited::response : Awaited::challenge) {}

std::optional<std::string> Handshake::first_message() {
  if (role_ == Role::connecting) return std::nullopt;
  return our_challenge();
}

std::optional<std::string> Handshake::take(std::string_view message) {
  if (state_ != State::going) return std::nullopt;
  switch (awaited_) {
    case Awaited::challenge:
      return take_challenge(message);
    case Awaited::verdict:
      return take_verdict(message);
    case Awaited::response:
      return take_response(message);
  }
  return std::nullopt;
}

std::optional<std::string> Handshake::take_challenge(std::string_view message) {
  if (!message.starts_with(kChallenge))
    return fail("the other end did not ask for a key: it has none, or speaks another protocol");
  auto response = respond(mine_, message.substr(kChallenge.size()));
  if (!response) return fail("the other end asks in a way that is not answered");
  awaited_ = Awaited::verdict;
  return response;
}

std::optional<std::string> Handshake::take_verdict(std::string_view message) {
  if (message != kWelcome) return fail("the other end has another key");
  if (role_ == Role::accepting) {
    state_ = State::done;
    return std::nullopt;
  }
  awaited_ = Awaited::response;
  return our_challenge();
}

std::optional<std::string> Handshake::take_response(std::string_view message) {
  if (!verify(mine_, challenge_, message)) {
    fail("the other end did not prove that it has the key");
    return std::string(kFailure);
  }
  if (role_ == Role::connecting) {
    state_ = State::done;
  } else {
    awaited_ = Awaited::challenge;
  }
  return std::string(kWelcome);
}

std::string Handshake::our_challenge() { return std::string(kChallenge) + challenge_; }

std::nullopt_t Handshake::fail(const char* reason) noexcept {
  state_ = State::failed;
  reason_ = reason;
  return std::nullopt;
}

}  // namespace cohort::wire
