#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cohort/queue.hpp>
#include <cohort/sync.hpp>
#include <cstring>
#include <list>
#include <random>
#include <string>
#include <vector>

#include "effort.hpp"
#include "os/pidfd.hpp"
#include "single_step.hpp"
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

// ---- kills and stops in the middle of a get

const std::string large(20'000, 'x');  // a block of its own, which is taken before it is said

// Where a get may be interrupted.
std::vector<const char*> steps_of_a_get(bool parcel) {
  std::vector<const char*> steps{"ring.claiming", "ring.claimed", "ring.copied", "ring.taken",
                                 "unfinished.added"};
  if (parcel) steps.insert(steps.end(), {"block_refs.claimed", "block_refs.adopted"});
  return steps;
}

std::size_t work_off_the_rest(const JoinableQueue<std::string>& queue) {
  std::size_t count = 0;
  for (; queue.try_get(); ++count) queue.task_done();
  return count;
}

// In children: stops this process when it comes to the named step first.
void stop_at(const char* step) {
  fatal_step = step;
  cohort::os::step_hook = [](const char* name) {
    if (std::strcmp(name, fatal_step) != 0) return;
    cohort::os::step_hook = nullptr;
    ::raise(SIGSTOP);
  };
}

bool comes_to_a_stop(const Member& member) {
  const auto& slot = Space::here().members().slot(member.id().slot());
  return eventually([&] { return cohort::os::stopped(slot.pid.load()); });
}

// Whoever is killed has lost what it took, and no more than that.
TEST_F(JoinableQueueTest, AKillAnywhereInAGetLosesWhatWasTakenAndCountsNoMore) {
  for (const std::string& text : {std::string("small"), large}) {
    for (const char* step : steps_of_a_get(text == large)) {
      for (bool joined_first : {false, true}) {
        SCOPED_TRACE(std::string(step) + (text == large ? ", large" : ", small") +
                     (joined_first ? ", joined first" : ""));
        const JoinableQueue<std::string> queue;
        queue.put_many(std::vector<std::string>(3, text));
        Member consumer([&] {
          die_at(step);
          queue.get();
        });
        ASSERT_EQ(consumer.wait(), -SIGKILL);
        ASSERT_TRUE(consumer.bury());
        if (joined_first) {
          EXPECT_FALSE(queue.join_for(0s));
        }
        const std::size_t came = work_off_the_rest(queue);
        EXPECT_GE(came, 2U);
        EXPECT_TRUE(queue.join_for(kPatience));
        EXPECT_EQ(queue.unfinished(), 0U);
        EXPECT_EQ(queue.lost(), 3 - came);
      }
    }
  }
}

TEST_F(JoinableQueueTest, AMessageThatAKilledConsumerDidNotTakeIsNotLost) {
  for (const char* step : {"ring.claiming", "ring.claimed", "ring.copied"}) {
    const JoinableQueue<int> queue;
    queue.put(1);
    Member consumer([&] {
      die_at(step);
      queue.get();
    });
    ASSERT_EQ(consumer.wait(), -SIGKILL) << step;
    ASSERT_TRUE(consumer.bury());
    EXPECT_EQ(queue.lost(), 0U) << step;
    EXPECT_EQ(queue.unfinished(), 1U) << step;
    EXPECT_EQ(queue.try_get(), 1) << step;
    queue.task_done();
    EXPECT_TRUE(queue.join_for(0s)) << step;
    EXPECT_EQ(queue.lost(), 0U) << step;
  }
}

// Nobody takes from the queue afterwards.
TEST_F(JoinableQueueTest, JoinFindsThatAKilledConsumerHadTakenTheLast) {
  for (const char* step : {"ring.taken", "unfinished.added"}) {
    const JoinableQueue<int> queue;
    queue.put(1);
    Member consumer([&] {
      die_at(step);
      queue.get();
    });
    ASSERT_EQ(consumer.wait(), -SIGKILL) << step;
    EXPECT_TRUE(queue.join_for(kPatience)) << step;
    EXPECT_EQ(queue.lost(), 1U) << step;
  }
}

// Others go on with what it has not taken, and join waits for what it has.
TEST_F(JoinableQueueTest, AStopAnywhereInAGetHoldsUpNoJoinOfWhatWasNotTaken) {
  for (const std::string& text : {std::string("small"), large}) {
    for (const char* step : steps_of_a_get(text == large)) {
      SCOPED_TRACE(std::string(step) + (text == large ? ", large" : ", small"));
      const JoinableQueue<std::string> queue;
      queue.put_many(std::vector<std::string>(3, text));
      Member consumer([&] {
        stop_at(step);
        queue.get();
        queue.task_done();
      });
      ASSERT_TRUE(comes_to_a_stop(consumer));
      const std::size_t came = work_off_the_rest(queue);
      ASSERT_GE(came, 2U);
      if (came == 3) {
        EXPECT_TRUE(queue.join_for(kPatience));
        queue.put(text);
        EXPECT_EQ(queue.unfinished(), 1U);
      } else {
        EXPECT_FALSE(queue.join_for(10ms));
        EXPECT_EQ(queue.unfinished(), 1U);
      }
      EXPECT_TRUE(consumer.running());
      consumer.send(SIGCONT);
      EXPECT_EQ(consumer.wait(), 0);
      EXPECT_TRUE(queue.join_for(kPatience));
      EXPECT_EQ(queue.unfinished(), 0U);
      EXPECT_EQ(queue.lost(), 0U);
      ASSERT_TRUE(consumer.bury());
    }
  }
}

TEST_F(JoinableQueueTest, AConsumerThatIsStoppedAndThenKilledLosesWhatItHadTaken) {
  for (const std::string& text : {std::string("small"), large}) {
    for (const char* step : steps_of_a_get(text == large)) {
      SCOPED_TRACE(std::string(step) + (text == large ? ", large" : ", small"));
      const JoinableQueue<std::string> queue;
      queue.put_many(std::vector<std::string>(3, text));
      Member consumer([&] {
        stop_at(step);
        queue.get();
      });
      ASSERT_TRUE(comes_to_a_stop(consumer));
      const std::size_t came = work_off_the_rest(queue);
      ASSERT_TRUE(consumer.kill_and_bury());
      EXPECT_TRUE(queue.join_for(kPatience));
      EXPECT_EQ(queue.lost(), 3 - came);
      EXPECT_THROW(queue.task_done(), InvalidStateError);
    }
  }
}

TEST_F(JoinableQueueTest, WhoeverIsKilledOverCountingTheLostDoesNotCountThemTwiceOrNever) {
  for (const char* step :
       {"unfinished.leaving", "unfinished.written_off", "unfinished.added", "ring.judging"}) {
    const JoinableQueue<int> queue;
    queue.put_many(std::vector{1, 2, 3});
    Member consumer([&] {
      queue.get();
      die_at("ring.taken");
      queue.get();
    });
    ASSERT_EQ(consumer.wait(), -SIGKILL) << step;
    ASSERT_TRUE(consumer.bury());
    Member next([&] {
      die_at(step);
      queue.get();
      queue.lost();
    });
    ASSERT_EQ(next.wait(), -SIGKILL) << step;
    ASSERT_TRUE(next.bury());
    const std::uint64_t left = queue.try_get() ? 1 : 0;
    if (left) queue.task_done();
    EXPECT_TRUE(queue.join_for(kPatience)) << step;
    EXPECT_EQ(queue.lost(), 3 - left) << step;
    EXPECT_EQ(queue.unfinished(), 0U) << step;
  }
}

TEST_F(JoinableQueueTest, AKillOverTaskDoneKeepsTheCountRight) {
  const JoinableQueue<int> queue;
  queue.put_many(std::vector{1, 2});
  Member consumer([&] {
    die_at("unfinished.finished");
    queue.get();
    queue.task_done();
  });
  ASSERT_EQ(consumer.wait(), -SIGKILL);
  ASSERT_TRUE(consumer.bury());
  EXPECT_EQ(queue.try_get(), 2);
  queue.task_done();
  EXPECT_TRUE(queue.join_for(kPatience));
  EXPECT_EQ(queue.lost(), 0U);
}

// ---- the same at every instruction

class JoinableSteps : public SyncTest {
 protected:
  static Stepped consumer_of(const JoinableQueue<std::string>& queue, bool done) {
    return Stepped(
        [queue] {
          const JoinableQueue<std::string> other;
          other.put_many(std::vector<std::string>{"small", large});
          work_off_the_rest(other);
        },
        [queue] { queue.get(); },
        [queue, done] {
          if (done) queue.task_done();
          return 0;
        });
  }
  // Calls at(instruction, text) for as many as there is time for.
  template <class At>
  void for_instructions(At&& at) {
    for (const std::string& text : {std::string("small"), large}) {
      std::vector<Stepped::Instruction> all;
      {
        const JoinableQueue<std::string> queue;
        queue.put(text);
        Stepped consumer = consumer_of(queue, true);
        all = consumer.step_through();
        consumer.leave_stopped();
        consumer.go_on();
        ASSERT_EQ(consumer.member().wait(), 0);
      }
      ASSERT_GT(all.size(), 50U);
      Spread spread(all.size(), std::random_device()());
      const auto until = Clock::now() + with_effort(500ms);
      while (!spread.over() && (Clock::now() < until || spread.given() < 5)) {
        const std::size_t number = spread.next();
        SCOPED_TRACE((text == large ? "large, at " : "small, at ") + std::to_string(number) +
                     " of " + std::to_string(all.size()));
        at(all[number], text);
        if (HasFailure()) return;
      }
    }
  }
};

TEST_F(JoinableSteps, AKillAnywhereLosesWhatWasTakenAndCountsNoMore) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer has a thread of its own, which runs into the breakpoints";
#endif
  for_instructions([](const Stepped::Instruction& instruction, const std::string& text) {
    const JoinableQueue<std::string> queue;
    queue.put_many(std::vector<std::string>(2, text));
    {
      Stepped consumer = consumer_of(queue, false);
      consumer.run_to(instruction);
      consumer.member().kill();
    }
    const std::size_t came = work_off_the_rest(queue);
    EXPECT_GE(came, 1U);
    EXPECT_TRUE(queue.join_for(kPatience));
    EXPECT_EQ(queue.lost(), 2 - came);
  });
}

TEST_F(JoinableSteps, AStopAnywhereHoldsUpNoJoinOfWhatWasNotTaken) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer has a thread of its own, which runs into the breakpoints";
#endif
  for_instructions([](const Stepped::Instruction& instruction, const std::string& text) {
    const JoinableQueue<std::string> queue;
    queue.put_many(std::vector<std::string>(2, text));
    Stepped consumer = consumer_of(queue, true);
    consumer.run_to(instruction);
    consumer.leave_stopped();
    const std::size_t came = work_off_the_rest(queue);
    ASSERT_GE(came, 1U);
    if (came == 2) {
      EXPECT_TRUE(queue.join_for(kPatience));
      queue.put(text);
    } else {
      EXPECT_FALSE(queue.join_for(0s));
    }
    EXPECT_EQ(queue.unfinished(), 1U);
    consumer.go_on();
    EXPECT_EQ(consumer.member().wait(), 0);
    EXPECT_TRUE(queue.join_for(kPatience));
    EXPECT_EQ(queue.lost(), 0U);
  });
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
