#include <cohort/connection.hpp>
#include <cohort/object.hpp>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "processes.hpp"
#include "python.hpp"

namespace {

using namespace test;
using cohort::AuthenticationError;
using cohort::connection::Client;
using cohort::connection::Connection;
using cohort::connection::Listener;
using cohort::managers::Object;
using Key = std::optional<std::string>;

const Key kKey = "abracadabra";
const Key kBinaryKey = rising_bytes(0, 256);
// Of the lengths where the framing, or what fits into a socket, changes.
constexpr std::size_t kSizes[] = {0, 1, 4, 250, 16383, 16384, 16385, 65535, 65536, 65537, 3000000};

void add_key(std::vector<std::string>& arguments, const Key& key) {
  if (key) arguments.push_back("--key=" + to_hex(*key));
}

void echo_bytes(const Connection& connection) {
  try {
    for (;;) connection.send_bytes(connection.recv_bytes());
  } catch (const cohort::EndOfFile&) {
  }
}

void exchange_bytes(const Connection& connection) {
  for (std::size_t size : kSizes) {
    std::vector<std::byte> message(size);
    for (std::size_t i = 0; i < size; ++i) message[i] = static_cast<std::byte>(i % 251);
    connection.send_bytes(message);
    EXPECT_TRUE(connection.recv_bytes() == message) << size;
  }
}

// ---- every address, with a key and without

struct Way {
  const char* name;
  std::string address;  // PATH stands for one that is free
  Key key;
};

class EachWay : public WithPython, public testing::WithParamInterface<Way> {
 protected:
  std::string address() const {
    const std::string given = GetParam().address;
    return given == "PATH" ? "unix:" + (folder_ / "socket").string() : given;
  }

 private:
  Folder folder_;
};
INSTANTIATE_TEST_SUITE_P(
    Ways, EachWay,
    testing::Values(Way{"TcpWithoutAKey", "127.0.0.1:0", {}}, Way{"Tcp", "127.0.0.1:0", kKey},
                    Way{"TcpBinaryKey", "127.0.0.1:0", kBinaryKey},
                    Way{"PathWithoutAKey", "PATH", {}}, Way{"Path", "PATH", kKey},
                    Way{"AbstractWithoutAKey", "unix:@cohort-test-interop", {}},
                    Way{"Abstract", "unix:@cohort-test-interop", kKey}),
    [](const auto& way) { return way.param.name; });

TEST_P(EachWay, APythonClientGetsBackWhatItSends) {
  Listener listener({.address = address(), .authkey = GetParam().key});
  std::vector<std::string> arguments{"echo_client.py", listener.address()};
  add_key(arguments, GetParam().key);
  Python client(arguments);
  const auto connection = listener.accept_for(kPatience);
  ASSERT_TRUE(connection);
  echo_bytes(*connection);
  EXPECT_EQ(client.exit_code(), 0);
}

TEST_P(EachWay, APythonListenerSendsBackWhatItGets) {
  std::vector<std::string> arguments{"echo_server.py", address()};
  add_key(arguments, GetParam().key);
  Python server(arguments);
  const Connection connection =
      Client({.address = server.after("listening"), .authkey = GetParam().key});
  exchange_bytes(connection);
  connection.close();
  EXPECT_EQ(server.line(), "served");
  EXPECT_EQ(server.exit_code(), 0);
}

// ---- keys that differ

using Interop = WithPython;

TEST_F(Interop, APythonClientWithAnotherKeyIsRefusedAndTheNextOneIsNot) {
  Listener listener({.address = "127.0.0.1:0", .authkey = kKey});
  Python wrong({"echo_client.py", listener.address(), "--key=00"});
  EXPECT_THROW(listener.accept(), AuthenticationError);
  EXPECT_EQ(wrong.line(), "refused");
  EXPECT_EQ(wrong.exit_code(), 4);
  Python right({"echo_client.py", listener.address(), "--key=" + to_hex(*kKey)});
  echo_bytes(listener.accept());
  EXPECT_EQ(right.exit_code(), 0);
}

TEST_F(Interop, APythonListenerWithAnotherKeyRefusesUsAndGoesOn) {
  Python server({"echo_server.py", "127.0.0.1:0", "--key=" + to_hex(*kKey), "--clients=2"});
  const std::string address = server.after("listening");
  EXPECT_THROW(Client({.address = address, .authkey = "another"}), AuthenticationError);
  EXPECT_EQ(server.line(), "refused");
  const Connection connection = Client({.address = address, .authkey = kKey});
  exchange_bytes(connection);
  connection.close();
  EXPECT_EQ(server.exit_code(), 0);
}

TEST_F(Interop, APythonClientWithAnEmptyKeyHasAKey) {
  Listener listener({.authkey = ""});
  Python client({"echo_client.py", listener.address(), "--key="});
  echo_bytes(listener.accept());
  EXPECT_EQ(client.exit_code(), 0);
}

// ---- both forms of the handshake, whichever version of Python this is

class EachForm : public WithPython, public testing::WithParamInterface<bool> {
 protected:
  static Python by_hand(const std::string& address, const std::string& key, bool listens) {
    std::vector<std::string> arguments{"handshake_by_hand.py", address, "--key=" + to_hex(key)};
    if (listens) arguments.push_back("--listen");
    if (GetParam()) arguments.push_back("--new");
    return Python(arguments);
  }
};
INSTANTIATE_TEST_SUITE_P(Forms, EachForm, testing::Bool(),
                         [](const auto& form) { return form.param ? "New" : "Old"; });

std::string text(const Connection& connection) {
  const auto bytes = connection.recv_bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST_P(EachForm, AClientThatSpeaksItIsLetIn) {
  Listener listener({.address = "127.0.0.1:0", .authkey = kKey});
  Python client = by_hand(listener.address(), *kKey, false);
  const Connection connection = listener.accept();
  EXPECT_EQ(text(connection), "hello");
  connection.send_bytes("goodbye");
  EXPECT_EQ(client.exit_code(), 0);
}

TEST_P(EachForm, AListenerThatSpeaksItLetsUsIn) {
  Python server = by_hand("127.0.0.1:0", *kKey, true);
  const Connection connection = Client({.address = server.after("listening"), .authkey = kKey});
  connection.send_bytes("hello");
  EXPECT_EQ(text(connection), "goodbye");
  EXPECT_EQ(server.exit_code(), 0);
}

TEST_P(EachForm, AnotherKeyIsRefusedByEitherSide) {
  Listener listener({.address = "127.0.0.1:0", .authkey = kKey});
  Python client = by_hand(listener.address(), "another", false);
  EXPECT_THROW(listener.accept(), AuthenticationError);
  EXPECT_EQ(client.exit_code(), 4);
  Python server = by_hand("127.0.0.1:0", "another", true);
  EXPECT_THROW(Client({.address = server.after("listening"), .authkey = kKey}),
               AuthenticationError);
  EXPECT_EQ(server.exit_code(), 5);
}

TEST_P(EachForm, WhereMD5IsRefusedOnlyTheNewOneWorks) {
  const bool works = GetParam();
  Listener listener({.address = "127.0.0.1:0", .authkey = kKey, .refuse_md5 = true});
  Python client = by_hand(listener.address(), *kKey, false);
  if (works) {
    const Connection connection = listener.accept();
    connection.send_bytes("goodbye");
    EXPECT_EQ(client.exit_code(), 0);
  } else {
    EXPECT_THROW(listener.accept(), AuthenticationError);
    EXPECT_EQ(client.exit_code(), 4);
  }
  Python server = by_hand("127.0.0.1:0", *kKey, true);
  const auto connect = [&] {
    return Client({.address = server.after("listening"), .authkey = kKey, .refuse_md5 = true});
  };
  if (works) {
    connect().send_bytes("hello");
    EXPECT_EQ(server.exit_code(), 0);
  } else {
    EXPECT_THROW(connect(), AuthenticationError);
    EXPECT_EQ(server.exit_code(), 6);
  }
}

// ---- objects

TEST_F(Interop, APythonClientGetsBackTheObjectsItSends) {
  Listener listener({.address = "127.0.0.1:0", .authkey = kKey});
  Python client({"echo_client.py", listener.address(), "--key=" + to_hex(*kKey), "--objects"});
  const Connection connection = listener.accept();
  try {
    for (;;) connection.send(connection.recv<Object>());
  } catch (const cohort::EndOfFile&) {
  }
  EXPECT_EQ(client.exit_code(), 0);
}

TEST_F(Interop, APythonListenerUnderstandsTheObjectsThatWeSend) {
  Python server({"echo_server.py", "127.0.0.1:0", "--objects"});
  const Connection connection = Client({.address = server.after("listening")});
  const auto exchange = [&](const auto& value, const char* shown) {
    connection.send(value);
    EXPECT_EQ(server.after("received"), shown);
    using T = std::remove_cvref_t<decltype(value)>;
    EXPECT_TRUE(connection.recv<T>() == value) << shown;
  };
  exchange(Object(), "None");
  exchange(true, "True");
  exchange(-1, "-1");
  exchange(std::uint64_t{1} << 63, "9223372036854775808");
  exchange(1.5, "1.5");
  exchange(std::string("text \u20ac"), "'text \u20ac'");
  exchange(std::vector<int>{1, 2, 3}, "[1, 2, 3]");
  exchange(std::tuple<int, std::string>(1, "two"), "(1, 'two')");
  exchange(std::map<std::string, double>{{"a", 1}, {"b", 2}}, "{'a': 1.0, 'b': 2.0}");
  exchange(std::set<int>{1}, "{1}");
  exchange(std::optional<int>(), "None");
  exchange(Object::bytes("\x01z"), "b'\\x01z'");
  exchange(Object::dict({{"k", Object::list({1, nullptr, Object::tuple({"x"})})}}),
           "{'k': [1, None, ('x',)]}");
  connection.send("a literal");
  EXPECT_EQ(server.after("received"), "'a literal'");
  EXPECT_EQ(connection.recv<std::string>(), "a literal");
  connection.close();
  EXPECT_EQ(server.line(), "served");
  EXPECT_EQ(server.exit_code(), 0);
}

TEST_F(Interop, AnObjectOfAnotherTypeThanAskedForIsATypeMismatchAndTheNextOneIsRead) {
  Python server({"echo_server.py", "127.0.0.1:0", "--objects"});
  const Connection connection = Client({.address = server.after("listening")});
  connection.send(std::string("no number"));
  connection.send(7);
  EXPECT_THROW(connection.recv<int>(), cohort::TypeMismatch);
  EXPECT_EQ(connection.recv<int>(), 7);
}

}  // namespace
