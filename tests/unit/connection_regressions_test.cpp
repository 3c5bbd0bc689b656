// Faults of connections that were there once.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cohort/connection.hpp>
#include <cohort/event.hpp>
#include <cohort/queue.hpp>
#include <cstring>
#include <fstream>
#include <future>
#include <new>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "arena_use.hpp"
#include "launch/descriptor_bank.hpp"
#include "os/fd.hpp"
#include "os/pidfd.hpp"
#include "raw_peer.hpp"
#include "sync_fixture.hpp"

namespace {

using namespace test;
using cohort::AuthenticationError;
using cohort::Connection;
using cohort::Pipe;
using cohort::Queue;
using cohort::connection::Listener;
using cohort::launch::deposits;

bool nothing_deposited() {
  return eventually([] {
    Space::here().bury_the_dead(true);
    return deposits() == 0;
  });
}

// No test leaves a block or a descriptor behind.
class ConnectionRegressions : public ArenaUse {
 protected:
  void TearDown() override {
    EXPECT_TRUE(nothing_deposited()) << deposits() << " descriptors are left";
    ArenaUse::TearDown();
  }
};

template <class Body>
std::error_code error_of(Body&& body) {
  try {
    body();
  } catch (const std::system_error& error) {
    return error.code();
  }
  return {};
}

// ---- processes that are stopped

// In children: stops this process when it comes to the named step.
void stop_at(const char* step) {
  fatal_step = step;
  cohort::os::step_hook = [](const char* name) {
    if (std::strcmp(name, fatal_step) == 0) ::raise(SIGSTOP);
  };
}

bool comes_to_a_stop(const Member& member) {
  const auto& slot = Space::here().members().slot(member.id().slot());
  return eventually([&] { return cohort::os::stopped(slot.pid.load()); });
}

TEST_F(ConnectionRegressions, AProcessThatIsStoppedOverADepositKeepsNobodyFromSendingConnections) {
  auto [a, b] = Pipe();
  auto [c, d] = Pipe();
  auto [in, out] = Pipe(false);
  Member stopped([&, &end = a, &sent = out] {
    stop_at("descriptor_bank.deposited");
    end.send(sent);
  });
  ASSERT_TRUE(comes_to_a_stop(stopped));
  Member other([&, &end = c, &sent = out] { end.send(sent); });
  EXPECT_EQ(other.wait(), 0);
  ASSERT_TRUE(d.poll(kPatience));
  d.recv<Connection>().send(5);
  EXPECT_EQ(in.recv<int>(), 5);
  EXPECT_TRUE(stopped.running());
  EXPECT_TRUE(stopped.kill_and_bury());
}

// In children: stops this process when it comes to the named step first.
void stop_once_at(const char* step) {
  fatal_step = step;
  cohort::os::step_hook = [](const char* name) {
    if (std::strcmp(name, fatal_step) != 0) return;
    cohort::os::step_hook = nullptr;
    ::raise(SIGSTOP);
  };
}

TEST_F(ConnectionRegressions, AReceiverThatIsStoppedOverADescriptorHoldsUpNoOtherReceiver) {
  for (const char* step : {"descriptor_bank.looking", "descriptor_bank.moved",
                           "descriptor_bank.dropped", "descriptor_bank.invalid"}) {
    SCOPED_TRACE(step);
    auto [a, b] = Pipe();
    auto [c, d] = Pipe();
    auto [in, out] = Pipe(false);
    a.send(out);
    Member stopped([&, &end = b] {
      stop_once_at(step);
      end.recv<Connection>().send(1);
    });
    ASSERT_TRUE(comes_to_a_stop(stopped));
    for (int i = 0; i < 3; ++i) {
      c.send(out);
      ASSERT_TRUE(d.poll(kPatience));
      d.recv<Connection>().send(10 + i);
    }
    EXPECT_TRUE(stopped.running());
    // One of its messages may have come before its stop.
    stopped.send(SIGCONT);
    EXPECT_EQ(stopped.wait(), 0);
    EXPECT_TRUE(stopped.bury());
    std::multiset<int> got;
    for (int i = 0; i < 4; ++i) got.insert(in.recv<int>());
    EXPECT_EQ(got, (std::multiset<int>{1, 10, 11, 12}));
  }
}

TEST_F(ConnectionRegressions, AReceiverThatIsStoppedAndKilledOverADescriptorLosesNobodyElses) {
  for (const char* step : {"descriptor_bank.looking", "descriptor_bank.moved",
                           "descriptor_bank.dropped", "descriptor_bank.invalid"}) {
    SCOPED_TRACE(step);
    auto [a, b] = Pipe();
    auto [c, d] = Pipe();
    auto [in, out] = Pipe(false);
    a.send(out);
    Member stopped([&, &end = b] {
      stop_once_at(step);
      end.recv<Connection>().send(1);
    });
    ASSERT_TRUE(comes_to_a_stop(stopped));
    c.send(out);
    d.recv<Connection>().send(2);
    c.send(out);
    EXPECT_TRUE(stopped.kill_and_bury());
    d.recv<Connection>().send(3);
    EXPECT_TRUE(nothing_deposited());
    std::multiset<int> got;
    while (in.poll()) got.insert(in.recv<int>());
    got.erase(1);
    EXPECT_EQ(got, (std::multiset<int>{2, 3}));
  }
}

TEST_F(ConnectionRegressions, ClosingEndsAReceiveThatWaitsForAStoppedSender) {
  auto [a, b] = Pipe();
  Member stopped([&, &end = a] {
    stop_at("hub.noted");
    end.send(cohort::Event());
  });
  ASSERT_TRUE(comes_to_a_stop(stopped));
  auto receiving = std::async(std::launch::async,
                              [end = b] { return error_of([&] { end.recv<cohort::Event>(); }); });
  EXPECT_TRUE(fall_asleep_here(1));
  b.close();
  EXPECT_EQ(receiving.wait_for(kPatience), std::future_status::ready);
  EXPECT_TRUE(stopped.running());
  EXPECT_TRUE(stopped.kill_and_bury());  // which would end it as well
  EXPECT_EQ(receiving.get(), std::errc::bad_file_descriptor);
}

// ---- a receiver without memory

std::size_t address_space() {
  std::size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

// 0 when it ran out of memory over the first message, and received nothing after that.
int receive_with_little_memory(const Connection& end) {
  const rlimit limit{address_space() + (std::size_t{24} << 20), RLIM_INFINITY};
  if (::setrlimit(RLIMIT_AS, &limit) != 0) return 1;
  try {
    end.recv_bytes();
    return 2;
  } catch (const std::bad_alloc&) {
  }
  for (int i = 0; i < 3; ++i) {
    try {
      end.recv_bytes();
      return 3;
    } catch (const std::system_error&) {
    } catch (const cohort::EndOfFile&) {
    }
  }
  return 0;
}

TEST_F(ConnectionRegressions, AMessageThatMemoryDidNotHoldIsNotReceivedInPieces) {
  if (kSanitized) GTEST_SKIP() << "address space is no measure of memory here";
  // Whoever reads on in the middle of it finds messages.
  std::string message;
  while (message.size() < std::size_t{128} << 20) message.append("\0\0\0\4EVIL", 8);
  auto [a, b] = Pipe();
  Member receiver([&end = b, &other = a] {
    other.close();
    return receive_with_little_memory(end);
  });
  b.close();
  EXPECT_EQ(error_of([&, &end = a] { end.send_bytes(message); }), std::errc::broken_pipe);
  EXPECT_EQ(receiver.wait(), 0);
  EXPECT_TRUE(receiver.bury());
}

// ---- a reader that goes

TEST_F(ConnectionRegressions, ASenderInTheMiddleOfAMessageGetsAnErrorAndNoSignalWhenTheReaderGoes) {
  for (bool duplex : {true, false}) {
    SCOPED_TRACE(duplex ? "both ways" : "one way");
    auto [in, out] = Pipe(duplex);
    Member sender([&end = out, &other = in] {
      other.close();
      const std::string message(std::size_t{32} << 20, 'x');
      return error_of([&] { end.send_bytes(message); }) == std::errc::broken_pipe ? 0 : 1;
    });
    out.close();
    EXPECT_TRUE(in.poll(kPatience));  // it has begun, and there is no room for the rest
    in.close();
    EXPECT_EQ(sender.wait(), 0);
    EXPECT_TRUE(sender.bury());
  }
}

// ---- a receiver without descriptor numbers

// While it exists this process has none left.
class NoNumbers {
 public:
  NoNumbers() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    cohort::os::Fd next(::dup(0));
    rlimit tight = before_;
    tight.rlim_cur = static_cast<rlim_t>(next.get()) + 1;
    ::setrlimit(RLIMIT_NOFILE, &tight);
    next.reset();
    for (int one = ::dup(0); one >= 0; one = ::dup(0)) taken_.emplace_back(one);
  }
  ~NoNumbers() {
    taken_.clear();
    ::setrlimit(RLIMIT_NOFILE, &before_);
  }
  NoNumbers(const NoNumbers&) = delete;
  NoNumbers& operator=(const NoNumbers&) = delete;

 private:
  rlimit before_{};
  std::vector<cohort::os::Fd> taken_;
};

template <class Body>
std::string text_of(Body&& body) {
  try {
    body();
  } catch (const std::exception& error) {
    return error.what();
  }
  return {};
}

constexpr auto kNoNumbers = std::errc::too_many_files_open;

TEST_F(ConnectionRegressions, AConnectionInAPipeIsNotLostWhereThereIsNoDescriptorNumber) {
  auto [a, b] = Pipe();
  auto [in, out] = Pipe(false);
  a.send(out);
  a.send(5);
  Connection got;
  std::error_code use, number;
  std::string said;
  {
    const NoNumbers none;
    got = b.recv<Connection>();
    use = error_of([&] { got.send(1); });
    number = error_of([&] { got.fileno(); });
    said = text_of([&] { got.send(1); });
  }
  EXPECT_EQ(use, kNoNumbers);
  EXPECT_EQ(number, kNoNumbers);
  EXPECT_NE(said.find("ulimit -n"), std::string::npos) << said;
  EXPECT_FALSE(got.closed());
  EXPECT_TRUE(got.writable());
  EXPECT_FALSE(got.readable());
  EXPECT_EQ(b.recv<int>(), 5);
  out.close();
  got.send(7);
  EXPECT_EQ(in.recv<int>(), 7);
  got.close();
  EXPECT_THROW(in.recv<int>(), cohort::EndOfFile);
}

TEST_F(ConnectionRegressions, AConnectionInAQueueIsNotLostWhereThereIsNoDescriptorNumber) {
  const Queue<std::vector<Connection>> queue;
  auto [a, b] = Pipe();
  auto [c, d] = Pipe();
  queue.put({a, c});
  std::vector<Connection> got;
  std::error_code use;
  {
    const NoNumbers none;
    got = queue.get();
    use = error_of([&] { got.at(0).send(1); });
  }
  EXPECT_EQ(use, kNoNumbers);
  ASSERT_EQ(got.size(), 2U);
  a.close();
  c.close();
  got[0].send(1);
  got[1].send(2);
  EXPECT_EQ(b.recv<int>(), 1);
  EXPECT_EQ(d.recv<int>(), 2);
}

TEST_F(ConnectionRegressions, AConnectionWithoutADescriptorYetIsPassedOnPrintedAndClosed) {
  auto [a, b] = Pipe();
  auto [in, out] = Pipe(false);
  a.send(out);
  a.send(out);
  out.close();
  Connection got, other;
  std::ostringstream printed;
  {
    const NoNumbers none;
    got = b.recv<Connection>();
    other = b.recv<Connection>();
    printed << got;
    b.send(got);
    got.close();
    other = Connection();
  }
  EXPECT_EQ(printed.str(), "<Connection fd=none write>");
  EXPECT_TRUE(got.closed());
  EXPECT_EQ(error_of([&] { got.send(1); }), std::errc::bad_file_descriptor);
  a.recv<Connection>().send(3);
  EXPECT_EQ(in.recv<int>(), 3);
  EXPECT_THROW(in.recv<int>(), cohort::EndOfFile);
}

// ---- notes that came another way

TEST_F(ConnectionRegressions, AMessageWithHandlesCannotBePassedOnAsBytes) {
  auto [in, out] = Pipe(false);
  {
    auto [a, b] = Pipe();
    auto [c, d] = Pipe();
    a.send(out);
    out.close();
    c.send_bytes(b.recv_bytes());
    c.send(1);
    EXPECT_THROW(d.recv<Connection>(), cohort::SerializationError);
    ASSERT_TRUE(d.poll());
    EXPECT_EQ(d.recv<int>(), 1);
    EXPECT_EQ(deposits(), 1U);
  }
  EXPECT_TRUE(nothing_deposited());
  ASSERT_TRUE(in.poll(kPatience));
  EXPECT_THROW(in.recv<int>(), cohort::EndOfFile);
}

// ---- waiting

TEST_F(ConnectionRegressions, WaitingForANegativeDescriptorIsAnError) {
  using cohort::connection::wait;
  EXPECT_EQ(error_of([] { wait({-1}, 0s); }), std::errc::bad_file_descriptor);
  auto [a, b] = Pipe();
  a.send(1);
  EXPECT_EQ(error_of([&end = b] { wait({end.fileno(), -1}, 1h); }), std::errc::bad_file_descriptor);
  EXPECT_EQ(wait({b}, 0s).size(), 1U);
}

// ---- clients that are turned away

class TurnedAway : public Watched {
 protected:
  void SetUp() override {
    Watched::SetUp();
    // Its handshake has begun...
    ASSERT_TRUE(eventually([&] { return !listener_.accept_for(0s) && !client_.idle(); }));
    EXPECT_TRUE(client_.receive().starts_with("#CHALLENGE#"));
    // ... when a process is forked, and so has the client's socket.
    child_.emplace([] {
      for (;;) ::pause();
    });
  }
  void expect_the_end() {
    EXPECT_TRUE(client_.sees_the_end());
    EXPECT_TRUE(child_->running());
  }

  Listener listener_{{.address = "127.0.0.1:0", .authkey = "key", .handshake_timeout = 2s}};
  RawPeer client_{listener_.address()};
  std::optional<Member> child_;
};

TEST_F(TurnedAway, AClientSeesTheEndOfTheListenerThoughAChildLives) {
  listener_.close();
  expect_the_end();
}

TEST_F(TurnedAway, AClientThatIsLateSeesTheEndThoughAChildLives) {
  EXPECT_THROW(listener_.accept(), AuthenticationError);
  expect_the_end();
}

TEST_F(TurnedAway, AClientWithoutTheKeySeesTheEndThoughAChildLives) {
  client_.send("no answer at all");
  EXPECT_THROW(listener_.accept(), AuthenticationError);
  EXPECT_EQ(client_.receive(), "#FAILURE#");
  expect_the_end();
}

}  // namespace
