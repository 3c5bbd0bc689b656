// Faults of queues that were there once.
#include <signal.h>

#include <array>
#include <chrono>
#include <cohort/object.hpp>
#include <cohort/queue.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sync_fixture.hpp"

namespace {

using namespace test;
using cohort::JoinableQueue;
using cohort::Queue;
using cohort::managers::Object;

using QueueRegressions = SyncTest;

// ---- get_many into elements of another type

// A place for a batch, with elements behind it that are not to be touched.
template <class T>
struct Guarded {
  std::array<T, 4> place{};
  std::array<T, 8> behind{9, 9, 9, 9, 9, 9, 9, 9};
  bool intact() const { return behind == decltype(behind){9, 9, 9, 9, 9, 9, 9, 9}; }
};

const Queue<std::int64_t>& filled(const Queue<std::int64_t>& queue) {
  queue.put_many({1000, -2, 3, 4});
  return queue;
}

TEST_F(QueueRegressions, ABatchIntoAnArrayOfAnotherTypeIsConverted) {
  const Queue<std::int64_t> queue;
  Guarded<std::int32_t> narrow;
  EXPECT_EQ(filled(queue).get_many(narrow.place, 4), 4U);
  EXPECT_EQ(narrow.place, (std::array<std::int32_t, 4>{1000, -2, 3, 4}));
  EXPECT_TRUE(narrow.intact());
  Guarded<double> floating;
  EXPECT_EQ(filled(queue).get_many(floating.place, 4), 4U);
  EXPECT_EQ(floating.place, (std::array<double, 4>{1000, -2, 3, 4}));
  EXPECT_TRUE(floating.intact());
}

TEST_F(QueueRegressions, ABatchToAnIteratorOfAnotherTypeIsConverted) {
  const Queue<std::int64_t> queue;
  std::vector<std::int32_t> narrow(12, 9);
  EXPECT_EQ(filled(queue).get_many(narrow.begin(), 4), 4U);
  EXPECT_EQ(narrow, (std::vector<std::int32_t>{1000, -2, 3, 4, 9, 9, 9, 9, 9, 9, 9, 9}));
  std::vector<double> floating(6, 9);
  EXPECT_EQ(filled(queue).get_many(floating.begin(), 4), 4U);
  EXPECT_EQ(floating, (std::vector<double>{1000, -2, 3, 4, 9, 9}));
}

TEST_F(QueueRegressions, ABatchIntoAnArrayOfAnotherTypeStopsAtItsEnd) {
  const Queue<std::int64_t> queue;
  Guarded<std::int32_t> narrow;
  queue.put_many({1, 2, 3, 4, 5});
  EXPECT_EQ(queue.get_many(narrow.place, 100), 4U);
  EXPECT_EQ(narrow.place, (std::array<std::int32_t, 4>{1, 2, 3, 4}));
  EXPECT_TRUE(narrow.intact());
  EXPECT_EQ(queue.try_get(), 5);
}

// ---- bool

template <class T>
concept Lends = requires(const Queue<T>& queue) {
  queue.get_view();
};
static_assert(Lends<char> && !Lends<bool>);  // a vector<bool> has no elements to look at

TEST_F(QueueRegressions, ABoolIsPutAndGotInEveryForm) {
  const Queue<bool> queue;
  queue.put(true);
  queue.put(false);
  EXPECT_TRUE(queue.get());
  EXPECT_FALSE(queue.get());
  queue.put_many({true, false, true});
  queue.put_many(std::vector<bool>{false, true});
  std::vector<bool> some;
  EXPECT_EQ(queue.get_many(some, 3), 3U);
  EXPECT_EQ(some, (std::vector<bool>{true, false, true}));
  std::array<bool, 2> others{true, false};
  EXPECT_EQ(queue.get_many(others, 2), 2U);
  EXPECT_EQ(others, (std::array<bool, 2>{false, true}));
  EXPECT_EQ(queue.try_get(), std::nullopt);
}

// ---- objects beyond what is accepted from strangers

void expect_back(const Object& object) {
  const Queue<Object> queue;
  queue.put(object);
  auto got = queue.get_for(kPatience);
  ASSERT_TRUE(got);
  EXPECT_TRUE(*got == object);
}

TEST_F(QueueRegressions, AnIntOfManyThousandDigitsComesBack) {
  expect_back(Object::integer(std::string(20'000, '9')));
}

TEST_F(QueueRegressions, AListOfManyObjectsComesBack) {
  std::vector<Object> elements;
  for (int i = 0; i < 200'000; ++i) elements.emplace_back(i);
  elements.push_back(Object::integer(std::string(20'000, '7')));
  elements.emplace_back(std::string(1'000'000, 's'));
  expect_back(Object::list(std::move(elements)));
}

// ---- what a killed consumer had taken

const std::string large(100'000, 'x');  // a block of its own, which is taken before it is said

template <class Q>
void kill_at_taking(const Q& queue) {
  Process consumer = Process::forked([queue] {
    die_at("ring.copied");
    queue.get();
  });
  consumer.start();
  ASSERT_TRUE(consumer.join_for(kPatience));
  ASSERT_EQ(consumer.exitcode(), -SIGKILL);
}

TEST_F(QueueRegressions, AMessageThatAKilledConsumerHadTakesNoRoom) {
  const Queue<std::string> queue(1);
  queue.put(large);
  kill_at_taking(queue);
  EXPECT_TRUE(queue.put_for("next", kPatience));
  EXPECT_EQ(queue.get_for(kPatience), "next");
}

TEST_F(QueueRegressions, TryPutFindsTheRoomOfAMessageThatAKilledConsumerHad) {
  const Queue<std::string> queue(1);
  queue.put(large);
  kill_at_taking(queue);
  EXPECT_TRUE(queue.try_put("next"));
  EXPECT_EQ(queue.try_get(), "next");
}

TEST_F(QueueRegressions, JoinDoesNotWaitForAMessageThatAKilledConsumerHad) {
  const JoinableQueue<std::string> queue(1);
  queue.put(large);
  kill_at_taking(queue);
  EXPECT_TRUE(queue.join_for(kPatience));
  EXPECT_EQ(queue.lost(), 1U);
}

TEST_F(QueueRegressions, AMessageBehindTheOneThatAKilledConsumerHadIsStillThereAfterAJoin) {
  const JoinableQueue<std::string> queue;
  queue.put(large);
  queue.put(large);
  kill_at_taking(queue);
  EXPECT_FALSE(queue.join_for(10ms));
  EXPECT_EQ(queue.try_get(), large);
  queue.task_done();
  EXPECT_TRUE(queue.join_for(kPatience));
  EXPECT_EQ(queue.lost(), 1U);
}

// ---- the end of a program

TEST_F(QueueRegressions, AStaticObjectsDestructorMayPutAndGet) {
  const Outcome outcome = run_program("queue_at_exit", {});
  EXPECT_EQ(outcome.code, 0) << outcome;
  EXPECT_EQ(outcome.out, "used at the end\n") << outcome;
}

}  // namespace
