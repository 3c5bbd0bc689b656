// The behaviours of pipes and connections.
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cohort/connection.hpp>
#include <cohort/event.hpp>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "processes.hpp"

namespace {

using namespace test;
using cohort::Connection;
using cohort::Pipe;

std::vector<std::byte> bytes_of(std::string_view text) {
  auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}
std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// The code of the std::system_error that this throws; empty when it throws none.
template <class Body>
std::error_code error_of(Body&& body) {
  try {
    body();
  } catch (const std::system_error& error) {
    return error.code();
  }
  return {};
}

struct Structured {
  int number = 0;
  std::string text{};
  std::map<std::string, std::vector<double>> values{};
  bool operator==(const Structured&) const = default;
};
const Structured kStructured{7, "seven", {{"a", {1, 1.5}}, {"b", {}}}};

// Sends back what it gets, until the other end is gone.
void echo_bytes(Connection& connection) {
  try {
    for (;;) connection.send_bytes(connection.recv_bytes());
  } catch (const cohort::EndOfFile&) {
  }
}
void echo_objects(Connection& connection) {
  try {
    for (;;) connection.send(connection.recv<Structured>());
  } catch (const cohort::EndOfFile&) {
  }
}

class Connections : public EachMethod {
 protected:
  void end_child(Connection& ours) {
    ours.close();
    child_->join();
    EXPECT_EQ(child_->exitcode(), 0);
  }
  std::optional<Process> child_;
};
INSTANTIATE_TEST_SUITE_P(Methods, Connections, every_method(), method_name);

class PipeTest : public Watched {};

// A child that echoes, for the end that it gets; it closes its copy of ours, should it have one.
template <class Echo>
void start_echo(std::optional<Process>& child, const cohort::ProcessOptions& options, Echo echo,
                Connection& ours, Connection& theirs) {
  if (options.start_method == StartMethod::fork) {
    child.emplace(Process::forked(options, [=] {
      ours.close();
      auto end = theirs;
      echo(end);
    }));
  } else {
    child.emplace(options, echo, theirs);
  }
  child->start();
  theirs.close();
}

// behaviour: Connection/has-descriptor
TEST_F(PipeTest, AConnectionHasADescriptor) {
  auto [a, b] = Pipe();
  EXPECT_GE(a.fileno(), 3);
  EXPECT_NE(a.fileno(), b.fileno());
  EXPECT_EQ(::fcntl(a.fileno(), F_GETFD), FD_CLOEXEC);
}

// behaviour: Connection/object-roundtrip
TEST_P(Connections, AStructuredValueComesBackEqual) {
  auto [ours, theirs] = Pipe();
  start_echo(child_, with(), &echo_objects, ours, theirs);
  ours.send(kStructured);
  EXPECT_EQ(ours.recv<Structured>(), kStructured);
  end_child(ours);
}

// behaviour: Connection/bytes-roundtrip
TEST_P(Connections, BytesComeBackIdentical) {
  auto [ours, theirs] = Pipe();
  start_echo(child_, with(), &echo_bytes, ours, theirs);
  for (const auto& text : {std::string("hello"), std::string("\0\xff\x01", 3), std::string()}) {
    ours.send_bytes(text);
    EXPECT_EQ(text_of(ours.recv_bytes()), text);
  }
  end_child(ours);
}

// behaviour: Connection/receive-into-buffer
// behaviour: Connection/receive-into-at-offset
TEST_F(PipeTest, AMessageIsReceivedIntoABufferAndNothingElseOfItChanges) {
  auto [a, b] = Pipe();
  std::string buffer(12, '.');
  a.send_bytes("hello");
  EXPECT_EQ(b.recv_bytes_into(std::as_writable_bytes(std::span(buffer))), 5U);
  EXPECT_EQ(buffer, "hello.......");
  buffer.assign(12, '.');
  a.send_bytes("hello");
  EXPECT_EQ(b.recv_bytes_into(std::as_writable_bytes(std::span(buffer)), 3), 5U);
  EXPECT_EQ(buffer, "...hello....");
  a.send_bytes("hello");
  EXPECT_EQ(b.recv_bytes_into(std::as_writable_bytes(std::span(buffer)), 7), 5U);
  EXPECT_EQ(buffer, "...hellhello");
}

TEST_F(PipeTest, AnOffsetBeyondTheBufferIsRefusedAndTheMessageStays) {
  auto [a, b] = Pipe();
  std::string buffer(4, '.');
  a.send_bytes("x");
  EXPECT_THROW(b.recv_bytes_into(std::as_writable_bytes(std::span(buffer)), 5), std::out_of_range);
  EXPECT_THROW(b.recv_bytes_into(std::as_writable_bytes(std::span(buffer)), -1), std::out_of_range);
  EXPECT_EQ(text_of(b.recv_bytes()), "x");
}

// behaviour: Connection/buffer-too-short-carries-message
TEST_F(PipeTest, AMessageTooLongForTheBufferIsInTheError) {
  auto [a, b] = Pipe();
  const std::string long_text(100'000, 'm');
  std::string buffer(40, '.');
  std::thread sender([&end = a, &long_text] {
    end.send_bytes(long_text);
    end.send_bytes("next");
  });
  try {
    b.recv_bytes_into(std::as_writable_bytes(std::span(buffer)));
    ADD_FAILURE() << "it fitted";
  } catch (const cohort::BufferTooShort& error) {
    EXPECT_EQ(text_of(error.message()), long_text);
  }
  EXPECT_EQ(buffer, std::string(40, '.'));
  EXPECT_EQ(text_of(b.recv_bytes()), "next");
  sender.join();
}

// behaviour: Connection/poll-empty
TEST_F(PipeTest, PollOnAnIdleConnectionIsFalseAtOnce) {
  for (bool duplex : {true, false}) {
    auto [a, b] = Pipe(duplex);
    EXPECT_FALSE(a.poll());
    EXPECT_FALSE(a.poll(0s));
    EXPECT_FALSE(a.poll(-1s));
    EXPECT_FALSE(a.poll(-std::chrono::hours(1'000'000)));
  }
}

// behaviour: Connection/poll-waits
TEST_F(PipeTest, PollOnAnIdleConnectionWaitsForItsLimit) {
  auto [a, b] = Pipe();
  for (auto limit : {50ms, 250ms}) {  // one of them longer than the looks in between
    const auto before = Clock::now();
    EXPECT_FALSE(a.poll(limit));
    EXPECT_GE(Clock::now() - before, limit);
  }
}

// behaviour: Connection/poll-ready
TEST_P(Connections, PollTurnsTrueOnceAMessageIsThere) {
  auto [ours, theirs] = Pipe();
  start_echo(child_, with(), &echo_bytes, ours, theirs);
  ours.send_bytes("x");
  EXPECT_TRUE(ours.poll(30s));
  EXPECT_TRUE(ours.poll());
  EXPECT_EQ(text_of(ours.recv_bytes()), "x");
  EXPECT_FALSE(ours.poll());
  ours.send_bytes("y");
  EXPECT_TRUE(ours.poll(std::nullopt));
  EXPECT_EQ(text_of(ours.recv_bytes()), "y");
  end_child(ours);
}

// behaviour: Connection/16-mib-message
TEST_P(Connections, AMessageOf16MebibytesGoesOutAndBackWhole) {
  auto [ours, theirs] = Pipe();
  start_echo(child_, with(), &echo_bytes, ours, theirs);
  std::string big(16 << 20, '\0');
  for (std::size_t i = 0; i < big.size(); ++i) big[i] = static_cast<char>(i * 31 + (i >> 13));
  ours.send_bytes(big);
  EXPECT_TRUE(text_of(ours.recv_bytes()) == big);
  end_child(ours);
}

// behaviour: Connection/duplex-both-ways
TEST_F(PipeTest, TheEndsOfAPipeGoBothWays) {
  auto [a, b] = Pipe();
  EXPECT_TRUE(a.readable() && a.writable() && b.readable() && b.writable());
  a.send(1);
  b.send(2);
  EXPECT_EQ(a.recv<int>(), 2);
  EXPECT_EQ(b.recv<int>(), 1);
}

// behaviour: Connection/eof-after-peer-closed
TEST_P(Connections, AfterEveryCopyOfTheOtherEndIsClosedThereIsEndOfFileEachTime) {
  auto [ours, theirs] = Pipe();
  start_echo(
      child_, with(), [](Connection& end) { end.send(std::string("last")); }, ours, theirs);
  child_->join();
  EXPECT_EQ(child_->exitcode(), 0);
  EXPECT_EQ(ours.recv<std::string>(), "last");
  for (int i = 0; i < 3; ++i) {
    EXPECT_THROW(ours.recv<std::string>(), cohort::EndOfFile);
    EXPECT_THROW(ours.recv_bytes(), cohort::EndOfFile);
    EXPECT_TRUE(ours.poll());
  }
}

TEST_P(Connections, AKilledPeerIsTheEndToo) {
  for (bool duplex : {true, false}) {
    auto [ours, theirs] = Pipe(duplex);
    start_echo(
        child_, with(),
        [](Connection& end) {
          end.send(1);
          ::raise(SIGKILL);
        },
        ours, theirs);
    EXPECT_EQ(ours.recv<int>(), 1);
    EXPECT_THROW(ours.recv<int>(), cohort::EndOfFile);
    EXPECT_THROW(ours.recv<int>(), cohort::EndOfFile);
    child_->join();
  }
}

// behaviour: Connection/simplex-directions
TEST_F(PipeTest, AOneWayPipeHasAnEndThatReceivesAndOneThatSends) {
  auto [in, out] = Pipe(false);
  EXPECT_TRUE(in.readable());
  EXPECT_FALSE(in.writable());
  EXPECT_FALSE(out.readable());
  EXPECT_TRUE(out.writable());
  out.send(std::string("one way"));
  EXPECT_EQ(in.recv<std::string>(), "one way");
}

// behaviour: Connection/simplex-misuse
TEST_F(PipeTest, UsingAnEndAgainstItsDirectionIsASystemError) {
  auto [in, out] = Pipe(false);
  EXPECT_EQ(error_of([&in = in] { in.send(1); }), std::errc::bad_file_descriptor);
  EXPECT_EQ(error_of([&in = in] { in.send_bytes("x"); }), std::errc::bad_file_descriptor);
  EXPECT_EQ(error_of([&out = out] { out.recv<int>(); }), std::errc::bad_file_descriptor);
  EXPECT_EQ(error_of([&out = out] { out.recv_bytes(); }), std::errc::bad_file_descriptor);
  EXPECT_EQ(error_of([&out = out] { out.poll(); }), std::errc::bad_file_descriptor);
  out.send(2);  // and they still work
  EXPECT_EQ(in.recv<int>(), 2);
}

// behaviour: Connection/close-right-after-start
TEST_P(Connections, TheCreatorMayCloseTheChildsEndDirectlyAfterStart) {
  auto [ours, theirs] = Pipe();
  Process child(
      with(),
      [](Connection& end) {
        end.send(std::string("hello"));
        end.close();
      },
      theirs);
  child.start();
  theirs.close();
  EXPECT_EQ(ours.recv<std::string>(), "hello");
  EXPECT_THROW(ours.recv<std::string>(), cohort::EndOfFile);
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
}

// behaviour: Connection/send-offset-size
TEST_F(PipeTest, WithOffsetAndSizeExactlyThatSliceIsSent) {
  auto [a, b] = Pipe();
  const auto bytes = bytes_of("abcdefghijklmnopqrstuvwxyz");
  auto sent = [&, &from = a, &to = b](auto... arguments) {
    from.send_bytes(std::span(bytes), arguments...);
    return text_of(to.recv_bytes());
  };
  EXPECT_EQ(sent(), "abcdefghijklmnopqrstuvwxyz");
  EXPECT_EQ(sent(5), "fghijklmnopqrstuvwxyz");
  EXPECT_EQ(sent(7, 8), "hijklmno");
  EXPECT_EQ(sent(26), "");
  EXPECT_EQ(sent(26, 0), "");
  EXPECT_EQ(sent(0, 26), "abcdefghijklmnopqrstuvwxyz");
}

// behaviour: Connection/send-range-check
TEST_F(PipeTest, ASliceThatDoesNotLieInTheBytesIsRefusedAndNothingIsSent) {
  auto [a, b] = Pipe();
  const auto bytes = bytes_of("abcdefghijklmnopqrstuvwxyz");
  using Size = std::optional<std::ptrdiff_t>;
  for (auto [offset, size] : {std::pair<std::ptrdiff_t, Size>{27, {}},
                              {22, 5},
                              {26, 1},
                              {-1, {}},
                              {4, -1},
                              {1, std::numeric_limits<std::ptrdiff_t>::max()}}) {
    EXPECT_THROW(a.send_bytes(std::span(bytes), offset, size), std::out_of_range)
        << offset << ' ' << size.value_or(-99);
  }
  EXPECT_FALSE(b.poll());
}

// behaviour: Connection/scope-closes
TEST_F(PipeTest, AtTheEndOfTheirScopeTheEndsAreClosedAndAClosedOneReceivesNoMore) {
  int numbers[2] = {};
  {
    auto [a, b] = Pipe();
    numbers[0] = a.fileno();
    numbers[1] = b.fileno();
    EXPECT_FALSE(a.closed());
    a.close();
    EXPECT_TRUE(a.closed());
    EXPECT_FALSE(a.readable());
    EXPECT_EQ(error_of([&a = a] { a.recv<int>(); }), std::errc::bad_file_descriptor);
    EXPECT_EQ(error_of([&a = a] { a.recv_bytes(); }), std::errc::bad_file_descriptor);
    EXPECT_EQ(error_of([&a = a] { a.send(1); }), std::errc::bad_file_descriptor);
    EXPECT_EQ(error_of([&a = a] { a.poll(); }), std::errc::bad_file_descriptor);
    EXPECT_EQ(error_of([&a = a] { a.fileno(); }), std::errc::bad_file_descriptor);
    a.close();  // may be repeated
  }
  for (int fd : numbers) EXPECT_EQ(::fcntl(fd, F_GETFD), -1);
}

// behaviour: Connection/send-to-closed-peer
TEST_F(PipeTest, SendingWhenTheOtherEndIsGoneIsABrokenPipeAndNoSignal) {
  for (bool duplex : {true, false}) {
    auto [in, out] = Pipe(duplex);
    in.close();
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(error_of([&out = out] { out.send(1); }), std::errc::broken_pipe);
      EXPECT_EQ(error_of([&out = out] { out.send_bytes("x"); }), std::errc::broken_pipe);
    }
  }
}

TEST_F(PipeTest, APeerThatGoesWithAMessageUnreadIsABrokenPipeToo) {
  auto [a, b] = Pipe();
  a.send(1);
  b.close();
  EXPECT_EQ(error_of([&a = a] { a.send(2); }), std::errc::broken_pipe);
  EXPECT_THROW(a.recv<int>(), cohort::EndOfFile);
  EXPECT_EQ(error_of([&a = a] { a.send(2); }), std::errc::broken_pipe);
}

// behaviour: Connection/poll-is-stable
TEST_F(PipeTest, PollingTwiceConsumesNothing) {
  for (bool duplex : {true, false}) {
    auto [in, out] = Pipe(duplex);
    EXPECT_FALSE(in.poll());
    out.send_bytes("");
    EXPECT_TRUE(in.poll());
    EXPECT_TRUE(in.poll());
    EXPECT_EQ(text_of(in.recv_bytes()), "");
    EXPECT_FALSE(in.poll());
  }
}

// behaviour: Connection/polled-sequence
TEST_P(Connections, MessagesAreReceivedOneByOneByAReaderThatPolls) {
  auto [ours, theirs] = Pipe();
  const std::vector<std::string> texts{"hello", "", "a", "b", "", "bye", "", "lop"};
  start_echo(child_, with(), &echo_bytes, ours, theirs);
  std::thread sender([&, &end = ours] {
    for (const auto& text : texts) {
      std::this_thread::sleep_for(3ms);  // slower than the reader
      end.send_bytes(text);
    }
  });
  for (const auto& text : texts) {
    const auto give_up = soon();
    while (!ours.poll(10ms)) ASSERT_LT(Clock::now(), *give_up);
    EXPECT_EQ(text_of(ours.recv_bytes()), text);
  }
  sender.join();
  EXPECT_FALSE(ours.poll());
  end_child(ours);
}

// behaviour: Connection/poll-never-takes-half
TEST_P(Connections, AProcessThatOnlyPollsLeavesWholeMessagesForOthers) {
  auto [in, out] = Pipe(false);
  cohort::Event polled;
  cohort::Event over;
  Process child(
      with(),
      [](Connection& end, cohort::Event& seen, cohort::Event& stop) {
        while (!stop.is_set()) {
          if (end.poll(1ms)) seen.set();
        }
      },
      in, polled, over);
  child.start();
  const auto message = std::string(50'000, 'h');
  for (int i = 0; i < 20; ++i) {
    out.send_bytes(message);
    ASSERT_TRUE(polled.wait_for(30s));
    EXPECT_EQ(text_of(in.recv_bytes()), message);
    polled.clear();
  }
  over.set();
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
}

// behaviour: Connection/bad-descriptor
TEST_F(PipeTest, AnInvalidDescriptorIsAnError) {
  for (int fd : {-1, 98'765})
    EXPECT_EQ(error_of([fd] { Connection::from_descriptor(fd); }), std::errc::bad_file_descriptor);
  EXPECT_THROW(Connection::from_descriptor(0, false, false), std::invalid_argument);
  auto [a, b] = Pipe();
  ::close(a.fileno());  // behind its back
  EXPECT_EQ(error_of([&a = a] { a.send(1); }), std::errc::bad_file_descriptor);
  EXPECT_EQ(error_of([&a = a] { a.recv<int>(); }), std::errc::bad_file_descriptor);
  EXPECT_EQ(error_of([&a = a] { a.poll(); }), std::errc::bad_file_descriptor);
  const Connection none;
  EXPECT_TRUE(none.closed());
  EXPECT_EQ(error_of([&] { none.recv<int>(); }), std::errc::bad_file_descriptor);
}

// Signals that are handled, at the thread that is in a call.
class Interrupted : public PipeTest {
 protected:
  void SetUp() override {
    PipeTest::SetUp();
    struct sigaction action {};
    action.sa_handler = [](int) { ++handled; };
    ::sigaction(SIGUSR1, &action, &before_);
    handled = 0;
  }
  void TearDown() override {
    ::sigaction(SIGUSR1, &before_, nullptr);
    PipeTest::TearDown();
  }
  // Until that many more were handled.
  static void interrupt(pthread_t thread, int times) {
    for (int i = 0; i < times; ++i) {
      const int seen = handled;
      ::pthread_kill(thread, SIGUSR1);
      ASSERT_TRUE(eventually([&] { return handled > seen; }));
    }
  }
  static inline std::atomic<int> handled = 0;
  struct sigaction before_ {};
};

// behaviour: Connection/recv-survives-signal
TEST_F(Interrupted, ABlockedReceiveCarriesOnAfterASignal) {
  auto [a, b] = Pipe();
  std::atomic<bool> ready = false;
  std::string got;
  std::thread receiver([&, &end = b] {
    ready = true;
    got = end.recv<std::string>();
  });
  ASSERT_TRUE(eventually([&] { return ready.load(); }));
  interrupt(receiver.native_handle(), 20);
  a.send("after the signals");
  receiver.join();
  EXPECT_EQ(got, "after the signals");
}

// behaviour: Connection/send-survives-signal
TEST_F(Interrupted, ABlockedSendCompletesAfterASignalWithoutLossOrRepetition) {
  for (bool duplex : {true, false}) {
    auto [in, out] = Pipe(duplex);
    std::string big(8 << 20, '\0');
    for (std::size_t i = 0; i < big.size(); ++i) big[i] = static_cast<char>(i * 7 + (i >> 11));
    std::atomic<bool> ready = false;
    std::thread sender([&, &end = out] {
      ready = true;
      end.send_bytes(big);
    });
    ASSERT_TRUE(eventually([&] { return ready.load(); }));
    ASSERT_TRUE(in.poll(30s));  // it has begun, and cannot go on
    interrupt(sender.native_handle(), 20);
    EXPECT_TRUE(text_of(in.recv_bytes()) == big);
    sender.join();
    EXPECT_FALSE(in.poll());
  }
}

}  // namespace
