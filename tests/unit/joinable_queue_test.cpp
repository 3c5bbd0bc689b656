#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cohort/queue.hpp>
#include <cohort/sync.hpp>
#include <list>
#include <string>
#include <vector>

#include "sleepers.hpp"
#include "sync_fixture.hpp"

namespace {

using namespace test;
using cohort::Event;
using cohort::InvalidStateError;
using cohort::JoinableQueue;
using cohort::Queue;
using cohort::QueueShutDown;

using JoinableQueueTest = SyncTest;
class JoinableQueues : public EachMethodSync {};
INSTANTIATE_TEST_SUITE_P(Methods, JoinableQueues, every_method(), method_name);

// Gets so many and stays, with none of them done.
void take_and_stay(const JoinableQueue<int>& queue, int count, const Event& taken) {
  for (int i = 0; i < count; ++i) queue.get();
  taken.set();
  for (;;) ::pause();
}

void work_off(const JoinableQueue<int>& queue) {
  for ([[maybe_unused]] int task : queue.drain()) queue.task_done();
}

void wait_for_all(const JoinableQueue<int>& queue) { queue.join(); }

// ---- counting

TEST_F(JoinableQueueTest, AMessageIsUnfinishedFromItsPutUntilItIsDone) {
  const JoinableQueue<std::string> queue;
  EXPECT_EQ(queue.unfinished(), 0U);
  queue.put("small");
  queue.put(std::string(100'000, 'x'));
  EXPECT_EQ(queue.unfinished(), 2U);
  queue.get();
  EXPECT_EQ(queue.unfinished(), 2U);
  queue.task_done();
  EXPECT_EQ(queue.unfinished(), 1U);
  queue.get();
  EXPECT_FALSE(queue.join_for(0s));
  queue.task_done();
  EXPECT_EQ(queue.unfinished(), 0U);
  EXPECT_TRUE(queue.join_for(0s));
  EXPECT_EQ(queue.lost(), 0U);
}

TEST_F(JoinableQueueTest, EveryWayToGetCounts) {
  const JoinableQueue<int> queue;
  queue.put_many(std::vector<int>(10, 1));
  std::vector<int> got;
  std::list<int> list;
  int room[2] = {};
  queue.get();
  queue.try_get();
  queue.get_for(1s);
  queue.get_nowait();
  ASSERT_EQ(queue.get_many(got, 2), 2U);
  ASSERT_EQ(queue.get_many(std::back_inserter(list), 2), 2U);
  ASSERT_EQ(queue.get_many(&room[0], 2), 2U);
  EXPECT_TRUE(queue.empty());
  for (std::size_t left = 10; left > 0; --left) {
    EXPECT_EQ(queue.unfinished(), left);
    EXPECT_FALSE(queue.join_for(-1h));
    queue.task_done();
  }
  EXPECT_THROW(queue.task_done(), InvalidStateError);
  queue.join();
}

TEST_F(JoinableQueueTest, BatchesOfObjectsCountEach) {
  const JoinableQueue<std::string> queue;
  queue.put_many(std::vector<std::string>{"a", std::string(50'000, 'b'), "c", ""});
  EXPECT_EQ(queue.unfinished(), 4U);
  std::vector<std::string> got;
  while (queue.try_get_many(got, 3) != 0) {
  }
  EXPECT_EQ(got.size(), 4U);
  EXPECT_EQ(queue.unfinished(), 4U);
  for (int i = 0; i < 4; ++i) queue.task_done();
  EXPECT_TRUE(queue.join_for(0s));
}

TEST_F(JoinableQueueTest, AGetThatFoundNothingCountsNothing) {
  const JoinableQueue<int> queue;
  EXPECT_FALSE(queue.try_get());
  EXPECT_FALSE(queue.get_for(1ms));
  EXPECT_EQ(queue.unfinished(), 0U);
  EXPECT_THROW(queue.task_done(), InvalidStateError);
  queue.join();
}

TEST_F(JoinableQueueTest, TaskDoneTooOftenIsAnErrorAndChangesNothing) {
  const JoinableQueue<int> queue;
  EXPECT_THROW(queue.task_done(), InvalidStateError);
  queue.put(1);
  EXPECT_THROW(queue.task_done(), InvalidStateError);  // nobody has got it
  EXPECT_EQ(queue.unfinished(), 1U);
  queue.get();
  queue.task_done();
  EXPECT_THROW(queue.task_done(), InvalidStateError);
  queue.put(2);
  EXPECT_EQ(queue.unfinished(), 1U);
  EXPECT_FALSE(queue.join_for(0s));
}

TEST_F(JoinableQueueTest, ABoundAppliesToWhatWaitsNotToWhatIsUnfinished) {
  const JoinableQueue<int> queue(1);
  queue.put(1);
  EXPECT_FALSE(queue.try_put(2));
  queue.get();
  EXPECT_TRUE(queue.try_put(2));
  EXPECT_EQ(queue.unfinished(), 2U);
}

TEST_F(JoinableQueueTest, ATaskThatCannotBeReadIsStillATask) {
  struct Unreadable {
    void save(cohort::detail::OutArchive&) const {}
    void load(cohort::detail::InArchive&) { throw std::runtime_error("unreadable"); }
  };
  const JoinableQueue<Unreadable> queue;
  queue.put({});
  EXPECT_THROW(queue.get(), std::runtime_error);
  EXPECT_EQ(queue.unfinished(), 1U);
  queue.task_done();
  queue.join();
}

// ---- joining

TEST_F(JoinableQueueTest, JoinOfAnUnusedQueueReturnsAtOnce) {
  const JoinableQueue<int> queue;
  queue.join();
  EXPECT_TRUE(queue.join_for(0s));
  EXPECT_TRUE(queue.join_for(-1s));
}

TEST_F(JoinableQueueTest, JoinForEndsNotBeforeItsTime) {
  const JoinableQueue<int> queue;
  queue.put(1);
  const auto before = Clock::now();
  EXPECT_FALSE(queue.join_for(50ms));
  EXPECT_GE(Clock::now() - before, 50ms);
}

TEST_P(JoinableQueues, JoinWaitsForTheWorkersOfFourProcesses) {
  const JoinableQueue<int> queue;
  Children children(GetParam());
  for (int i = 0; i < 4; ++i) children.add(work_off, queue);
  for (int round = 0; round < 3; ++round) {
    queue.put_many(std::vector<int>(500, round));
    queue.join();
    EXPECT_EQ(queue.unfinished(), 0U);
    EXPECT_TRUE(queue.empty());
  }
  queue.shutdown();
  children.join();
  EXPECT_EQ(queue.lost(), 0U);
}

TEST_P(JoinableQueues, JoinersOfSeveralProcessesAreAllReleased) {
  const JoinableQueue<int> queue;
  queue.put(1);
  Children children(GetParam());
  for (int i = 0; i < 3; ++i) children.add(wait_for_all, queue);
  ASSERT_TRUE(sleep_comes(queue, 3));
  queue.get();
  EXPECT_EQ(sleepers_on(queue), 3U);
  queue.task_done();
  children.join();
}

TEST_P(JoinableQueues, TheMessageAnotherProcessGotIsDoneWhenThatSaysSo) {
  const JoinableQueue<int> queue;
  const Event taken, go;
  queue.put(1);
  Children children(GetParam());
  children.add(
      [](const JoinableQueue<int>& theirs, const Event& has, const Event& may) {
        theirs.get();
        has.set();
        may.wait();
        theirs.task_done();
      },
      queue, taken, go);
  taken.wait();
  EXPECT_FALSE(queue.join_for(20ms));
  go.set();
  queue.join();
  children.join();
  EXPECT_EQ(queue.lost(), 0U);
}

TEST_P(JoinableQueues, OneProcessMaySayDoneForAnother) {
  const JoinableQueue<int> queue;
  const Event taken;
  queue.put_many(std::vector{1, 2});
  Children children(GetParam());
  children.add(take_and_stay, queue, 2, taken);
  taken.wait();
  queue.task_done();
  EXPECT_EQ(queue.unfinished(), 1U);
  queue.task_done();
  queue.join();
  EXPECT_THROW(queue.task_done(), InvalidStateError);
  children.kill(0);
  EXPECT_EQ(queue.lost(), 0U);
}

// A task that puts what follows from it is done only then: join sees no gap.
TEST_P(JoinableQueues, JoinWaitsForTasksThatTasksPut) {
  const JoinableQueue<int> queue;
  const Queue<int> done;
  Children children(GetParam());
  for (int i = 0; i < 3; ++i) {
    children.add(
        [](const JoinableQueue<int>& tasks, const Queue<int>& leaves) {
          for (int depth : tasks.drain()) {
            if (depth == 0) leaves.put(1);
            for (int child = 0; depth > 0 && child < 2; ++child) tasks.put(depth - 1);
            tasks.task_done();
          }
        },
        queue, done);
  }
  for (int round = 1; round <= 20; ++round) {
    queue.put(6);
    queue.join();
    ASSERT_EQ(done.size(), 64U * static_cast<std::size_t>(round));
  }
  queue.shutdown();
  children.join();
}

TEST_F(JoinableQueueTest, ThreadsOfOneProcessShareTheCount) {
  const JoinableQueue<int> queue(100);
  std::atomic<int> done{0};
  Threads workers(4, [&](int) {
    for ([[maybe_unused]] int task : queue.drain()) {
      ++done;
      queue.task_done();
    }
  });
  for (int round = 1; round <= 5; ++round) {
    for (int i = 0; i < 2000; ++i) queue.put(i);
    queue.join();
    EXPECT_EQ(done, 2000 * round);
  }
  queue.shutdown();
  workers.join();
}

// ---- shutdown

TEST_P(JoinableQueues, AGentleShutdownKeepsJoinersUntilTheRestIsDone) {
  const JoinableQueue<int> queue;
  queue.put_many(std::vector{1, 2});
  queue.get();
  Children children(GetParam());
  children.add(wait_for_all, queue);
  ASSERT_TRUE(sleep_comes(queue, 1));
  queue.shutdown();
  EXPECT_THROW(queue.put(3), QueueShutDown);
  EXPECT_EQ(queue.unfinished(), 2U);
  EXPECT_FALSE(queue.join_for(20ms));
  EXPECT_TRUE(children[0].is_alive());
  EXPECT_EQ(queue.get(), 2);
  queue.task_done();
  queue.task_done();
  children.join();
  queue.join();
  EXPECT_THROW(queue.task_done(), InvalidStateError);
}

TEST_P(JoinableQueues, AnImmediateShutdownReleasesJoiners) {
  const JoinableQueue<int> queue;
  queue.put_many(std::vector<int>(100, 1));
  queue.get();
  Children children(GetParam());
  for (int i = 0; i < 2; ++i) children.add(wait_for_all, queue);
  ASSERT_TRUE(sleep_comes(queue, 2));
  queue.shutdown(true);
  children.join();
  queue.join();
  EXPECT_TRUE(queue.join_for(0s));
  EXPECT_EQ(queue.unfinished(), 1U);  // what was got, and is not done
  queue.task_done();
  EXPECT_THROW(queue.task_done(), InvalidStateError);
}

// ---- deaths

TEST_P(JoinableQueues, WhatAKilledConsumerHadIsLostAndNobodyWaitsForIt) {
  const JoinableQueue<int> queue;
  const Event taken;
  queue.put_many(std::vector{1, 2, 3, 4});
  Children children(GetParam());
  children.add(take_and_stay, queue, 3, taken);
  children.add(wait_for_all, queue);
  taken.wait();
  ASSERT_TRUE(sleep_comes(queue, 1));
  EXPECT_EQ(queue.get(), 4);
  queue.task_done();
  EXPECT_FALSE(queue.join_for(10ms));
  EXPECT_EQ(queue.lost(), 0U);
  children.kill(0);
  queue.join();
  children.join();  // the other process's join ends, too
  EXPECT_EQ(queue.lost(), 3U);
  EXPECT_EQ(queue.unfinished(), 0U);
  EXPECT_THROW(queue.task_done(), InvalidStateError);
}

TEST_P(JoinableQueues, AProcessThatEndsWithTasksNotDoneLosesThem) {
  const JoinableQueue<int> queue;
  queue.put_many(std::vector{1, 2});
  Children children(GetParam());
  children.add([](const JoinableQueue<int>& theirs) { theirs.get(); }, queue);
  children.join();
  EXPECT_TRUE(eventually([&] { return queue.lost() == 1; }));
  EXPECT_EQ(queue.unfinished(), 1U);
  EXPECT_EQ(queue.get(), 2);
  queue.task_done();
  queue.join();
}

TEST_P(JoinableQueues, ConsumersThatAreKilledOneAfterTheOtherLoseEachTheirOwn) {
  const JoinableQueue<int> queue;
  for (std::uint64_t round = 1; round <= 5; ++round) {
    const Event taken;
    queue.put_many(std::vector{1, 2});
    Children children(GetParam());
    children.add(take_and_stay, queue, 2, taken);
    taken.wait();
    children.kill(0);
    queue.join();
    EXPECT_EQ(queue.lost(), 2 * round);
  }
}

// Counted also when the next process with its place in the table is the first to notice.
TEST_F(JoinableQueueTest, TheLostAreCountedOnceWhoeverNotices) {
  const JoinableQueue<int> queue;
  for (std::uint64_t round = 1; round <= 30; ++round) {
    const Event taken;
    queue.put_many(std::vector{1, 2, 3});
    Children children;
    children.add(take_and_stay, queue, 1, taken);
    taken.wait();
    children.kill(0);
    children.add(
        [](const JoinableQueue<int>& theirs) {
          for (int i = 0; i < 2; ++i) {
            theirs.get();
            theirs.task_done();
          }
        },
        queue);
    children.join();
    queue.join();
    ASSERT_EQ(queue.lost(), round);
    ASSERT_EQ(queue.unfinished(), 0U);
  }
}

// Whoever comes to the step with a message taken and not counted, or counted and not taken.
TEST_F(JoinableQueueTest, AKillAnywhereInAGetKeepsTheCountRight) {
  for (const char* step : {"ring.copied", "ring.taken", "unfinished.finished"}) {
    const JoinableQueue<int> queue;
    queue.put_many(std::vector{1, 2, 3});
    Member consumer([&] {
      die_at(step);
      for (int i = 0; i < 3; ++i) {
        queue.get();
        queue.task_done();
      }
    });
    EXPECT_EQ(consumer.wait(), -SIGKILL) << step;
    ASSERT_TRUE(consumer.bury());
    while (queue.try_get()) queue.task_done();
    EXPECT_TRUE(queue.join_for(20s)) << step;
    EXPECT_EQ(queue.unfinished(), 0U) << step;
    const std::string name = step;
    EXPECT_EQ(queue.lost(), name == "unfinished.finished" ? 0U : 1U) << step;
  }
}

// ---- handles

TEST_P(JoinableQueues, WorkThroughAnotherQueue) {
  const Queue<JoinableQueue<int>> mail;
  Children children(GetParam());
  children.add([](const Queue<JoinableQueue<int>>& in) { work_off(in.get()); }, mail);
  const JoinableQueue<int> queue;
  mail.put(queue);
  queue.put_many(std::vector<int>(100, 1));
  queue.join();
  queue.shutdown();
  children.join();
}

TEST_F(JoinableQueueTest, AClosedOneCanStillBeJoinedAndDone) {
  const JoinableQueue<int> queue;
  queue.put(1);
  queue.get();
  queue.close();
  EXPECT_THROW(queue.put(1), InvalidStateError);
  queue.task_done();
  queue.join();
}

TEST_F(JoinableQueueTest, ManyTasksAreCountedExactly) {
  constexpr int kTasks = 200'000;
  const JoinableQueue<int> queue(1000);
  Children children;
  for (int i = 0; i < 2; ++i) {
    children.fork([&] {
      try {
        for (;;) {
          std::vector<int> some;
          for (auto count = queue.get_many(some, 50); count > 0; --count) queue.task_done();
        }
      } catch (const QueueShutDown&) {
      }
    });
  }
  for (int i = 0; i < kTasks; ++i) queue.put(i);
  queue.join();
  EXPECT_EQ(queue.unfinished(), 0U);
  EXPECT_EQ(queue.lost(), 0U);
  queue.shutdown();
  children.join();
}

}  // namespace
