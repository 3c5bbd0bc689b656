// Process queues, as the table of behaviours has them. Nothing is kept back in the putting process
// here, so rows about a feeder are about what its user sees: what was put arrives.
#include <unistd.h>

#include <chrono>
#include <cohort/queue.hpp>
#include <cohort/sync.hpp>
#include <stdexcept>
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
using cohort::QueueEmpty;
using cohort::QueueFull;
using cohort::SimpleQueue;

class MpQueue : public EachMethodSync {};
INSTANTIATE_TEST_SUITE_P(Methods, MpQueue, every_method(), method_name);
class MpSimpleQueue : public EachMethodSync {};
INSTANTIATE_TEST_SUITE_P(Methods, MpSimpleQueue, every_method(), method_name);
using QueueBehaviour = SyncTest;

constexpr std::size_t kForms = 6;

void put_in_every_form(const Queue<int>& queue) {
  queue.put(1);
  queue.put(2, 1h);
  require(queue.put_for(3, 1h), "there is room");
  require(queue.try_put(4), "there is room");
  queue.put_nowait(5);
  queue.put(6, 0s);
}

// behaviour: MpQueue/put-variants
TEST_P(MpQueue, EveryWayOfPuttingAddsOneWhileThereIsRoom) {
  const Queue<int> queue(kForms);
  Children children(GetParam());
  children.add(put_in_every_form, queue);
  children.join();
  EXPECT_EQ(queue.size(), kForms);
  for (int i = 1; i <= static_cast<int>(kForms); ++i) EXPECT_EQ(queue.get(), i);
  put_in_every_form(queue);
  EXPECT_EQ(queue.size(), kForms);
}

// behaviour: MpQueue/full-after-bound
TEST_P(MpQueue, AfterAsManyPutsAsItsBoundItIsFull) {
  const Queue<int> queue(kForms);
  EXPECT_TRUE(queue.empty());
  EXPECT_FALSE(queue.full());
  put_in_every_form(queue);
  EXPECT_FALSE(queue.empty());
  EXPECT_TRUE(queue.full());
  Children children(GetParam());
  children.add(
      [](const Queue<int>& theirs) {
        require(theirs.full() && !theirs.empty(), "full in another process as well");
      },
      queue);
  children.join();
}

void fail_to_put(const Queue<int>& queue) {
  const auto fails_after = [&](std::chrono::milliseconds limit, const auto& put) {
    const auto before = Clock::now();
    try {
      put();
    } catch (const QueueFull&) {
      require(Clock::now() - before >= limit, "not before its time");
      return;
    }
    require(false, "it is full");
  };
  fails_after(100ms, [&] { queue.put(7, 100ms); });
  fails_after(0ms, [&] { queue.put(7, 0ms); });
  fails_after(0ms, [&] { queue.put(7, -1h); });
  fails_after(0ms, [&] { queue.put_nowait(7); });
  const auto before = Clock::now();
  require(!queue.put_for(7, 100ms), "it is full");
  require(Clock::now() - before >= 100ms, "not before its time");
}

// behaviour: MpQueue/full-timeout
TEST_P(MpQueue, APutOnAFullQueueFailsAfterItsLimit) {
  const Queue<int> queue(kForms);
  put_in_every_form(queue);
  fail_to_put(queue);
  Children children(GetParam());
  children.add(fail_to_put, queue);
  children.join();
  EXPECT_EQ(queue.size(), kForms);
}

// behaviour: MpQueue/consumer-frees-room
TEST_P(MpQueue, AfterAnotherProcessTookAllItIsEmptyAndNotFull) {
  const Queue<int> queue(kForms);
  put_in_every_form(queue);
  Children children(GetParam());
  children.add(
      [](const Queue<int>& theirs) {
        for (int i = 1; i <= static_cast<int>(kForms); ++i)
          require(theirs.get() == i, "in their order");
      },
      queue);
  children.join();
  EXPECT_TRUE(queue.empty());
  EXPECT_FALSE(queue.full());
  EXPECT_TRUE(queue.try_put(1));
}

void fail_to_get(const Queue<int>& queue) {
  const auto fails_after = [&](std::chrono::milliseconds limit, const auto& get) {
    const auto before = Clock::now();
    try {
      get();
    } catch (const QueueEmpty&) {
      require(Clock::now() - before >= limit, "not before its time");
      return;
    }
    require(false, "it is empty");
  };
  fails_after(200ms, [&] { queue.get(200ms); });
  fails_after(0ms, [&] { queue.get(0ms); });
  fails_after(0ms, [&] { queue.get(-1h); });
  fails_after(0ms, [&] { queue.get_nowait(); });
  const auto before = Clock::now();
  require(!queue.get_for(200ms), "it is empty");
  require(Clock::now() - before >= 200ms, "not before its time");
}

// behaviour: MpQueue/empty-timeout
TEST_P(MpQueue, AGetOnAnEmptyQueueFailsNotBeforeItsLimit) {
  const Queue<int> queue;
  fail_to_get(queue);
  Children children(GetParam());
  children.add(fail_to_get, queue);
  children.join();
  EXPECT_TRUE(queue.empty());
}

// behaviour: MpQueue/feeder-after-fork
TEST_P(MpQueue, WhatAProcessPutBeforeAndAChildPutsAfterItsStartAllArrive) {
  const Queue<int> queue;
  for (int i = 0; i < 10; ++i) queue.put(i);
  Children children(GetParam());
  children.add(
      [](const Queue<int>& theirs) {
        for (int i = 10; i < 20; ++i) theirs.put(i);
      },
      queue);
  children.join();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(queue.get(), i);
  EXPECT_THROW(queue.get_nowait(), QueueEmpty);
}

// behaviour: MpQueue/exit-waits-for-feeder
TEST_P(MpQueue, AProcessThatEndsRightAfterItsPutsLosesNothing) {
  for (const char* end : {"return", "_exit", "kill"}) {
    const Queue<std::string> queue;
    Process child(
        with(),
        [](const Queue<std::string>& theirs, const std::string& how) {
          for (std::size_t i = 0; i < 200; ++i) theirs.put(std::string(i * 500, 'x'));
          if (how == "_exit") ::_exit(0);
          if (how == "kill") ::kill(::getpid(), SIGKILL);
        },
        queue, std::string(end));
    child.start();
    child.join();
    EXPECT_EQ(child.exitcode(), end == std::string("kill") ? -SIGKILL : 0);
    EXPECT_EQ(queue.size(), 200U);
    for (std::size_t i = 0; i < 200; ++i) ASSERT_EQ(queue.get().size(), i * 500) << end;
  }
}

// behaviour: MpQueue/qsize-follows
TEST_P(MpQueue, TheSizeCountsEachPutAtOnceAndGoesDownOnGet) {
  const Queue<int> queue;
  const auto step = [&](std::size_t size) {
    EXPECT_EQ(queue.size(), size);
    Children children(GetParam());
    children.add([](const Queue<int>& q, std::size_t n) { require(q.size() == n, "its size"); },
                 queue, size);
    children.join();
  };
  step(0);
  queue.put(1);
  step(1);
  queue.put(5);
  step(2);
  queue.get();
  step(1);
  queue.get();
  step(0);
}

// behaviour: MpQueue/creation-during-static-init
TEST_P(MpQueue, MayBeMadeFilledAndReadWhileTheProgramIsLoading) {
  const Outcome outcome =
      run_program("queue_before_main", {std::string(cohort::to_string(GetParam()))});
  EXPECT_EQ(outcome.code, 0) << outcome;
}

struct Unwritable {
  bool refuses = false;
  template <class Archive>
  void save(Archive& archive) const {
    archive(refuses);
    if (refuses) throw std::domain_error("it will not be written");
  }
  template <class Archive>
  void load(Archive& archive) {
    archive(refuses);
  }
};

// behaviour: MpQueue/unserializable-item-skipped
TEST_P(MpQueue, AnObjectThatFailsToSerializeIsReportedToItsSenderAndTheNextArrives) {
  const Queue<Unwritable> queue;
  Children children(GetParam());
  children.add(
      [](const Queue<Unwritable>& theirs) {
        try {
          theirs.put({true});
        } catch (const std::domain_error&) {
          theirs.put({false});
          return;
        }
        require(false, "it cannot be put");
      },
      queue);
  EXPECT_FALSE(queue.get().refuses);
  children.join();
  EXPECT_TRUE(queue.empty());
}

// behaviour: MpQueue/close-unused-then-empty
TEST_F(QueueBehaviour, AClosedQueueThatWasNeverUsedIsEmpty) {
  const Queue<int> queue;
  queue.close();
  EXPECT_TRUE(queue.empty());
}

// behaviour: MpQueue/join-feeder-unused
TEST_P(MpQueue, AProcessThatClosedAQueueUnusedEndsAtOnce) {
  const Queue<int> queue;
  Children children(GetParam());
  children.add(
      [](const Queue<int>& theirs) {
        const Queue<int> own;
        own.close();
        theirs.close();
      },
      queue);
  children.join();
  queue.close();
}

// behaviour: MpQueue/put-get-after-close
TEST_P(MpQueue, PutAndGetOnAClosedQueueFailAndSayThatItIsClosed) {
  const auto check = [](const Queue<int>& queue) {
    queue.put(1);
    queue.close();
    const auto says_closed = [](const auto& call) {
      try {
        call();
      } catch (const InvalidStateError& error) {
        require(std::string(error.what()).find("closed") != std::string::npos, error.what());
        return;
      }
      require(false, "it is closed");
    };
    says_closed([&] { queue.put(2); });
    says_closed([&] { queue.get(); });
    says_closed([&] { queue.put_nowait(2); });
    says_closed([&] { queue.get_nowait(); });
  };
  const Queue<int> queue;
  Children children(GetParam());
  children.add(check, queue);
  children.join();
  EXPECT_EQ(queue.get(), 1);
  check(queue);
}

// behaviour: JoinableQueue/join-until-all-done
TEST_P(MpQueue, JoinReturnsWhenTheWorkersOfFourProcessesHaveDoneAll) {
  const JoinableQueue<int> queue;
  const Queue<int> done;
  Children children(GetParam());
  for (int i = 0; i < 4; ++i) {
    children.add(
        [](const JoinableQueue<int>& tasks, const Queue<int>& results) {
          for (int task = tasks.get(); task >= 0; task = tasks.get()) {
            results.put(task);
            tasks.task_done();
          }
          tasks.task_done();
        },
        queue, done);
  }
  for (int i = 0; i < 100; ++i) queue.put(i);
  queue.join();
  EXPECT_EQ(done.size(), 100U);
  EXPECT_EQ(queue.unfinished(), 0U);
  for (int i = 0; i < 4; ++i) queue.put(-1);
  children.join();
  queue.join();
}

// ---- the simple one

struct Start {
  Event child_may, parent_may;
};

// behaviour: MpSimpleQueue/empty-seen-by-child
// behaviour: MpSimpleQueue/empty-tracks-content
TEST_P(MpSimpleQueue, EmptyTellsTheContentToCreatorAndChild) {
  const SimpleQueue<bool> queue;
  const Start start;
  Children children(GetParam());
  children.add(
      [](const SimpleQueue<bool>& theirs, const Start& events) {
        events.child_may.wait();
        theirs.put(theirs.empty());
        theirs.put(theirs.empty());
        events.parent_may.set();
      },
      queue, start);
  EXPECT_TRUE(queue.empty());
  start.child_may.set();
  start.parent_may.wait();
  EXPECT_FALSE(queue.empty());
  EXPECT_TRUE(queue.get());
  EXPECT_FALSE(queue.get());
  EXPECT_TRUE(queue.empty());
  children.join();
}

// behaviour: MpSimpleQueue/close-twice
TEST_P(MpSimpleQueue, MayBeClosedTwice) {
  const auto check = [](const SimpleQueue<int>& queue) {
    queue.close();
    queue.close();
    require(queue.closed(), "closed");
  };
  const SimpleQueue<int> queue;
  Children children(GetParam());
  children.add(check, queue);
  children.join();
  EXPECT_FALSE(queue.closed());
  check(queue);
}

// behaviour: MpSimpleQueue/close-closes-both-ends
TEST_P(MpSimpleQueue, ClosingClosesBothSides) {
  const auto check = [](const SimpleQueue<int>& queue) {
    queue.put(1);
    queue.close();
    for (bool put : {true, false}) {
      try {
        if (put) {
          queue.put(2);
        } else {
          queue.get();
        }
      } catch (const InvalidStateError&) {
        continue;
      }
      require(false, put ? "put is refused" : "get is refused");
    }
  };
  const SimpleQueue<int> queue;
  Children children(GetParam());
  children.add(check, queue);
  children.join();
  EXPECT_EQ(queue.get(), 1);
  check(queue);
}

// behaviour: MpSimpleQueue/empty-after-close
TEST_F(QueueBehaviour, AClosedSimpleQueueDoesNotSayWhetherItIsEmpty) {
  const SimpleQueue<int> unused;
  unused.close();
  EXPECT_THROW(unused.empty(), InvalidStateError);
  const SimpleQueue<int> used;
  used.put(1);
  used.close();
  EXPECT_THROW(used.empty(), InvalidStateError);
}

TEST_P(MpSimpleQueue, CarriesMessagesOfEverySizeInOrder) {
  const SimpleQueue<std::string> queue;
  const SimpleQueue<std::string> copy = queue;
  EXPECT_EQ(copy, queue);
  Children children(GetParam());
  children.add(
      [](const SimpleQueue<std::string>& theirs) {
        for (std::size_t i = 0; i < 300; ++i) theirs.put(std::string(i * i, 'x'));
      },
      queue);
  for (std::size_t i = 0; i < 300; ++i) ASSERT_EQ(queue.get().size(), i * i);
  EXPECT_TRUE(queue.empty());
  children.join();
}

}  // namespace
