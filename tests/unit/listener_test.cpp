#include "cohort/listener.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cohort/process.hpp>
#include <filesystem>
#include <functional>
#include <future>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "cohort/connection.hpp"
#include "processes.hpp"
#include "raw_peer.hpp"
#include "wire/authenticate.hpp"

namespace {

using namespace test;
using cohort::AuthenticationError;
using cohort::connection::Client;
using cohort::connection::ClientOptions;
using cohort::connection::Connection;
using cohort::connection::Listener;
using cohort::connection::ListenerOptions;
namespace fs = std::filesystem;
using namespace std::string_literals;

const std::string kKey = "a key";

std::string text(const Connection& connection) {
  const auto bytes = connection.recv_bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// The errno of what it throws; 0 when it throws nothing.
int error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::system_error& error) {
    return error.code().value();
  }
  return 0;
}

// A connection that is made at the same time, in a thread of its own.
std::future<Connection> connect_aside(const ClientOptions& options) {
  return std::async(std::launch::async, [options] { return Client(options); });
}
std::future<Connection> connect_aside(const Listener& listener) {
  return connect_aside({.address = listener.address(), .authkey = kKey});
}

// Its part of a handshake with the listener, as any program may write it.
void prove(RawPeer& peer, const std::string& key = kKey) {
  const std::string challenge = peer.receive();
  peer.send(*cohort::wire::respond({key}, challenge.substr(11)));
  if (peer.receive() != "#WELCOME#") throw AuthenticationError();
  peer.send("#CHALLENGE#" + cohort::wire::new_challenge());
  peer.receive();
  peer.send("#WELCOME#");
}

class ListenerTest : public Watched {};

// ---- addresses

class EachAddress : public Watched, public testing::WithParamInterface<const char*> {};
INSTANTIATE_TEST_SUITE_P(Forms, EachAddress,
                         testing::Values("127.0.0.1:0", "localhost:0", ":0", "[::1]:0",
                                         "unix:@cohort-test-each-address", ""));

TEST_P(EachAddress, WhatTheListenerReportsIsWhatAClientTakes) {
  if (GetParam() == "[::1]:0"s && error_of([] { Listener({.address = "[::1]:0"}); }) != 0)
    GTEST_SKIP() << "no IPv6 on this machine";
  for (const auto& key : {std::optional<std::string>(), std::optional(kKey)}) {
    Listener listener({.address = GetParam(), .authkey = key});
    auto connecting = connect_aside({.address = listener.address(), .authkey = key});
    const Connection ours = listener.accept();
    const Connection theirs = connecting.get();
    theirs.send_bytes("to the listener");
    EXPECT_EQ(text(ours), "to the listener");
    ours.send_bytes("to the client");
    EXPECT_EQ(text(theirs), "to the client");
  }
}

TEST_F(ListenerTest, TheOneThatWasAcceptedLastIsNamedWhereItHasAName) {
  Listener tcp({.address = "127.0.0.1:0"});
  EXPECT_EQ(tcp.last_accepted(), "");
  const Connection client = Client({.address = tcp.address()});
  const Connection accepted = tcp.accept();
  EXPECT_EQ(tcp.last_accepted(),
            cohort::connection::text_of(cohort::os::local_address(client.fileno())));
  Listener local;
  const Connection other = Client({.address = local.address()});
  EXPECT_TRUE(local.accept_for(kPatience));
  EXPECT_EQ(local.last_accepted(), "");
}

TEST_F(ListenerTest, AnAddressThatIsTakenIsNamedInTheError) {
  Listener first({.address = "127.0.0.1:0"});
  try {
    Listener second({.address = first.address()});
    FAIL() << "two listen at " << first.address();
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code(), std::errc::address_in_use);
    EXPECT_NE(std::string(error.what()).find(first.address()), std::string::npos) << error.what();
  }
}

TEST_F(ListenerTest, WhatIsNoAddressOrNoLimitIsRefused) {
  EXPECT_THROW(Listener({.address = "nowhere"}), std::invalid_argument);
  EXPECT_THROW(Listener({.backlog = -1}), std::invalid_argument);
  EXPECT_THROW(Listener({.handshake_timeout = 0s}), std::invalid_argument);
  EXPECT_THROW(Client({}), std::invalid_argument);
  EXPECT_THROW(Client({.address = "127.0.0.1:0"}), std::invalid_argument);
  Listener listener;
  EXPECT_THROW(Client({.address = listener.address(), .handshake_timeout = -1s}),
               std::invalid_argument);
}

TEST_F(ListenerTest, ItsDescriptorsAreNotLeftToOtherPrograms) {
  const auto before = open_descriptors();
  Listener listener({.authkey = kKey});
  auto connecting = connect_aside(listener);
  const Connection ours = listener.accept();
  const Connection theirs = connecting.get();
  for (int fd : open_descriptors()) {
    if (std::find(before.begin(), before.end(), fd) != before.end()) continue;
    EXPECT_EQ(::fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC) << fd;
  }
}

// ---- the file of a Unix socket

TEST_F(ListenerTest, TheFolderOfANewAddressIsForThisUserAloneAndGoesWithTheListener) {
  Listener listener;
  ASSERT_TRUE(listener.address().starts_with("unix:/")) << listener.address();
  const fs::path file = listener.address().substr(5);
  EXPECT_TRUE(fs::is_socket(file));
  EXPECT_EQ(fs::status(file.parent_path()).permissions(), fs::perms::owner_all);
  listener.close();
  EXPECT_FALSE(fs::exists(file.parent_path()));
  EXPECT_EQ(error_of([&] { Client({.address = listener.address()}); }), ENOENT);
}

TEST_F(ListenerTest, TheFileOfAGivenPathGoesWithTheListenerAndItsFolderStays) {
  const Folder folder;
  const fs::path file = folder / "socket";
  {
    Listener listener({.address = "unix:" + file.string()});
    EXPECT_EQ(listener.address(), "unix:" + file.string());
    EXPECT_TRUE(fs::is_socket(file));
  }
  EXPECT_FALSE(fs::exists(file));
  EXPECT_TRUE(fs::exists(file.parent_path()));
}

TEST_F(ListenerTest, AFileThatIsInItsPlaceIsNotTouched) {
  const Folder folder;
  const std::string address = "unix:" + (folder / "socket").string();
  std::ofstream(folder / "socket") << "somebody's";
  EXPECT_EQ(error_of([&] { Listener({.address = address}); }), EADDRINUSE);
  EXPECT_EQ(content_of(folder / "socket"), "somebody's");

  fs::remove(folder / "socket");
  Listener listener({.address = address});
  fs::remove(folder / "socket");
  std::ofstream(folder / "socket") << "somebody's";
  listener.close();
  EXPECT_EQ(content_of(folder / "socket"), "somebody's");
}

TEST_F(ListenerTest, ARelativePathIsTheSameFileFromAnotherWorkingDirectory) {
  const Folder folder;
  const fs::path before = fs::current_path();
  fs::current_path(folder / ".");
  Listener listener({.address = "unix:socket"});
  EXPECT_EQ(listener.address(), "unix:socket");
  fs::current_path(before);
  EXPECT_TRUE(fs::is_socket(folder / "socket"));
  listener.close();
  EXPECT_FALSE(fs::exists(folder / "socket"));
}

TEST_F(ListenerTest, AForkedProcessDoesNotRemoveTheFile) {
  Listener listener;
  auto child = cohort::Process::forked([&] { listener.close(); });
  child.start();
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
  const Connection client = Client({.address = listener.address()});
  EXPECT_TRUE(listener.accept_for(kPatience));
}

class EndOfTheMaker : public Watched, public testing::WithParamInterface<StartMethod> {};
INSTANTIATE_TEST_SUITE_P(Methods, EndOfTheMaker, every_method(), method_name);

TEST_P(EndOfTheMaker, TheFileGoesWhetherItExitsOrIsKilled) {
  const auto listen = [](const Channel& out, bool exits) {
    Listener listener;
    out.send(listener.address());
    if (exits) std::exit(3);  // and nobody's destructors run
    listener.accept();
  };
  for (const bool exits : {true, false}) {
    const Channel channel = Channel::make();
    Process child({.start_method = GetParam()}, listen, channel, exits);
    child.start();
    const fs::path file = channel.receive<std::string>().substr(5);
    if (!exits) {
      EXPECT_TRUE(fs::is_socket(file));
      child.kill();
    }
    child.join();
    EXPECT_EQ(child.exitcode(), exits ? 3 : -SIGKILL);
    EXPECT_TRUE(eventually([&] { return !fs::exists(file.parent_path()); })) << file;
  }
}

TEST_P(EndOfTheMaker, ItsClientsAreHungUpOnWhenItIsKilled) {
  const auto listen = [](const Channel& out) {
    Listener listener({.address = "127.0.0.1:0", .authkey = kKey});
    out.send(listener.address());
    for (;;) {
      if (auto connection = listener.accept_for(kPatience)) connection->recv_bytes();
    }
  };
  const Channel channel = Channel::make();
  Process child({.start_method = GetParam()}, listen, channel);
  child.start();
  const auto address = channel.receive<std::string>();
  const Connection accepted = Client({.address = address, .authkey = kKey});
  child.kill();
  EXPECT_THROW(accepted.recv_bytes(), cohort::EndOfFile);
  child.join();
  EXPECT_EQ(error_of([&] { Client({.address = address}); }), ECONNREFUSED);
}

TEST_F(ListenerTest, AMakerThatIsKilledWhileItMakesTheFileLeavesNone) {
  const std::size_t before = static_cast<std::size_t>(
      std::distance(fs::directory_iterator(fs::temp_directory_path()), fs::directory_iterator()));
  for (const char* step : {"listener.noted", "listener.bound", "listener.bound_and_noted"}) {
    Member maker([&] {
      die_at(step);
      Listener listener;
    });
    EXPECT_EQ(maker.wait(), -SIGKILL) << step;
    EXPECT_TRUE(maker.bury());
    EXPECT_TRUE(eventually([&] {
      return static_cast<std::size_t>(std::distance(
                 fs::directory_iterator(fs::temp_directory_path()), fs::directory_iterator())) ==
             before;
    })) << step;
  }
}

// ---- waiting for clients

TEST_F(ListenerTest, AnAcceptWithALimitAnswersWhetherSomebodyCame) {
  Listener listener;
  EXPECT_FALSE(listener.accept_for(0s));
  EXPECT_FALSE(listener.accept_for(-1s));
  EXPECT_FALSE(listener.accept_for(1ms));
  const Connection client = Client({.address = listener.address()});
  EXPECT_TRUE(listener.accept_for(0s));
  EXPECT_FALSE(listener.accept_for(0s));
}

TEST_F(ListenerTest, CanBeWaitedForBesideOtherThings) {
  for (const auto& key : {std::optional<std::string>(), std::optional(kKey)}) {
    Listener listener({.authkey = key});
    EXPECT_TRUE(cohort::connection::wait({listener}, 0s).empty());
    auto connecting = connect_aside({.address = listener.address(), .authkey = key});
    std::optional<Connection> ours;
    while (!ours) {
      const auto ready = cohort::connection::wait({listener}, kPatience);
      ASSERT_EQ(ready.size(), 1u);
      EXPECT_TRUE(ready[0] == listener);
      ours = listener.accept_for(0s);
    }
    // What those say who are in is no concern of the listener's any more.
    const Connection theirs = connecting.get();
    theirs.send_bytes("hello");
    EXPECT_TRUE(ours->poll(kPatience));
    EXPECT_TRUE(cohort::connection::wait({listener}, 0s).empty());
  }
}

TEST_F(ListenerTest, OneWhoseHandshakeHasBegunIsWaitedForToo) {
  Listener listener({.authkey = kKey});
  RawPeer slow(listener.address());
  EXPECT_FALSE(listener.accept_for(0s));  // it has been let in as far as the door
  const std::string challenge = slow.receive();
  EXPECT_TRUE(cohort::connection::wait({listener}, 0s).empty());
  slow.send(*cohort::wire::respond({kKey}, challenge.substr(11)));
  EXPECT_EQ(cohort::connection::wait({listener}, kPatience).size(), 1u);
}

TEST_F(ListenerTest, CloseEndsTheAcceptsOfOtherThreads) {
  Listener listener;
  std::vector<std::future<int>> waiting;
  for (int i = 0; i < 3; ++i) {
    waiting.push_back(
        std::async(std::launch::async, [&] { return error_of([&] { listener.accept(); }); }));
  }
  listener.close();
  for (auto& one : waiting) EXPECT_EQ(one.get(), EBADF);
}

TEST_F(ListenerTest, AClosedOneHasNoDescriptorsAndKeepsItsAddress) {
  Listener().close();  // the first one makes what stays
  const auto before = open_descriptors();
  Listener listener({.authkey = kKey});
  RawPeer pending(listener.address());
  EXPECT_FALSE(listener.accept_for(0s));
  const std::string address = listener.address();
  listener.close();
  listener.close();
  EXPECT_TRUE(listener.closed());
  EXPECT_EQ(listener.address(), address);
  EXPECT_EQ(error_of([&] { listener.accept(); }), EBADF);
  EXPECT_EQ(error_of([&] { listener.accept_for(0s); }), EBADF);
  EXPECT_EQ(error_of([&] { listener.fileno(); }), EBADF);
  pending.hang_up();
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(ListenerTest, MovesAndTheOneThatWasMovedFromIsClosed) {
  Listener first;
  const std::string address = first.address();
  Listener second = std::move(first);
  EXPECT_TRUE(first.closed());
  EXPECT_EQ(error_of([&] { first.accept(); }), EBADF);
  const Connection client = Client({.address = address});
  EXPECT_TRUE(second.accept_for(kPatience));
  second = Listener();
  EXPECT_EQ(error_of([&] { Client({.address = address}); }), ENOENT);
}

TEST_F(ListenerTest, AForkedProcessAcceptsBesideItsMaker) {
  Listener listener({.authkey = kKey});
  RawPeer pending(listener.address());
  EXPECT_FALSE(listener.accept_for(0s));  // the parent's, not the child's
  auto child = cohort::Process::forked([&] { listener.accept().send_bytes("from the child"); });
  child.start();
  const Connection theirs = Client({.address = listener.address(), .authkey = kKey});
  EXPECT_EQ(text(theirs), "from the child");
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
  auto proving = std::async(std::launch::async, [&] { prove(pending); });
  listener.accept().send_bytes("from the parent");
  proving.get();
  EXPECT_EQ(pending.receive(), "from the parent");
}

// ---- clients that do not do as they should

TEST_F(ListenerTest, ASilentClientKeepsNobodyElseWaiting) {
  Listener listener({.address = "127.0.0.1:0", .authkey = kKey, .handshake_timeout = 1h});
  RawPeer silent(listener.address());
  RawPeer slow(listener.address());
  auto connecting = connect_aside(listener);
  listener.accept().send_bytes("hello");
  EXPECT_EQ(text(connecting.get()), "hello");
  // And the slow one has its turn when it comes to it.
  auto proving = std::async(std::launch::async, [&] { prove(slow); });
  listener.accept().send_bytes("hello to you, too");
  proving.get();
  EXPECT_EQ(slow.receive(), "hello to you, too");
}

TEST_F(ListenerTest, ASilentClientIsDroppedAfterAWhileAndTheListenerGoesOn) {
  Listener listener({.authkey = kKey, .handshake_timeout = 50ms});
  RawPeer silent(listener.address());
  EXPECT_THROW(listener.accept(), AuthenticationError);
  silent.receive();
  EXPECT_TRUE(silent.sees_the_end());
  auto connecting = connect_aside(listener);
  EXPECT_TRUE(listener.accept_for(kPatience));
  connecting.get();
}

TEST_F(ListenerTest, TheTimeThatNobodyAcceptsIsNotTheClients) {
  Listener listener({.authkey = kKey, .handshake_timeout = 3s});
  RawPeer peer(listener.address());
  EXPECT_FALSE(listener.accept_for(0s));
  std::this_thread::sleep_for(3100ms);  // what is waited for is time itself
  auto proving = std::async(std::launch::async, [&] { prove(peer); });
  EXPECT_TRUE(listener.accept_for(kPatience));
  proving.get();
}

TEST_F(ListenerTest, OfACrowdOfSilentClientsTheOldestAreDroppedAndHonestOnesComeIn) {
  Listener listener({.authkey = kKey, .backlog = 256, .handshake_timeout = 1h});
  std::vector<RawPeer> crowd;
  for (int i = 0; i < 70; ++i) crowd.emplace_back(listener.address());
  auto connecting = connect_aside(listener);
  EXPECT_TRUE(listener.accept_for(kPatience));
  connecting.get();
  crowd.front().receive();
  EXPECT_TRUE(crowd.front().sees_the_end());
  crowd.back().receive();
  EXPECT_TRUE(crowd.back().idle());
}

TEST_F(ListenerTest, ManyHonestClientsAtOnceAllComeIn) {
  Listener listener({.address = "127.0.0.1:0", .authkey = kKey});
  std::vector<std::future<Connection>> clients;
  for (int i = 0; i < 40; ++i) clients.push_back(connect_aside(listener));
  auto other = std::async(std::launch::async, [&] {
    for (int i = 0; i < 20; ++i) listener.accept().send_bytes("welcome");
  });
  for (int i = 0; i < 20; ++i) listener.accept().send_bytes("welcome");
  other.get();
  for (auto& one : clients) EXPECT_EQ(text(one.get()), "welcome");
}

TEST_F(ListenerTest, AClientThatHangsUpIsAnErrorOfItsOwnAlone) {
  Listener listener({.authkey = kKey});
  RawPeer(listener.address()).hang_up();
  EXPECT_THROW(listener.accept(), AuthenticationError);
  EXPECT_FALSE(listener.accept_for(0s));
}

TEST_F(ListenerTest, AMessageThatIsTooLongForAHandshakeIsNotRead) {
  Listener listener({.authkey = kKey});
  for (const std::string& header : {"\0\0\1\1"s, "\x7f\xff\xff\xff"s, "\xff\xff\xff\xff"s}) {
    RawPeer peer(listener.address());
    peer.send_raw(header);
    EXPECT_THROW(listener.accept(), AuthenticationError);
    peer.receive();
    EXPECT_THROW(peer.receive(), cohort::Error);
  }
}

TEST_F(ListenerTest, AWrongAnswerIsToldSoAndNotWhy) {
  Listener listener({.authkey = kKey});
  RawPeer peer(listener.address());
  auto accepting = std::async(std::launch::async, [&] { listener.accept(); });
  EXPECT_TRUE(peer.receive().starts_with("#CHALLENGE#{sha256}"));
  peer.send("something bogus");
  EXPECT_EQ(peer.receive(), "#FAILURE#");
  EXPECT_TRUE(peer.sees_the_end());
  EXPECT_THROW(accepting.get(), AuthenticationError);
}

TEST_F(ListenerTest, AHandshakeMayComeByteByByteAndWhatFollowsItAtOnceIsNotLost) {
  Listener listener({.authkey = kKey});
  RawPeer peer(listener.address());
  auto accepting = std::async(std::launch::async, [&] { return text(listener.accept()); });
  const std::string challenge = peer.receive();
  const std::string response = *cohort::wire::respond({kKey}, challenge.substr(11));
  for (char byte : "\0\0\0"s + static_cast<char>(response.size()) + response)
    peer.send_raw({&byte, 1});
  EXPECT_EQ(peer.receive(), "#WELCOME#");
  peer.send("#CHALLENGE#" + cohort::wire::new_challenge());
  peer.receive();
  peer.send_raw("\0\0\0\x09#WELCOME#\0\0\0\5hello"s);
  EXPECT_EQ(accepting.get(), "hello");
}

TEST_F(ListenerTest, WhereMD5IsRefusedThoseWhoNeedItAreNotLetIn) {
  Listener listener({.authkey = kKey, .refuse_md5 = true});
  auto connecting =
      connect_aside({.address = listener.address(), .authkey = kKey, .refuse_md5 = true});
  EXPECT_TRUE(listener.accept_for(kPatience));
  connecting.get();
  RawPeer old(listener.address());
  auto accepting = std::async(std::launch::async, [&] { listener.accept(); });
  const std::string challenge = old.receive();
  const std::string sha256 = *cohort::wire::respond({kKey}, challenge.substr(11));
  old.send(std::string(16, 'x'));
  EXPECT_EQ(old.receive(), "#FAILURE#");
  EXPECT_THROW(accepting.get(), AuthenticationError);
}

// ---- listeners that do not do as they should

TEST_F(ListenerTest, AClientDoesNotWaitForEverForAListenerWithoutAKey) {
  Listener listener;
  EXPECT_THROW(Client({.address = listener.address(), .authkey = kKey, .handshake_timeout = 20ms}),
               cohort::TimeoutError);
}

TEST_F(ListenerTest, AClientIsToldWhenTheListenerHangsUp) {
  RawListener listener("127.0.0.1:0");
  auto connecting = connect_aside({.address = listener.address(), .authkey = kKey});
  listener.accept().hang_up();
  EXPECT_THROW(connecting.get(), cohort::EndOfFile);
}

TEST_F(ListenerTest, AClientTakesNobodysWordForTheKey) {
  RawListener listener("127.0.0.1:0");
  auto connecting = connect_aside({.address = listener.address(), .authkey = kKey});
  RawPeer impostor = listener.accept();
  impostor.send("#CHALLENGE#" + cohort::wire::new_challenge());
  impostor.receive();
  impostor.send("#WELCOME#");
  EXPECT_TRUE(impostor.receive().starts_with("#CHALLENGE#{sha256}"));
  impostor.send("something bogus");
  EXPECT_EQ(impostor.receive(), "#FAILURE#");
  EXPECT_THROW(connecting.get(), AuthenticationError);
}

TEST_F(ListenerTest, AClientDoesNotAnswerWhatIsNoChallenge) {
  for (const char* junk : {"something bogus", "#CHALLENGE#", "#CHALLENGE#short", "#WELCOME#"}) {
    RawListener listener("127.0.0.1:0");
    auto connecting = connect_aside({.address = listener.address(), .authkey = kKey});
    RawPeer impostor = listener.accept();
    impostor.send(junk);
    EXPECT_TRUE(impostor.sees_the_end()) << junk;
    EXPECT_THROW(connecting.get(), AuthenticationError) << junk;
  }
}

TEST_F(ListenerTest, AClientGivesUpConnectingAtItsLimit) {
  RawListener full("unix:@cohort-test-full-backlog", 0);
  RawPeer first(full.address());
  EXPECT_THROW(Client({.address = full.address(), .connect_timeout = 20ms}), cohort::TimeoutError);
  // And when there is room it does not.
  first.hang_up();
  full.accept();
  Client({.address = full.address(), .connect_timeout = kPatience});
}

TEST_F(ListenerTest, AClientIsToldThatNobodyListens) {
  std::string address;
  { address = Listener({.address = "127.0.0.1:0"}).address(); }
  EXPECT_EQ(error_of([&] { Client({.address = address}); }), ECONNREFUSED);
  EXPECT_EQ(error_of([&] { Client({.address = "unix:@cohort-test-nobody"}); }), ECONNREFUSED);
  EXPECT_EQ(error_of([&] { Client({.address = "unix:/nobody/listens"}); }), ENOENT);
}

}  // namespace
