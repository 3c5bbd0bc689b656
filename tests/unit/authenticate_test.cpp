#include "wire/authenticate.hpp"

#include <gtest/gtest.h>

#include <array>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "hex.hpp"
#include "wire/hmac.hpp"

namespace {

using namespace cohort::wire;
using test::from_hex;
using test::rising_bytes;
using test::to_hex;
using Role = Handshake::Role;
using State = Handshake::State;

const Credentials kMine{"abracadabra"};
const Credentials kStrict{"abracadabra", true};
const std::string kLegacy = rising_bytes(0x10, 20);
const std::string kModern = "{sha256}" + rising_bytes(0x40, 40);

// What two CPythons said to each other whose key was "abracadabra": what each was asked, and what
// it answered.
struct Transcript {
  const char* who;
  const char* to_client;
  const char* by_client;
  const char* to_server;
  const char* by_server;
};
constexpr std::array kTranscripts{std::to_array<Transcript>({
    {"server 3.11, client 3.11", "e42887f6394b5775e09df633de1a6c0d1ef95505",
     "a5e2ab071730332a1252c531e98001cd", "a0535e8ed69409e426752f62b0296136d20b6dba",
     "ae2214dcb270b3b938f0b4bce8eb1dfd"},
    {"server 3.13, client 3.13",
     "7b7368613235367d64e6784937d069e153048dfb6181d3410b75e4125204dde34ce66a33bd969b0b7e9f9963ca39f"
     "fc0",
     "7b7368613235367dac669a820dc4664a9f0c8db394acf2e9fc222f7852afcf974d29c2e7a9d486e9",
     "7b7368613235367db5444d05a948d726822799a3a4b1174f131436a5bb1afefc7347675e0117f4a925133b8c6b642"
     "aa0",
     "7b7368613235367da5b06daacc65843ae2fb44d659546e6b02fc35a0eb19401eff08e3d93c36607d"},
    {"server 3.11, client 3.13", "790277c894f9664889e905929b33e84a57e9d1df",
     "6b8862f7811698ecd4242676bd926d73",
     "7b7368613235367d993e2cd494ddbe5676474b9649df2b9403610314d0c86e9facbdf6c5f377967f1af06ab1037af"
     "ea2",
     "4cc787331b1612d98cb8056781791653"},
    {"server 3.13, client 3.11",
     "7b7368613235367d3ed0eae8ca44bacae56b8980069556ef91f293eccbe4f37fffc5b40b4255630b913593c5fd694"
     "684",
     "970b218bd5ddaaafe96e68931d5a4217", "5fcd95209fd591dbdac925a4cd21bfd1b0d89dd7",
     "bcbb8ecafdc47e7a9a3befb4f8494179"},
})};

std::string answer(std::string_view challenge, const Credentials& mine = kMine) {
  return to_hex(respond(mine, challenge).value_or("refused"));
}
const std::string kRefused = to_hex("refused");

// ---- one question

// Whether this is what only an older peer says: MD5, though another digest was named.
bool is_old(std::string_view challenge, std::string_view response) {
  return challenge.size() > 2 * 20 && response.size() == 2 * 16;
}

TEST(Respond, GivesTheRecordedAnswersOfEveryVersion) {
  for (const auto& one : kTranscripts) {
    if (!is_old(one.to_client, one.by_client)) {
      EXPECT_EQ(answer(from_hex(one.to_client)), one.by_client) << one.who;
    }
    if (!is_old(one.to_server, one.by_server)) {
      EXPECT_EQ(answer(from_hex(one.to_server)), one.by_server) << one.who;
    }
  }
}

TEST(Respond, TwentyBytesAreTheOldFormWhateverTheyBeginWith) {
  EXPECT_EQ(answer(kLegacy), "45f897a2af70dac72a3861ac9da42946");
  EXPECT_EQ(answer("{md5}" + rising_bytes(0x10, 15)), "7b55ccc1f80536e7f9c7a7ca05362024");
}

TEST(Respond, TheNameThatWasAskedForIsPartOfTheMessageAndOfTheAnswer) {
  EXPECT_EQ(
      answer(kModern),
      to_hex("{sha256}") + "e98a91e75dd9d99a5b540a8f1cc0c5152ab59b455d9b555cdec4b49179e07331");
  EXPECT_EQ(
      answer("{sha256}" + rising_bytes(0x10, 20)),
      to_hex("{sha256}") + "0e0b89f3d83aab32c11b21e481335b60b7150818bf859b920161b4743b7ff761");
  for (Digest digest : kDigests) {
    const std::string name = "{" + std::string(name_of(digest)) + "}";
    const std::string challenge = name + rising_bytes(0x40, 40);
    EXPECT_EQ(answer(challenge), to_hex(name + *hmac(digest, kMine.key, challenge))) << name;
  }
}

TEST(Respond, WhatIsNoChallengeIsNotAnswered) {
  const std::string forty = rising_bytes(0x40, 40);
  const std::string refused[] = {
      "",
      "{sha256}",
      rising_bytes(0x10, 16),
      rising_bytes(0x10, 19),
      rising_bytes(0x10, 21),
      forty,
      "{sha512}" + forty,
      "{SHA256}" + forty,
      "{}" + forty,
      "{sha256" + forty,
      " {sha256}" + forty,
      "{sha256 }" + forty,
      "{sha3_2560}" + forty,
  };
  for (const auto& challenge : refused) EXPECT_EQ(answer(challenge), kRefused) << challenge;
}

TEST(Respond, MD5IsRefusedWhereItIsToBe) {
  EXPECT_EQ(answer(kLegacy, kStrict), kRefused);
  EXPECT_EQ(answer("{md5}" + rising_bytes(0x40, 40), kStrict), kRefused);
  EXPECT_EQ(answer(kModern, kStrict), answer(kModern));
}

// ---- one answer

TEST(Verify, AcceptsTheRecordedAnswersOfEveryVersion) {
  for (const auto& one : kTranscripts) {
    EXPECT_TRUE(verify(kMine, from_hex(one.to_client), from_hex(one.by_client))) << one.who;
    EXPECT_TRUE(verify(kMine, from_hex(one.to_server), from_hex(one.by_server))) << one.who;
    EXPECT_FALSE(verify({"another"}, from_hex(one.to_client), from_hex(one.by_client))) << one.who;
    EXPECT_FALSE(verify(kMine, from_hex(one.to_client), from_hex(one.by_server))) << one.who;
  }
}

TEST(Verify, TheAnswerMayNameAnyDigestAndOldPeersNameNone) {
  EXPECT_TRUE(verify(kMine, kModern, from_hex("ef386ff7d6605e3d4d9069b4e5acb05a")));
  for (Digest digest : kDigests) {
    const std::string name = "{" + std::string(name_of(digest)) + "}";
    EXPECT_TRUE(verify(kMine, kModern, name + *hmac(digest, kMine.key, kModern))) << name;
  }
}

TEST(Verify, MD5IsRefusedWhereItIsToBe) {
  const std::string md5 = *hmac(Digest::md5, kMine.key, kModern);
  EXPECT_FALSE(verify(kStrict, kModern, md5));
  EXPECT_FALSE(verify(kStrict, kModern, "{md5}" + md5));
  EXPECT_TRUE(verify(kStrict, kModern, *respond(kMine, kModern)));
}

TEST(Verify, RefusesWhatProvesNothing) {
  const std::string code = *hmac(Digest::sha256, kMine.key, kModern);
  const std::string refused[] = {
      "",
      "{sha256}",
      code,
      "{SHA256}" + code,
      "{sha512}" + code,
      "{sha1}" + code.substr(0, 20),
      "{sha256}" + code.substr(0, 31),
      "{sha256}" + code + "x",
      "{sha384}" + code,
      "{sha256}" + *hmac(Digest::sha256, "another", kModern),
      "{sha256}" + *hmac(Digest::sha256, kMine.key, kModern.substr(8)),
      *hmac(Digest::md5, kMine.key, kModern.substr(8)),
      std::string(20, 'x'),
      std::string(16, '\0'),
  };
  for (const auto& response : refused)
    EXPECT_FALSE(verify(kMine, kModern, response)) << to_hex(response);
}

TEST(NewChallenge, IsNewEachTimeAndOfTheLengthThatEveryVersionTakes) {
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    const std::string challenge = new_challenge();
    EXPECT_TRUE(challenge.starts_with("{sha256}"));
    EXPECT_EQ(challenge.size(), 48u);
    seen.insert(challenge);
  }
  EXPECT_EQ(seen.size(), 100u);
}

// ---- all six messages

struct Outcome {
  State server;
  State client;
  std::vector<std::string> said;
};

Outcome run(Handshake server, Handshake client) {
  Outcome outcome{};
  std::optional<std::string> message = server.first_message();
  EXPECT_FALSE(client.first_message());
  Handshake* listener = &client;
  while (message) {
    outcome.said.push_back(*message);
    message = listener->take(*message);
    listener = listener == &client ? &server : &client;
  }
  outcome.server = server.state();
  outcome.client = client.state();
  return outcome;
}

TEST(HandshakeOfTwo, WithOneKeyBothAreDoneAfterSixMessages) {
  const Outcome outcome = run({Role::accepting, kMine}, {Role::connecting, kMine});
  EXPECT_EQ(outcome.server, State::done);
  EXPECT_EQ(outcome.client, State::done);
  ASSERT_EQ(outcome.said.size(), 6u);
  EXPECT_TRUE(outcome.said[0].starts_with("#CHALLENGE#{sha256}"));
  EXPECT_EQ(outcome.said[1].size(), 40u);
  EXPECT_EQ(outcome.said[2], "#WELCOME#");
  EXPECT_TRUE(outcome.said[3].starts_with("#CHALLENGE#{sha256}"));
  EXPECT_NE(outcome.said[3], outcome.said[0]);
  EXPECT_EQ(outcome.said[5], "#WELCOME#");
  for (const auto& message : outcome.said) EXPECT_LE(message.size(), kMostHandshakeBytes);
}

TEST(HandshakeOfTwo, AnEmptyKeyIsAKey) {
  EXPECT_EQ(run({Role::accepting, {}}, {Role::connecting, {}}).client, State::done);
  EXPECT_EQ(run({Role::accepting, {}}, {Role::connecting, kMine}).client, State::failed);
}

TEST(HandshakeOfTwo, WithTwoKeysBothFailAndNeitherWaits) {
  const Outcome outcome = run({Role::accepting, kMine}, {Role::connecting, {"another"}});
  EXPECT_EQ(outcome.server, State::failed);
  EXPECT_EQ(outcome.client, State::failed);
  ASSERT_EQ(outcome.said.size(), 3u);
  EXPECT_EQ(outcome.said[2], "#FAILURE#");
}

// Each role of ours in the place of one of the two, asking what that one had asked.
TEST(HandshakeWithARecordedPeer, EveryVersionIsMetInBothRoles) {
  for (const auto& one : kTranscripts) {
    Handshake server(Role::accepting, kMine, from_hex(one.to_client));
    EXPECT_EQ(server.first_message(), "#CHALLENGE#" + from_hex(one.to_client)) << one.who;
    EXPECT_EQ(server.take(from_hex(one.by_client)), "#WELCOME#") << one.who;
    EXPECT_TRUE(server.take("#CHALLENGE#" + from_hex(one.to_server))) << one.who;
    EXPECT_EQ(server.take("#WELCOME#"), std::nullopt) << one.who;
    EXPECT_EQ(server.state(), State::done) << one.who;

    Handshake client(Role::connecting, kMine, from_hex(one.to_server));
    EXPECT_TRUE(client.take("#CHALLENGE#" + from_hex(one.to_client))) << one.who;
    EXPECT_EQ(client.take("#WELCOME#"), "#CHALLENGE#" + from_hex(one.to_server)) << one.who;
    EXPECT_EQ(client.take(from_hex(one.by_server)), "#WELCOME#") << one.who;
    EXPECT_EQ(client.state(), State::done) << one.who;
  }
}

TEST(HandshakeWithARecordedPeer, TheOldFormAndTheNewOneBothWork) {
  for (const std::string& challenge : {kLegacy, kModern}) {
    const Outcome outcome = run({Role::accepting, kMine, challenge}, {Role::connecting, kMine});
    EXPECT_EQ(outcome.server, State::done);
    EXPECT_EQ(outcome.client, State::done);
    EXPECT_EQ(outcome.said[1], *respond(kMine, challenge));
  }
}

TEST(HandshakeWithAStranger, AnAnswerThatIsJunkFails) {
  for (const std::string junk : {"something bogus", "", "#WELCOME#", "#CHALLENGE#"}) {
    Handshake server(Role::accepting, kMine);
    server.first_message();
    EXPECT_EQ(server.take(junk), "#FAILURE#") << junk;
    EXPECT_EQ(server.state(), State::failed) << junk;
    EXPECT_STRNE(server.reason(), "");

    Handshake client(Role::connecting, kMine);
    client.take("#CHALLENGE#" + kModern);
    client.take("#WELCOME#");
    EXPECT_EQ(client.take(junk), "#FAILURE#") << junk;
    EXPECT_EQ(client.state(), State::failed) << junk;
  }
}

TEST(HandshakeWithAStranger, AQuestionThatIsJunkIsNotAnswered) {
  for (const std::string junk : {"something bogus", "", "#CHALLENGE#", "#CHALLENGE#short",
                                 "challenge: and then a lot of bytes", "#WELCOME#"}) {
    Handshake client(Role::connecting, kMine);
    EXPECT_EQ(client.take(junk), std::nullopt) << junk;
    EXPECT_EQ(client.state(), State::failed) << junk;
  }
}

TEST(HandshakeWithAStranger, NothingButAWelcomeIsAWelcome) {
  for (const std::string verdict : {"#FAILURE#", "", "#welcome#", "#WELCOME# ", "#WELCOME"}) {
    Handshake client(Role::connecting, kMine);
    client.take("#CHALLENGE#" + kModern);
    EXPECT_EQ(client.take(verdict), std::nullopt) << verdict;
    EXPECT_EQ(client.state(), State::failed) << verdict;

    Handshake server(Role::accepting, kMine, kModern);
    server.take(*respond(kMine, kModern));
    server.take("#CHALLENGE#" + kModern);
    EXPECT_EQ(server.take(verdict), std::nullopt) << verdict;
    EXPECT_EQ(server.state(), State::failed) << verdict;
  }
}

TEST(HandshakeWithAStranger, NothingIsSaidAfterItFailed) {
  Handshake server(Role::accepting, kMine, kModern);
  server.take("junk");
  EXPECT_EQ(server.take(*respond(kMine, kModern)), std::nullopt);
  EXPECT_EQ(server.state(), State::failed);
}

TEST(HandshakeWithAStranger, OneWhoAsksForMD5IsRefusedWhereItIsToBe) {
  EXPECT_EQ(run({Role::accepting, kMine, kLegacy}, {Role::connecting, kStrict}).client,
            State::failed);
  EXPECT_EQ(run({Role::accepting, kStrict}, {Role::connecting, kMine}).client, State::done);
  EXPECT_EQ(run({Role::accepting, kStrict}, {Role::connecting, kStrict}).server, State::done);
}

}  // namespace
