// Waiting for several things at once: what may be given, and what is answered.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cohort/connection_wait.hpp>
#include <list>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "arena/block_refs.hpp"
#include "member.hpp"
#include "os/event.hpp"

namespace {

using namespace test;
using cohort::Connection;
using cohort::Pipe;
using cohort::connection::wait;
using cohort::connection::Waitable;
using cohort::connection::WaitableObject;

class ConnectionWaitTest : public Watched {};

// Anything that has a descriptor, such as a listener.
struct Source {
  cohort::os::Event event{};
  int fileno() const { return event.get(); }
};

TEST_F(ConnectionWaitTest, ARangeIsAnsweredInItsOwnKindAndOrder) {
  std::vector<std::pair<Connection, Connection>> pipes;
  for (int i = 0; i < 4; ++i) pipes.push_back(Pipe());
  std::list<Connection> connections;
  std::vector<int> numbers;
  for (auto& [a, b] : pipes) {
    connections.push_back(a);
    numbers.push_back(a.fileno());
  }
  pipes[3].second.send(1);
  pipes[1].second.send(1);
  auto ready = wait(connections);
  static_assert(std::is_same_v<decltype(ready), std::vector<Connection>>);
  EXPECT_EQ(ready, (std::vector<Connection>{pipes[1].first, pipes[3].first}));
  auto ready_numbers = wait(numbers, 0s);
  static_assert(std::is_same_v<decltype(ready_numbers), std::vector<int>>);
  EXPECT_EQ(ready_numbers, (std::vector<int>{numbers[1], numbers[3]}));
  EXPECT_EQ(wait(std::array{numbers[0], numbers[1]}, 0s), std::vector<int>{numbers[1]});
}

TEST_F(ConnectionWaitTest, ThingsOfSeveralKindsAreToldApartInTheAnswer) {
  auto [a, b] = Pipe();
  Source quiet;
  Source loud;
  loud.event.signal();
  b.send(1);
  const std::vector<Waitable> ready = wait({loud, quiet, a, b, quiet.fileno()}, 30s);
  ASSERT_EQ(ready.size(), 2U);
  EXPECT_TRUE(ready[0] == loud);
  EXPECT_TRUE(ready[0] == loud.fileno());
  EXPECT_FALSE(ready[0] == quiet);
  EXPECT_TRUE(ready[1] == a);
  EXPECT_TRUE(a == ready[1]);
  EXPECT_FALSE(ready[1] == b);
  a.close();
  EXPECT_FALSE(ready[1] == a);  // what is closed is nothing that could be ready
}

TEST_F(ConnectionWaitTest, TheLimitIsADurationOrNone) {
  auto [a, b] = Pipe();
  using Limit = std::optional<std::chrono::milliseconds>;
  EXPECT_TRUE(wait({a}, Limit(1ms)).empty());
  EXPECT_TRUE(wait({a}, std::chrono::duration<double>(0.001)).empty());
  b.send(1);
  EXPECT_EQ(wait({a}, Limit()).size(), 1U);
  EXPECT_EQ(wait({a}, std::nullopt).size(), 1U);
  EXPECT_EQ(wait({a}, std::chrono::hours::max()).size(), 1U);
  EXPECT_EQ(wait(std::vector{a}, Limit(1ms)).size(), 1U);
}

TEST_F(ConnectionWaitTest, WithNothingToWaitForOnlyTimePasses) {
  EXPECT_TRUE(wait(std::vector<int>(), 0s).empty());
  const auto before = Clock::now();
  EXPECT_TRUE(wait(std::vector<Connection>(), 30ms).empty());
  EXPECT_GE(Clock::now() - before, 30ms);
}

TEST_F(ConnectionWaitTest, AClosedConnectionOrADescriptorThatIsNotOpenIsAnError) {
  auto [a, b] = Pipe();
  auto code = [](auto&& objects) {
    try {
      wait(objects, 0s);
    } catch (const std::system_error& error) {
      return error.code();
    }
    return std::error_code();
  };
  EXPECT_EQ(code(std::vector<int>{a.fileno(), 98'765}), std::errc::bad_file_descriptor);
  b.close();
  EXPECT_EQ(code(std::vector{a, b}), std::errc::bad_file_descriptor);
  EXPECT_EQ(code(std::vector{Connection()}), std::errc::bad_file_descriptor);
}

TEST_F(ConnectionWaitTest, TheEndOfAStreamIsReady) {
  auto [in, out] = Pipe(false);
  EXPECT_TRUE(wait({in}, 0s).empty());
  out.close();
  EXPECT_EQ(wait({in}, 30s).size(), 1U);
  EXPECT_EQ(wait({in}, 30s).size(), 1U);
}

TEST_F(ConnectionWaitTest, AHandledSignalDoesNotEndAWait) {
  struct sigaction action {};
  struct sigaction before {};
  static std::atomic<int> handled;
  handled = 0;
  action.sa_handler = [](int) { ++handled; };
  ::sigaction(SIGUSR1, &action, &before);
  auto [a, b] = Pipe();
  std::atomic<bool> ready = false;
  std::vector<Waitable> answer;
  std::thread waiter([&, &end = a] {
    ready = true;
    answer = wait({end});
  });
  ASSERT_TRUE(eventually([&] { return ready.load(); }));
  for (int i = 0; i < 10; ++i) {
    const int seen = handled;
    ::pthread_kill(waiter.native_handle(), SIGUSR1);
    ASSERT_TRUE(eventually([&] { return handled > seen; }));
  }
  b.send(1);
  waiter.join();
  ASSERT_EQ(answer.size(), 1U);
  EXPECT_TRUE(answer[0] == a);
  ::sigaction(SIGUSR1, &before, nullptr);
}

struct Queueish {
  cohort::detail::BlockRef block;
  const cohort::detail::BlockRef& watched_block() const { return block; }
};

TEST_F(ConnectionWaitTest, WhatMayBeWaitedForIsKnownAtCompileTime) {
  static_assert(WaitableObject<Connection> && WaitableObject<int> && WaitableObject<Source>);
  static_assert(WaitableObject<Queueish>);
  static_assert(!WaitableObject<std::string> && !WaitableObject<double>);
  const Queueish one{cohort::detail::BlockRefs::create(8, cohort::arena::BlockKind::plain)};
  const Queueish another{cohort::detail::BlockRefs::create(8, cohort::arena::BlockKind::plain)};
  EXPECT_TRUE(Waitable(one) == one);
  EXPECT_FALSE(Waitable(one) == another);
  EXPECT_FALSE(Waitable(one) == 0);
}

}  // namespace
