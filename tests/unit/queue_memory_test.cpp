// What queues take of the arena, and give back.
#include <algorithm>
#include <chrono>
#include <cohort/queue.hpp>
#include <cohort/sync.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "arena_use.hpp"
#include "processes.hpp"
#include "sync_fixture.hpp"

namespace {

using namespace test;
using cohort::Event;
using cohort::Queue;

constexpr std::size_t kMiB = std::size_t{1} << 20;

// Freed memory of messages that is kept for the next ones, and everything small.
constexpr std::size_t kKept = 72 * kMiB;

class QueueMemory : public ArenaUse {};

bool memory_is_back() {
  return eventually([] { return arena_bytes() <= kKept; }, Clock::now() + 10s);
}

struct Large {
  std::uint64_t number = 0;
  std::uint64_t filling[15] = {};
};
constexpr std::uint64_t kMillion = 1'000'000;

TEST_F(QueueMemory, AMillionMessagesGrowAQueueThatThenShrinks) {
  const Queue<Large> queue;
  const std::size_t empty_blocks = blocks_held();
  for (int round = 0; round < 2; ++round) {
    for (std::uint64_t i = 0; i < kMillion; ++i) queue.put({i, {}});
    EXPECT_EQ(queue.size(), kMillion);
    EXPECT_GE(arena_bytes(), kMillion * sizeof(Large));
    EXPECT_LE(arena_bytes(), kMillion * sizeof(Large) * 5 / 4 + kKept);
    EXPECT_GT(blocks_held(), empty_blocks + 100);
    for (std::uint64_t i = 0; i < kMillion; ++i) ASSERT_EQ(queue.get().number, i);
    EXPECT_LE(blocks_held(), empty_blocks + 1) << "the segments are given back";
    EXPECT_TRUE(memory_is_back()) << arena_bytes() / kMiB << " MiB";
  }
}

TEST_F(QueueMemory, AQueueThatGoesWithAMillionMessagesGivesThemBack) {
  for (int round = 0; round < 2; ++round) {
    Queue<Large> queue;
    queue.put_many(std::vector<Large>(kMillion));
    EXPECT_GE(arena_bytes(), kMillion * sizeof(Large));
  }
  EXPECT_TRUE(memory_is_back()) << arena_bytes() / kMiB << " MiB";
}

TEST_F(QueueMemory, LargeMessagesTakeTheirSizeOnceAndGiveItBack) {
  const Queue<std::string> queue;
  for (int i = 0; i < 150; ++i) queue.put(std::string(kMiB, 'x'));
  EXPECT_GE(arena_bytes(), 150 * kMiB);
  EXPECT_LE(arena_bytes(), 200 * kMiB + kKept);
  for (int i = 0; i < 150; ++i) ASSERT_EQ(queue.get().size(), kMiB);
  EXPECT_TRUE(memory_is_back()) << arena_bytes() / kMiB << " MiB";
}

TEST_F(QueueMemory, AnImmediateShutdownGivesTheMessagesBack) {
  const Queue<std::string> queue;
  const std::size_t empty_blocks = blocks_held();
  for (int i = 0; i < 150; ++i) queue.put(std::string(kMiB, 'x'));
  for (int i = 0; i < 50'000; ++i) queue.put(std::string(100, 'x'));
  queue.shutdown(true);
  EXPECT_LE(blocks_held(), empty_blocks + 1);
  EXPECT_TRUE(memory_is_back()) << arena_bytes() / kMiB << " MiB";
}

TEST_F(QueueMemory, SteadyTrafficTakesNoMoreAndMore) {
  const Queue<std::string> queue;
  const auto turn = [&](int rounds) {
    for (int round = 0; round < rounds; ++round) {
      for (std::size_t i = 0; i < 20; ++i) queue.put(std::string(i * i * 100, 'x'));
      for (int i = 0; i < 20; ++i) queue.get();
    }
  };
  turn(50);
  const std::size_t blocks = blocks_held();
  const std::size_t bytes = arena_bytes();
  turn(1000);
  EXPECT_LE(blocks_held(), blocks + 1);
  EXPECT_LE(arena_bytes(), bytes + kMiB);
}

TEST_F(QueueMemory, AProcessThatPutsFasterThanOthersGetIsKilledAndNothingStays) {
  {
    const Queue<std::string> queue;
    const Event full;
    Children children;
    children.fork([&] {
      for (;;) {
        queue.put(std::string(queue.size() % 30'000, 'x'));
        if (queue.size() == 5000) full.set();
        if (queue.size() > 6000) ::pause();
      }
    });
    full.wait();
    children.kill(0);
    EXPECT_GE(queue.size(), 5000U);
    for (int i = 0; i < 2000; ++i) queue.get();
  }
  EXPECT_TRUE(memory_is_back()) << arena_bytes() / kMiB << " MiB";
}

TEST_F(QueueMemory, ThousandsOfQueuesComeAndGo) {
  std::vector<Queue<int>> queues(2000);
  for (std::size_t i = 0; i < queues.size(); ++i) queues[i].put(static_cast<int>(i));
  for (std::size_t i = 0; i < queues.size(); ++i) ASSERT_EQ(queues[i].get(), static_cast<int>(i));
  queues.clear();
  EXPECT_TRUE(memory_is_back()) << arena_bytes() / kMiB << " MiB";
}

// A program of its own, whose arena is small.
TEST_F(QueueMemory, AFullArenaIsAnErrorOfPutAndAllGoesOn) {
  const Outcome outcome = run_program("queue_exhausted", {});
  EXPECT_EQ(outcome.code, 0) << outcome;
}

}  // namespace
