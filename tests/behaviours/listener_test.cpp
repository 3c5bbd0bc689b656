#include <cohort/connection.hpp>
#include <filesystem>
#include <future>
#include <optional>
#include <string>
#include <system_error>

#include "raw_peer.hpp"
#include "sync_fixture.hpp"
#include "wire/authenticate.hpp"

namespace {

using namespace test;
using namespace std::string_literals;
using cohort::AuthenticationError;
using cohort::connection::Client;
using cohort::connection::Connection;
using cohort::connection::Listener;
using Key = std::optional<std::string>;

class ListenerClient : public EachMethod {};
INSTANTIATE_TEST_SUITE_P(Methods, ListenerClient, every_method(), method_name);
class ListenerTest : public Watched {};
class Auth : public EachMethod {};
INSTANTIATE_TEST_SUITE_P(Methods, Auth, every_method(), method_name);

std::string text(const Connection& connection) {
  const auto bytes = connection.recv_bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// behaviour: Listener/scope-closes
TEST_F(ListenerTest, AfterItsScopeAcceptIsAnErrorOfTheSystem) {
  std::optional<Listener> kept;
  {
    Listener listener;
    EXPECT_FALSE(listener.closed());
    listener.close();
    kept.emplace(std::move(listener));
  }
  EXPECT_TRUE(kept->closed());
  try {
    kept->accept();
    FAIL() << "somebody was accepted";
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code(), std::errc::bad_file_descriptor);
  }
}

// behaviour: Listener/no-argument-address
TEST_P(ListenerClient, WithoutAnAddressItPicksAFreeOneThatOthersCanConnectTo) {
  Listener listener;
  Listener another;
  EXPECT_NE(listener.address(), another.address());
  Children children(GetParam());
  children.add(
      [](const std::string& address) {
        const Connection connection = Client({.address = address});
        connection.send_bytes("hello");
        require(text(connection) == "goodbye", "the answer");
      },
      listener.address());
  const Connection connection = listener.accept();
  EXPECT_EQ(text(connection), "hello");
  connection.send_bytes("goodbye");
  children.join();
}

// behaviour: Listener/client-gone-before-accept
TEST_P(ListenerClient, WhatAClientSaidIsThereThoughItLeftBeforeItWasAccepted) {
  for (const char* address : {"127.0.0.1:0", "unix:@cohort-test-gone-before-accept", ""}) {
    Listener listener({.address = address});
    Children children(GetParam());
    children.add(
        [](const std::string& where) {
          const Connection connection = Client({.address = where});
          connection.send_bytes("hello");
          connection.close();
        },
        listener.address());
    children.join();
    const Connection connection = listener.accept();
    EXPECT_EQ(text(connection), "hello");
    EXPECT_THROW(connection.recv_bytes(), cohort::EndOfFile);
  }
}

// behaviour: Listener/data-visible-to-poll
TEST_P(ListenerClient, WhatTheAcceptingSideSendsMakesTheClientsPollTrue) {
  for (const char* address : {"127.0.0.1:0", ""}) {
    Listener listener({.address = address});
    Children children(GetParam());
    children.add(
        [](const std::string& where) {
          const Connection connection = Client({.address = where});
          require(connection.poll(kPatience), "poll");
          require(text(connection) == "hello", "what came");
        },
        listener.address());
    const Connection connection = listener.accept();
    connection.send_bytes("hello");
    children.join();
  }
}

// behaviour: Listener/abstract-socket
TEST_P(ListenerClient, AnAddressThatBeginsWithAZeroByteIsAnAbstractSocket) {
  const auto say_hello = [](const std::string& address) {
    Client({.address = address}).send_bytes("hello");
  };
  const std::string zero = "\0cohort-test-abstract"s;
  for (const std::string& address : {zero, "unix:@cohort-test-abstract"s}) {
    Listener listener({.address = address});
    EXPECT_EQ(listener.address(), "unix:@cohort-test-abstract");
    EXPECT_FALSE(std::filesystem::exists("cohort-test-abstract"));
    for (const std::string& where : {zero, listener.address()}) {
      Children children(GetParam());
      children.add(say_hello, where);
      EXPECT_EQ(text(listener.accept()), "hello");
      children.join();
    }
  }
}

// behaviour: Listener/family-of-other-platform
TEST_F(ListenerTest, TheNameOfAWindowsPipeIsABadValue) {
  const std::string pipe = R"(\\.\test)";
  EXPECT_THROW(Listener({.address = pipe}), std::invalid_argument);
  EXPECT_THROW(Client({.address = pipe}), std::invalid_argument);
}

// behaviour: Listener/backlog-and-many
TEST_F(ListenerTest, OneThreadMayConnectFirstAndAcceptThen) {
  Listener listener;
  std::vector<Connection> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(Client({.address = listener.address()}));
    clients.back().send_bytes(std::to_string(i));
  }
  for (int i = 0; i < 20; ++i) EXPECT_EQ(text(listener.accept()), std::to_string(i));
}

// ---- keys

void connect_with(const std::string& address, const Key& key) {
  Client({.address = address, .authkey = key}).send_bytes("hello");
}

// behaviour: Auth/empty-key-is-a-key
TEST_P(Auth, AnEmptyKeyIsAKey) {
  Listener listener({.authkey = ""});
  Children children(GetParam());
  children.add(connect_with, listener.address(), Key(""));
  EXPECT_EQ(text(listener.accept()), "hello");
  children.join();
  // It is asked for, as any other.
  const Connection keyless = Client({.address = listener.address()});
  EXPECT_FALSE(listener.accept_for(0s));
  EXPECT_TRUE(text(keyless).starts_with("#CHALLENGE#"));
}

// behaviour: Auth/bogus-answer-refused
TEST_F(ListenerTest, APeerThatAnswersAChallengeWithJunkIsAnAuthenticationError) {
  Listener listener({.address = "127.0.0.1:0", .authkey = "abc"});
  RawPeer client(listener.address());
  auto accepting = std::async(std::launch::async, [&] { listener.accept(); });
  client.receive();
  client.send("something bogus");
  EXPECT_THROW(accepting.get(), AuthenticationError);

  RawListener impostor("127.0.0.1:0");
  auto connecting = std::async(std::launch::async,
                               [&] { Client({.address = impostor.address(), .authkey = "abc"}); });
  RawPeer server = impostor.accept();
  server.send("#CHALLENGE#" + cohort::wire::new_challenge());
  server.receive();
  server.send("#WELCOME#");
  server.receive();
  server.send("something bogus");
  EXPECT_THROW(connecting.get(), AuthenticationError);
}

// behaviour: Auth/wrong-key-both-sides
TEST_P(Auth, WithDifferentKeysBothSidesSaySoAndNeitherHangs) {
  const auto fails_with = [](const std::string& address, const Key& key) {
    try {
      connect_with(address, key);
    } catch (const AuthenticationError&) {
      return;
    }
    require(false, "refused");
  };
  for (const char* address : {"127.0.0.1:0", ""}) {
    Listener listener({.address = address, .authkey = "one key"});
    for (const char* key : {"another key", "one ke", "one keyy", ""}) {
      Children children(GetParam());
      children.add(fails_with, listener.address(), Key(key));
      EXPECT_THROW(listener.accept(), AuthenticationError) << key;
      children.join();
    }
    Children children(GetParam());
    children.add(connect_with, listener.address(), Key("one key"));
    EXPECT_EQ(text(listener.accept()), "hello") << "it goes on as before";
    children.join();
  }
}

// behaviour: Auth/md5-legacy-and-sha256
TEST_F(ListenerTest, TheOldFormOfTheHandshakeAndTheNewOneBothLetIn) {
  using cohort::wire::Credentials;
  const Credentials mine{"abc"};
  for (const std::string& challenge : {std::string(20, '?'), cohort::wire::new_challenge()}) {
    RawListener raw("127.0.0.1:0");
    auto connecting = std::async(
        std::launch::async, [&] { return Client({.address = raw.address(), .authkey = "abc"}); });
    RawPeer peer = raw.accept();
    peer.send("#CHALLENGE#" + challenge);
    const std::string response = peer.receive();
    EXPECT_EQ(response.size(), challenge.size() == 20 ? 16u : 40u);
    EXPECT_TRUE(cohort::wire::verify(mine, challenge, response));
    peer.send("#WELCOME#");
    peer.send(*cohort::wire::respond(mine, peer.receive().substr(11)));
    EXPECT_EQ(peer.receive(), "#WELCOME#");
    connecting.get().send_bytes("hello");
    EXPECT_EQ(peer.receive(), "hello");
  }
}

// ---- signals

// behaviour: Listener/accept-survives-signal
TEST_P(ListenerClient, AnAcceptThatASignalInterruptsGoesOnAndTakesTheNextClient) {
  for (const Key& key : {Key(), Key("abc")}) {
    const Channel channel = Channel::make();
    const Cells handled(1);
    Children children(GetParam());
    Process& server = children.add(
        [](const Channel& out, const Cells& count, const Key& authkey) {
          static Cells* counter;
          Cells mine = count;
          counter = &mine;
          ::signal(SIGUSR1, [](int) { (*counter)[0].fetch_add(1); });
          Listener listener({.authkey = authkey});
          out.send(listener.address());
          require(text(listener.accept()) == "hello", "what the client said");
        },
        channel, handled, key);
    const auto address = channel.receive<std::string>();
    for (std::uint32_t i = 0; i < 5; ++i) {
      EXPECT_TRUE(eventually([&] { return stat_of(server.pid()).state == 'S'; }));
      send(server.pid(), SIGUSR1);
      EXPECT_TRUE(eventually([&] { return handled[0].load() == i + 1; }));
    }
    connect_with(address, key);
    children.join();
  }
}

}  // namespace
