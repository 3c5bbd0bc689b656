// The behaviours of descriptors and connections that are sent to other processes.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cohort/connection.hpp>
#include <string>
#include <utility>
#include <vector>

#include "arena/space.hpp"
#include "os/fd.hpp"
#include "processes.hpp"

namespace {

using namespace test;
using cohort::Connection;
using cohort::Pipe;
using cohort::os::Fd;

class FdPassing : public EachMethod {};
INSTANTIATE_TEST_SUITE_P(Methods, FdPassing, every_method(), method_name);

// Receives a connection, and says something through it.
void answer_through(Connection& courier, const std::string& said) {
  auto passed = courier.recv<Connection>();
  passed.send(said);
}

// Both ends of a TCP connection on this machine: the client's, and the accepted one.
std::pair<Fd, Fd> tcp_pair() {
  Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  EXPECT_EQ(::bind(listener.get(), generic, length), 0);
  EXPECT_EQ(::listen(listener.get(), 1), 0);
  EXPECT_EQ(::getsockname(listener.get(), generic, &length), 0);
  Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(::connect(client.get(), generic, length), 0);
  return {std::move(client), Fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC))};
}

// behaviour: FdPassing/fd-number-above-256
TEST_P(FdPassing, ADescriptorPassesFromANumberAbove256ToAReceiverWhoseLowOnesAreTaken) {
  auto [courier, theirs] = Pipe();
  Process child(
      with(),
      [](Connection& from) {
        std::vector<Fd> taken;
        const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
        do taken.push_back(null.duplicate());
        while (taken.back().get() < 300);
        auto passed = from.recv<Connection>();
        passed.send(passed.fileno());
      },
      theirs);
  child.start();
  theirs.close();
  std::vector<Fd> taken;
  const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  do taken.push_back(null.duplicate());
  while (taken.back().get() < 256);
  auto [ours, passed] = Pipe();
  ASSERT_GT(passed.fileno(), 256);
  courier.send(passed);
  passed.close();
  EXPECT_GT(ours.recv<int>(), 256);
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
}

// behaviour: FdPassing/missing-ancillary-data
TEST_P(FdPassing, AMessageWithoutItsDescriptorIsAnErrorInTheReceiver) {
  auto [courier, theirs] = Pipe();
  auto [ours, passed] = Pipe();
  courier.send(passed);
  auto& space = cohort::arena::Space::here();
  ASSERT_EQ(space.bank().tags().size(), 1U);
  space.bank().drop_front();
  Process child(
      with(),
      [](Connection& from) {
        try {
          from.recv<Connection>();
        } catch (const cohort::Error& error) {
          from.send(std::string(error.what()));
        }
        from.send(from.recv<int>());  // and it goes on
      },
      theirs);
  child.start();
  theirs.close();
  EXPECT_NE(courier.recv<std::string>().find("descriptor"), std::string::npos);
  courier.send(5);
  EXPECT_EQ(courier.recv<int>(), 5);
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
}

// behaviour: FdPassing/accepted-connection-travels
TEST_P(FdPassing, AnAcceptedConnectionTravelsAndIsReadThere) {
  auto [courier, theirs] = Pipe();
  Process child(
      with(),
      [](Connection& from) {
        auto accepted = from.recv<Connection>();
        from.send(accepted.recv_bytes());
        accepted.send_bytes("answer");
      },
      theirs);
  child.start();
  theirs.close();
  auto [client, accepted] = tcp_pair();
  auto peer = Connection::from_descriptor(client.release());
  {
    auto server_side = Connection::from_descriptor(accepted.release());
    courier.send(server_side);
  }
  peer.send_bytes("question");
  const auto heard = courier.recv<std::vector<std::byte>>();
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(heard.data()), heard.size()), "question");
  EXPECT_EQ(peer.recv_bytes().size(), 6U);
  EXPECT_THROW(peer.recv_bytes(), cohort::EndOfFile);  // nobody else has it still
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
}

// behaviour: FdPassing/plain-socket-travels
TEST_P(FdPassing, APlainTcpSocketTravelsAndIsReadThereToTheEnd) {
  auto [courier, theirs] = Pipe();
  Process child(
      with(),
      [](Connection& from) {
        auto socket = from.recv<Connection>();
        std::string all;
        char text[100];
        while (auto length = ::read(socket.fileno(), text, sizeof text)) {
          if (length < 0) break;
          all.append(text, static_cast<std::size_t>(length));
        }
        from.send(all);
      },
      theirs);
  child.start();
  theirs.close();
  auto [client, accepted] = tcp_pair();
  courier.send(Connection::from_descriptor(accepted.release()));
  const std::string said(5000, 'q');
  ASSERT_EQ(::send(client.get(), said.data(), said.size(), 0), 5000);
  client.reset();
  EXPECT_EQ(courier.recv<std::string>(), said);
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
}

// behaviour: FdPassing/sender-may-close-at-once
TEST_P(FdPassing, TheSenderMayCloseItsCopyAtOnce) {
  auto [courier, theirs] = Pipe();
  auto [in, out] = Pipe(false);
  courier.send(out);
  out.close();
  Process child(with(), &answer_through, theirs, std::string("through what was sent"));
  child.start();
  theirs.close();
  EXPECT_EQ(in.recv<std::string>(), "through what was sent");
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
  EXPECT_THROW(in.recv<std::string>(), cohort::EndOfFile);
}

TEST_P(FdPassing, TheSenderMayEvenBeKilledRightAfterTheSend) {
  auto [courier, theirs] = Pipe();
  auto [in, out] = Pipe(false);
  Process child(
      with(),
      [](Connection& to, Connection& passed) {
        to.send(passed);
        ::raise(SIGKILL);
      },
      theirs, out);
  child.start();
  theirs.close();
  out.close();
  child.join();
  EXPECT_EQ(child.exitcode(), -SIGKILL);
  auto passed = courier.recv<Connection>();
  passed.send(7);
  EXPECT_EQ(in.recv<int>(), 7);
  passed.close();
  EXPECT_THROW(in.recv<int>(), cohort::EndOfFile);
}

}  // namespace
