// Pipes: handles inside messages, threads, deaths, and connections to other programs.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cohort/array.hpp>
#include <cohort/connection.hpp>
#include <cohort/event.hpp>
#include <cohort/pool.hpp>
#include <cohort/value.hpp>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include "arena_use.hpp"
#include "launch/descriptor_bank.hpp"
#include "os/stream.hpp"
#include "processes.hpp"
#include "wire/frame.hpp"

namespace {

using namespace test;
using cohort::Connection;
using cohort::Pipe;
using cohort::launch::deposits;
using cohort::managers::Object;

// No test leaves a block or a descriptor behind.
class PipeTest : public ArenaUse {
 protected:
  void TearDown() override {
    EXPECT_TRUE(eventually([] {
      Space::here().bury_the_dead(true);
      return deposits() == 0;
    })) << deposits()
        << " descriptors are left";
    ArenaUse::TearDown();
  }
};

class PipeEachMethod : public EachMethod {};
INSTANTIATE_TEST_SUITE_P(Methods, PipeEachMethod, every_method(), method_name);

template <class Body>
std::error_code error_of(Body&& body) {
  try {
    body();
  } catch (const std::system_error& error) {
    return error.code();
  }
  return {};
}

// ---- objects

TEST_F(PipeTest, TextsOfAllKindsAreReceivedAsStrings) {
  auto [a, b] = Pipe();
  const char* pointer = "pointer";
  a.send("literal");
  a.send(pointer);
  a.send(std::string_view("view"));
  a.send(std::string("string"));
  for (const char* expected : {"literal", "pointer", "view", "string"})
    EXPECT_EQ(b.recv<std::string>(), expected);
}

TEST_F(PipeTest, AMessageOfAnotherTypeIsAMismatchAndTheNextOneIsReceived) {
  auto [a, b] = Pipe();
  cohort::Event event;
  a.send(std::vector<int>{1, 2});
  a.send(event);
  a.send(std::string("next"));
  try {
    b.recv<double>();
    ADD_FAILURE() << "it was received";
  } catch (const cohort::TypeMismatch& error) {
    EXPECT_EQ(error.expected(), "double");
    EXPECT_NE(error.found().find("vector"), std::string::npos);
  }
  EXPECT_THROW(b.recv<double>(), cohort::TypeMismatch);
  EXPECT_EQ(b.recv<std::string>(), "next");
}

TEST_F(PipeTest, BytesThatAreNoObjectAreAnErrorAndTheNextMessageIsReceived) {
  auto [a, b] = Pipe();
  a.send_bytes("");
  a.send_bytes("text");
  a.send(1);
  EXPECT_THROW(b.recv<int>(), cohort::SerializationError);
  EXPECT_THROW(b.recv<int>(), cohort::SerializationError);
  EXPECT_EQ(b.recv<int>(), 1);
}

TEST_F(PipeTest, DataOfAnyKindGoesThroughAPipeAsAnObjectToo) {
  auto [a, b] = Pipe();
  const Object object = Object::dict({{"a", 1}, {"b", Object::list({2, 3.5})}});
  a.send(object);
  a.send(nullptr);
  EXPECT_EQ(b.recv<Object>(), object);
  EXPECT_TRUE(b.recv<Object>().is_none());
}

TEST_F(PipeTest, AConnectionSaysWhatItIs) {
  auto text = [](const Connection& connection) {
    std::ostringstream out;
    out << connection;
    return out.str();
  };
  auto [a, b] = Pipe();
  auto [in, out] = Pipe(false);
  EXPECT_EQ(text(a), "<Connection fd=" + std::to_string(a.fileno()) + " read-write>");
  EXPECT_EQ(text(in), "<Connection fd=" + std::to_string(in.fileno()) + " read>");
  EXPECT_EQ(text(out), "<Connection fd=" + std::to_string(out.fileno()) + " write>");
  a.close();
  EXPECT_EQ(text(a), "<Connection closed>");
  EXPECT_EQ(text(Connection()), "<Connection closed>");
}

TEST_F(PipeTest, CopiesMeanTheSameEnd) {
  auto [a, b] = Pipe();
  Connection copy = a;
  EXPECT_TRUE(copy == a);
  EXPECT_FALSE(a == b);
  EXPECT_EQ(copy.fileno(), a.fileno());
  copy.close();
  EXPECT_TRUE(a.closed());
  EXPECT_THROW(b.recv<int>(), cohort::EndOfFile);
}

// ---- handles in messages

TEST_P(PipeEachMethod, HandlesInMessagesWorkOnTheOtherSide) {
  auto [ours, theirs] = Pipe();
  Process child(
      with(),
      [](Connection& end) {
        auto values = end.recv<std::map<std::string, cohort::Value<int>>>();
        values.at("a").set(41);
        auto [array, event] = end.recv<std::pair<cohort::Array<int>, cohort::Event>>();
        array[2] = 5;
        event.set();
      },
      theirs);
  child.start();
  cohort::Value<int> value(0);
  cohort::Array<int> array(3);
  cohort::Event event;
  ours.send(std::map<std::string, cohort::Value<int>>{{"a", value}});
  ours.send(std::pair(array, event));
  EXPECT_TRUE(event.wait_for(30s));
  EXPECT_EQ(value.get(), 41);
  EXPECT_EQ(array[2], 5);
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
}

TEST_F(PipeTest, WhatAMessageRefersToLivesUntilItIsReceived) {
  auto [a, b] = Pipe();
  for (int i = 0; i < 10; ++i) {
    cohort::Value<int> value(i);
    a.send(value);
  }
  for (int i = 0; i < 10; ++i) EXPECT_EQ(b.recv<cohort::Value<int>>().get(), i);
}

TEST_F(PipeTest, WhatNobodyReceivedGoesWithTheEnds) {
  auto [in, out] = Pipe(false);
  {
    auto [a, b] = Pipe();
    for (int i = 0; i < 3; ++i) {
      a.send(cohort::Array<int>(100'000));
      b.send(cohort::Value<int>(1));
    }
    a.send(out);
    out.close();
    EXPECT_FALSE(in.poll());
    a.close();
    EXPECT_FALSE(in.poll());
  }
  EXPECT_THROW(in.recv<int>(), cohort::EndOfFile);  // the descriptor in it is closed, too
}

TEST_F(PipeTest, AConnectionTravelsInAnyMessage) {
  auto channel = Channel::make();
  auto [a, b] = Pipe();
  channel.send(std::vector<Connection>{b, Connection()});
  b.close();
  auto received = channel.receive<std::vector<Connection>>();
  ASSERT_EQ(received.size(), 2U);
  EXPECT_TRUE(received[1].closed());
  received[0].send(std::string("through a ring"));
  EXPECT_EQ(a.recv<std::string>(), "through a ring");
  received.clear();
  EXPECT_THROW(a.recv<std::string>(), cohort::EndOfFile);
}

TEST_F(PipeTest, ADroppedMessageClosesTheConnectionInIt) {
  auto [a, b] = Pipe();
  {
    auto channel = Channel::make();
    channel.send(b);
    b.close();
    EXPECT_FALSE(a.poll());
  }
  EXPECT_THROW(a.recv<int>(), cohort::EndOfFile);
}

TEST_P(PipeEachMethod, BothEndsOfAPipeMayTravelInOneMessage) {
  auto [ours, theirs] = Pipe();
  Process child(
      with(),
      [](Connection& end) {
        auto [a, b] = end.recv<std::pair<Connection, Connection>>();
        cohort::Value<int> value(3);
        a.send(value);
        end.send(b.recv<cohort::Value<int>>().get());
      },
      theirs);
  child.start();
  ours.send(Pipe());
  EXPECT_EQ(ours.recv<int>(), 3);
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
}

TEST_F(PipeTest, AnEndMayTravelThroughItsOwnPipeAndGoesWithIt) {
  auto [a, b] = Pipe();
  a.send(a);
  a.send(std::pair(b, cohort::Value<int>(4)));
  a.close();
  auto back = b.recv<Connection>();
  back.send(6);
  EXPECT_EQ((b.recv<std::pair<Connection, cohort::Value<int>>>().second.get()), 4);
  EXPECT_EQ(b.recv<int>(), 6);
  back.send(back);  // and nobody receives it
  back.send(b);
}

int answer(const Connection& connection, int number) {
  connection.send(number);
  return connection.recv<int>();
}

TEST_F(PipeTest, AConnectionMayBeATasksArgument) {
  cohort::Pool pool(1);
  auto [ours, theirs] = Pipe();
  int result = 0;
  std::thread caller([&, end = theirs] { result = pool.apply(answer, end, 8); });
  EXPECT_EQ(ours.recv<int>(), 8);
  ours.send(9);
  caller.join();
  EXPECT_EQ(result, 9);
  theirs.close();
  EXPECT_THROW(ours.recv<int>(), cohort::EndOfFile);
}

int die_first(const Connection& connection) {
  connection.send(static_cast<int>(::getpid()));
  if (connection.recv<int>() == 0) ::raise(SIGKILL);
  return connection.recv<int>();
}

TEST_F(PipeTest, ATaskThatIsRetriedGetsItsConnectionAgain) {
  cohort::Pool pool({.processes = 1, .retries = 1});
  auto [ours, theirs] = Pipe();
  int result = 0;
  std::thread caller([&, end = theirs] { result = pool.apply(die_first, end); });
  const auto first = ours.recv<int>();
  ours.send(0);
  EXPECT_NE(ours.recv<int>(), first);
  ours.send(1);
  ours.send(77);
  caller.join();
  EXPECT_EQ(result, 77);
}

// ---- deaths

TEST_F(PipeTest, ASenderMayBeKilledAtEachStepAndNothingIsLostOrLeft) {
  for (const char* step : {"hub.parcel_made", "hub.noted", "hub.handed_over"}) {
    SCOPED_TRACE(step);
    auto [a, b] = Pipe();
    cohort::Value<int> before(1);
    cohort::Value<int> after(2);
    Member member([&, &end = a] {
      end.send(before);
      die_at(step);
      end.send(cohort::Value<int>(5));
    });
    ASSERT_EQ(member.wait(), -SIGKILL);
    a.send(after);
    EXPECT_EQ(b.recv<cohort::Value<int>>().get(), 1);
    const bool sent = std::string_view(step) == "hub.handed_over";
    if (sent) {
      EXPECT_EQ(b.recv<cohort::Value<int>>().get(), 5);
    }
    EXPECT_EQ(b.recv<cohort::Value<int>>().get(), 2);
    EXPECT_FALSE(b.poll());
    ASSERT_TRUE(member.bury());
  }
}

TEST_F(PipeTest, AReceiverMayBeKilledAtEachStepAndNothingIsLeft) {
  for (const char* step : {"hub.taking", "block_refs.adopted", "shared_block.parcel_released"}) {
    SCOPED_TRACE(step);
    auto [a, b] = Pipe();
    auto [in, out] = Pipe(false);
    a.send(std::pair(cohort::Value<int>(5), out));
    out.close();
    Member member([&, &end = b] {
      die_at(step);
      end.recv<std::pair<cohort::Value<int>, Connection>>();
    });
    ASSERT_EQ(member.wait(), -SIGKILL);
    ASSERT_TRUE(member.bury());
    a.send(cohort::Value<int>(6));
    EXPECT_EQ(b.recv<cohort::Value<int>>().get(), 6);
    a.close();
    b.close();
    a = b = {};
    EXPECT_THROW(in.recv<int>(), cohort::EndOfFile);
  }
}

TEST_F(PipeTest, ASenderThatIsKilledInTheMiddleOfAMessageIsTheEnd) {
  for (bool duplex : {true, false}) {
    auto [in, out] = Pipe(duplex);
    Member member([&, &receiver = in, &end = out] {
      receiver.close();
      end.send_bytes(std::string(32 << 20, 'x'));
    });
    out.close();
    ASSERT_TRUE(in.poll(30s));
    member.kill();
    EXPECT_THROW(in.recv_bytes(), cohort::EndOfFile);
    EXPECT_THROW(in.recv_bytes(), cohort::EndOfFile);
  }
}

// ---- threads

TEST_F(PipeTest, ThreadsMayUseBothEndsAtOnceAndMessagesStayWhole) {
  for (bool duplex : {true, false}) {
    auto [in, out] = Pipe(duplex);
    constexpr int kThreads = 3;
    constexpr int kEach = 200;
    std::vector<std::thread> threads;
    std::atomic<int> whole = 0;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, &end = out, t] {
        for (int i = 0; i < kEach; ++i) {
          // Some larger than the buffers, so that each is sent in several parts.
          const std::size_t size = i % 50 == 0 ? 1'500'000 : static_cast<std::size_t>(i);
          end.send_bytes(std::string(size, static_cast<char>('a' + t)));
        }
      });
      threads.emplace_back([&, &end = in] {
        for (int i = 0; i < kEach; ++i) {
          const auto message = end.recv_bytes();
          const std::set<std::byte> letters(message.begin(), message.end());
          if (letters.size() <= 1) ++whole;
        }
      });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(whole, kThreads * kEach);
    EXPECT_FALSE(in.poll());
  }
}

TEST_F(PipeTest, ClosingEndsAReceiveInAnotherThreadAndItReadsNothingElse) {
  for (bool duplex : {true, false}) {
    auto [in, out] = Pipe(duplex);
    const int number = in.fileno();
    std::atomic<bool> ready = false;
    std::atomic<bool> over = false;
    std::error_code code;
    std::thread receiver([&, &end = in] {
      ready = true;
      code = error_of([&] { end.recv_bytes(); });
      over = true;
    });
    ASSERT_TRUE(eventually([&] { return ready.load(); }));
    std::this_thread::sleep_for(10ms);  // most likely it waits by now; either way must hold
    in.close();
    // Whoever opens something now must not get the number while it is still read from.
    auto [a, b] = cohort::os::make_pipe(4096);
    EXPECT_TRUE((a.get() != number && b.get() != number) || over) << "its number went too soon";
    ASSERT_EQ(::write(b.get(), "\0\0\0\1x", 5), 5);
    receiver.join();
    EXPECT_EQ(code, std::errc::bad_file_descriptor);
    char text[8];
    EXPECT_EQ(::read(a.get(), text, sizeof text), 5);
    EXPECT_EQ(error_of([&end = out] { end.send_bytes("x"); }), std::errc::broken_pipe);
  }
}

TEST_F(PipeTest, AChildThatIsForkedWhileAThreadReceivesMayUseTheSameEnd) {
  auto [a, b] = Pipe();
  std::atomic<bool> ready = false;
  std::thread receiver([&, &end = b] {
    ready = true;
    EXPECT_EQ(end.recv<int>(), 1);
  });
  ASSERT_TRUE(eventually([&] { return ready.load(); }));
  std::this_thread::sleep_for(10ms);  // most likely it waits by now; either way must hold
  auto child = Process::forked([a = a, b = b] {
    b.send(5);
    b.poll();
    a.close();
    b.close();
  });
  child.start();
  EXPECT_EQ(a.recv<int>(), 5);
  ASSERT_TRUE(child.join_for(30s));
  EXPECT_EQ(child.exitcode(), 0);
  a.send(1);
  receiver.join();
  EXPECT_FALSE(a.closed());  // what the child closed was its own
}

// ---- limits

TEST_F(PipeTest, AMessageBeyondTheLimitEndsReceivingAndNotSending) {
  auto [a, b] = Pipe();
  a.send_bytes("12345678");
  a.send_bytes("123456789");
  EXPECT_EQ(b.recv_bytes(8).size(), 8U);
  EXPECT_THROW(b.recv_bytes(8), std::length_error);
  EXPECT_FALSE(b.readable());
  EXPECT_TRUE(b.writable());
  EXPECT_EQ(error_of([&b = b] { b.recv_bytes(); }), std::errc::bad_file_descriptor);
  b.send(1);
  EXPECT_EQ(a.recv<int>(), 1);
  auto [in, out] = Pipe(false);
  out.send_bytes("12");
  EXPECT_THROW(in.recv_bytes(1), std::length_error);
  EXPECT_TRUE(in.closed());
}

// ---- other programs

std::pair<Connection, Connection> foreign_pair() {
  auto [a, b] = cohort::os::stream_pair(1 << 16);
  return {Connection::from_descriptor(a.release()), Connection::from_descriptor(b.release())};
}

TEST_F(PipeTest, ToOtherProgramsObjectsGoAsPickles) {
  auto [a, b] = foreign_pair();
  a.send(std::map<std::string, int>{{"one", 1}});
  a.send("text");
  a.send(std::vector<double>{1.5});
  a.send(Object::list({1, "two"}));
  EXPECT_EQ((b.recv<std::map<std::string, int>>()), (std::map<std::string, int>{{"one", 1}}));
  EXPECT_EQ(b.recv<Object>(), Object("text"));
  EXPECT_EQ(b.recv<std::vector<double>>(), std::vector<double>{1.5});
  EXPECT_THROW(b.recv<int>(), cohort::TypeMismatch);
  a.send(3);
  EXPECT_EQ(b.recv<int>(), 3);
}

struct OfThisProgramOnly {
  int x = 0;
};

TEST_F(PipeTest, WhatMeansNothingToOtherProgramsIsRefusedAndTheConnectionGoesOn) {
  auto [a, b] = foreign_pair();
  EXPECT_THROW(a.send(OfThisProgramOnly{}), cohort::SerializationError);
  EXPECT_THROW(a.send(cohort::Event()), cohort::SerializationError);
  a.send(1);
  EXPECT_THROW(b.recv<OfThisProgramOnly>(), cohort::SerializationError);
  EXPECT_EQ(b.recv<int>(), 1);  // it was not taken
  a.send_bytes("no pickle");
  EXPECT_THROW(b.recv<int>(), cohort::SerializationError);
  a.send(2);
  EXPECT_EQ(b.recv<int>(), 2);
}

TEST_F(PipeTest, AForeignStreamThatIsOutOfStepCanBeReadNoMore) {
  auto [ours, theirs] = cohort::os::stream_pair(1 << 16);
  auto connection = Connection::from_descriptor(ours.release());
  ASSERT_EQ(::write(theirs.get(), "\xff\xff\xff\xfe", 4), 4);
  EXPECT_THROW(connection.recv_bytes(), cohort::Error);
  EXPECT_FALSE(connection.readable());
  EXPECT_TRUE(connection.writable());
}

TEST_F(PipeTest, ANonBlockingDescriptorServesAsWell) {
  auto [in, out] = cohort::os::make_pipe(4096);
  for (int fd : {in.get(), out.get()}) ASSERT_EQ(::fcntl(fd, F_SETFL, O_NONBLOCK), 0);
  auto receiver = Connection::from_descriptor(in.release(), true, false);
  auto sender = Connection::from_descriptor(out.release(), false, true);
  const std::string big(1 << 20, 'n');
  std::thread thread([&] { sender.send_bytes(big); });
  EXPECT_EQ(receiver.recv_bytes().size(), big.size());
  thread.join();
}

TEST_F(PipeTest, AChildThatTheProgramForksItselfMayUsePipesForPlainObjects) {
  auto [a, b] = Pipe();
  EXPECT_EQ(thrown_in_host_fork([&end = b] { end.send(4); }), "nothing was thrown");
  EXPECT_EQ(a.recv<int>(), 4);
  cohort::Event event;
  EXPECT_EQ(thrown_in_host_fork([&, &end = b] { end.send(event); }).find(kInert), 0U);
}

}  // namespace
