// The behaviours of waiting for several things at once.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cohort/connection.hpp>
#include <cohort/connection_wait.hpp>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "os/fd.hpp"
#include "os/stream.hpp"
#include "processes.hpp"

namespace {

using namespace test;
using cohort::Connection;
using cohort::Pipe;
using cohort::connection::wait;
using cohort::os::Fd;

class Waits : public EachMethod {};
INSTANTIATE_TEST_SUITE_P(Methods, Waits, every_method(), method_name);
class WaitTest : public Watched {};

constexpr int kSenders = 4;
constexpr int kMessages = 10;
using Message = std::pair<int, int>;  // sender and number

void send_all(Connection& out, int sender, bool slow) {
  std::mt19937 random(static_cast<unsigned>(sender));
  for (int i = 0; i < kMessages; ++i) {
    if (slow) std::this_thread::sleep_for(std::chrono::microseconds(random() % 20'000));
    out.send(Message(sender, i));
  }
}

// Starts the senders, and waits over their pipes to the end of each.
std::vector<Message> collect(const cohort::ProcessOptions& options, bool slow) {
  std::vector<Connection> readers;
  std::vector<Process> children;
  for (int sender = 0; sender < kSenders; ++sender) {
    auto [in, out] = Pipe(false);
    children.emplace_back(options, &send_all, out, sender, slow);
    children.back().start();
    out.close();  // before the next child could inherit it
    readers.push_back(in);
  }
  std::vector<Message> messages;
  while (!readers.empty()) {
    auto ready = wait(readers, kPatience);
    EXPECT_FALSE(ready.empty());
    if (ready.empty()) break;
    for (const auto& reader : ready) {
      try {
        messages.push_back(reader.recv<Message>());
      } catch (const cohort::EndOfFile&) {
        std::erase(readers, reader);
      }
    }
  }
  for (auto& child : children) child.join();
  return messages;
}

// Every message of every sender once, each sender's in order.
void expect_all(const std::vector<Message>& messages) {
  std::map<int, std::vector<int>> by_sender;
  for (auto [sender, number] : messages) by_sender[sender].push_back(number);
  EXPECT_EQ(by_sender.size(), static_cast<std::size_t>(kSenders));
  for (const auto& [sender, numbers] : by_sender) {
    std::vector<int> expected(kMessages);
    for (int i = 0; i < kMessages; ++i) expected[static_cast<std::size_t>(i)] = i;
    EXPECT_EQ(numbers, expected) << sender;
  }
}

// behaviour: Wait/collects-from-many
TEST_P(Waits, EveryMessageOfEverySenderComesAndThenTheirEnds) {
  expect_all(collect(with(), false));
}

// behaviour: Wait/slow-senders
TEST_P(Waits, SendersThatPauseLoseAndRepeatNothing) { expect_all(collect(with(), true)); }

// Sends lines from a thread for each socket, and answers what came from each by waiting for all.
std::map<int, std::string> collect_sockets(bool slow) {
  std::vector<Fd> ends;
  std::vector<std::thread> senders;
  std::vector<int> open;
  for (int sender = 0; sender < kSenders; ++sender) {
    auto [in, out] = cohort::os::stream_pair(1 << 16);
    open.push_back(in.get());
    ends.push_back(std::move(in));
    senders.emplace_back([=, end = std::make_shared<Fd>(std::move(out))] {
      std::mt19937 random(static_cast<unsigned>(sender));
      for (int i = 0; i < kMessages; ++i) {
        if (slow) std::this_thread::sleep_for(std::chrono::microseconds(random() % 20'000));
        const auto line = std::to_string(sender) + ":" + std::to_string(i) + "\n";
        EXPECT_EQ(::send(end->get(), line.data(), line.size(), 0),
                  static_cast<ssize_t>(line.size()));
      }
    });
  }
  std::map<int, std::string> received;
  const auto all = open;
  while (!open.empty()) {
    const std::vector<int> ready = wait(open, kPatience);
    EXPECT_FALSE(ready.empty());
    if (ready.empty()) break;
    for (int fd : ready) {
      char text[32];
      auto length = ::recv(fd, text, sizeof text, 0);
      const auto sender = static_cast<int>(std::find(all.begin(), all.end(), fd) - all.begin());
      if (length > 0) received[sender].append(text, static_cast<std::size_t>(length));
      if (length <= 0) std::erase(open, fd);
    }
  }
  for (auto& sender : senders) sender.join();
  return received;
}

void expect_streams(const std::map<int, std::string>& received) {
  EXPECT_EQ(received.size(), static_cast<std::size_t>(kSenders));
  for (const auto& [sender, text] : received) {
    std::string expected;
    for (int i = 0; i < kMessages; ++i)
      expected += std::to_string(sender) + ":" + std::to_string(i) + "\n";
    EXPECT_EQ(text, expected);
  }
}

// behaviour: Wait/sockets
TEST_F(WaitTest, PlainSocketsAreWaitedForTogetherAndAnEmptyReadIsTheEnd) {
  expect_streams(collect_sockets(false));
}

// behaviour: Wait/sockets-slow
TEST_F(WaitTest, EachSocketEndsUpWithItsOwnStreamHoweverSlow) {
  expect_streams(collect_sockets(true));
}

// behaviour: Wait/timeout-empty
TEST_F(WaitTest, WithNothingReadyTheAnswerIsEmptyAfterTheLimitAndNotBefore) {
  auto [a, b] = Pipe();
  const auto before = Clock::now();
  EXPECT_TRUE(wait({a, b}, 120ms).empty());
  EXPECT_GE(Clock::now() - before, 120ms);
  b.send(1);
  auto ready = wait({a, b}, 30s);
  ASSERT_EQ(ready.size(), 1U);
  EXPECT_TRUE(ready[0] == a);
}

// behaviour: Wait/several-ready-together
TEST_P(Waits, EverythingReadyComesInOneCallInTheGivenOrderAndStaysReady) {
  auto [a, b] = Pipe();
  Process child(with(), [] {});
  child.start();
  ASSERT_TRUE(ends(child));
  b.send(1);
  for (int i = 0; i < 2; ++i) {
    auto ready = wait({a, b, child.sentinel()}, 30s);
    ASSERT_EQ(ready.size(), 2U);
    EXPECT_TRUE(ready[0] == a);
    EXPECT_TRUE(ready[1] == child.sentinel());
    EXPECT_FALSE(ready[0] == b);
  }
  EXPECT_EQ(a.recv<int>(), 1);
  a.send(2);
  auto ready = wait({child.sentinel(), a, b}, 30s);
  ASSERT_EQ(ready.size(), 2U);
  EXPECT_TRUE(ready[0] == child.sentinel());
  EXPECT_TRUE(ready[1] == b);
  child.join();
}

TEST_P(Waits, TheEndOfAProcessEndsAWait) {
  auto [a, b] = Pipe();
  Process child(
      with(), [](Connection& end) { end.recv<int>(); }, b);
  child.start();
  EXPECT_TRUE(wait({child.sentinel()}, 0s).empty());
  a.send(1);
  auto ready = wait({a, child.sentinel()});
  ASSERT_EQ(ready.size(), 1U);
  EXPECT_TRUE(ready[0] == child.sentinel());
  child.join();
}

// behaviour: Wait/negative-timeout
TEST_F(WaitTest, ANegativeLimitPolls) {
  auto [a, b] = Pipe();
  EXPECT_TRUE(wait({a, b}, -1s).empty());
  EXPECT_TRUE(wait({a, b}, -std::chrono::hours(1'000'000)).empty());
  b.send(1);
  EXPECT_EQ(wait({a, b}, -1s).size(), 1U);
}

}  // namespace
