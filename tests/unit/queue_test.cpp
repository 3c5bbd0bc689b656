#include <array>
#include <atomic>
#include <chrono>
#include <cohort/connection.hpp>
#include <cohort/queue.hpp>
#include <cohort/sync.hpp>
#include <deque>
#include <list>
#include <numeric>
#include <ranges>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "arena_use.hpp"
#include "sleepers.hpp"
#include "sync_fixture.hpp"

namespace {

using namespace test;
using cohort::InvalidStateError;
using cohort::JoinableQueue;
using cohort::Queue;
using cohort::QueueEmpty;
using cohort::QueueFull;
using cohort::QueueShutDown;
using cohort::SimpleQueue;
using std::chrono::system_clock;

using QueueTest = SyncTest;
class Queues : public EachMethodSync {};
INSTANTIATE_TEST_SUITE_P(Methods, Queues, every_method(), method_name);

static_assert(cohort::Serializable<Queue<int>>);
static_assert(cohort::Serializable<JoinableQueue<std::string>>);
static_assert(cohort::Serializable<SimpleQueue<int>>);
static_assert(std::ranges::input_range<Queue<int>::Drain>);
static_assert(std::is_nothrow_move_constructible_v<Queue<int>>);
static_assert(std::is_same_v<Queue<std::string>::value_type, std::string>);
static_assert(!std::is_convertible_v<int, Queue<int>>);

template <class T>
std::string text_of(const T& value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

// Everything that is there, in order.
template <class T>
std::vector<T> all_of(const Queue<T>& queue) {
  std::vector<T> all;
  while (auto one = queue.try_get()) all.push_back(std::move(*one));
  return all;
}

std::vector<int> numbers(int from, int to) {
  std::vector<int> list(static_cast<std::size_t>(to - from));
  std::iota(list.begin(), list.end(), from);
  return list;
}

// In children: that the call throws this.
template <class Error, class Call>
void require_throw(Call&& call, const std::string& what) {
  try {
    call();
  } catch (const Error&) {
    return;
  }
  throw std::runtime_error("nothing was thrown: " + what);
}

// ---- every way to put and to get

TEST_F(QueueTest, EveryFormOfPutAddsOneWhileThereIsRoom) {
  const Queue<int> queue;
  queue.put(1);
  EXPECT_TRUE(queue.try_put(2));
  EXPECT_TRUE(queue.put_for(3, 1h));
  EXPECT_TRUE(queue.put_for(4, 0s));
  EXPECT_TRUE(queue.put_for(5, -1h));
  EXPECT_TRUE(queue.put_for(6, std::chrono::duration<double>(0.5)));
  EXPECT_TRUE(queue.put_until(7, Clock::now() + 1h));
  EXPECT_TRUE(queue.put_until(8, system_clock::now() - 1h));
  queue.put_nowait(9);
  queue.put(10, 1s);
  queue.put(11, -1s);
  EXPECT_TRUE(queue.put_for(12, std::chrono::hours::max()));
  EXPECT_TRUE(queue.put_until(13, Clock::time_point::max()));
  queue.put_many(numbers(14, 17));
  EXPECT_EQ(queue.size(), 16U);
  EXPECT_EQ(all_of(queue), numbers(1, 17));
}

TEST_F(QueueTest, EveryFormOfGetTakesTheOldest) {
  const Queue<int> queue;
  queue.put_many(numbers(1, 15));
  EXPECT_EQ(queue.get(), 1);
  EXPECT_EQ(queue.try_get(), 2);
  EXPECT_EQ(queue.get_for(1h), 3);
  EXPECT_EQ(queue.get_for(0s), 4);
  EXPECT_EQ(queue.get_for(-1h), 5);
  EXPECT_EQ(queue.get_until(Clock::now() + 1h), 6);
  EXPECT_EQ(queue.get_until(system_clock::now() - 1h), 7);
  EXPECT_EQ(queue.get_nowait(), 8);
  EXPECT_EQ(queue.get(1s), 9);
  EXPECT_EQ(queue.get(-1s), 10);
  std::vector<int> got;
  EXPECT_EQ(queue.get_many(got, 1), 1U);
  EXPECT_EQ(queue.get_many_for(got, 1, 1h), 1U);
  EXPECT_EQ(queue.try_get_many(got, 1), 1U);
  EXPECT_EQ(got, numbers(11, 14));
  EXPECT_EQ(queue.get_for(std::chrono::hours::max()), 14);
  EXPECT_TRUE(queue.empty());
}

TEST_F(QueueTest, AFullQueueRefusesWhoDoesNotWaitForEver) {
  const Queue<std::string> queue(2);
  queue.put("a");
  queue.put("b");
  EXPECT_FALSE(queue.try_put("c"));
  EXPECT_FALSE(queue.put_for("c", 0s));
  EXPECT_FALSE(queue.put_for("c", -1h));
  EXPECT_FALSE(queue.put_until("c", Clock::now() - 1h));
  EXPECT_FALSE(queue.put_until("c", Clock::time_point::min()));
  EXPECT_FALSE(queue.put_until("c", system_clock::time_point::min()));
  EXPECT_THROW(queue.put_nowait("c"), QueueFull);
  EXPECT_THROW(queue.put("c", 0s), QueueFull);
  EXPECT_THROW(queue.put("c", -1h), QueueFull);
  auto before = Clock::now();
  EXPECT_FALSE(queue.put_for("c", 30ms));
  EXPECT_GE(Clock::now() - before, 30ms);
  before = Clock::now();
  EXPECT_THROW(queue.put("c", 30ms), QueueFull);
  EXPECT_GE(Clock::now() - before, 30ms);
  EXPECT_EQ(queue.size(), 2U);
  EXPECT_EQ(all_of(queue), (std::vector<std::string>{"a", "b"}));
}

TEST_F(QueueTest, AnEmptyQueueHasNothingForWhoDoesNotWaitForEver) {
  const Queue<int> queue;
  std::vector<int> out;
  EXPECT_EQ(queue.try_get(), std::nullopt);
  EXPECT_EQ(queue.get_for(0s), std::nullopt);
  EXPECT_EQ(queue.get_for(-1h), std::nullopt);
  EXPECT_EQ(queue.get_until(Clock::now() - 1h), std::nullopt);
  EXPECT_EQ(queue.get_until(system_clock::time_point::min()), std::nullopt);
  EXPECT_THROW(queue.get_nowait(), QueueEmpty);
  EXPECT_THROW(queue.get(0s), QueueEmpty);
  EXPECT_THROW(queue.get(-1h), QueueEmpty);
  EXPECT_EQ(queue.try_get_many(out, 5), 0U);
  EXPECT_EQ(queue.get_many_for(out, 5, -1h), 0U);
  auto before = Clock::now();
  EXPECT_EQ(queue.get_for(30ms), std::nullopt);
  EXPECT_GE(Clock::now() - before, 30ms);
  before = Clock::now();
  EXPECT_THROW(queue.get(std::chrono::duration<double>(0.03)), QueueEmpty);
  EXPECT_GE(Clock::now() - before, 30ms);
  before = Clock::now();
  EXPECT_EQ(queue.get_many_for(out, 5, 30ms), 0U);
  EXPECT_GE(Clock::now() - before, 30ms);
  EXPECT_TRUE(out.empty());
}

// ---- bounds

TEST_F(QueueTest, ABoundIsKeptExactly) {
  for (int bound : {1, 2, 3, 100, 50'000}) {
    const Queue<int> queue(static_cast<std::size_t>(bound));
    EXPECT_EQ(queue.maxsize(), static_cast<std::size_t>(bound));
    for (int round = 0; round < 2; ++round) {
      for (int i = 0; i < bound; ++i) {
        ASSERT_FALSE(queue.full());
        ASSERT_TRUE(queue.try_put(i));
        ASSERT_EQ(queue.size(), static_cast<std::size_t>(i) + 1);
      }
      ASSERT_TRUE(queue.full());
      ASSERT_FALSE(queue.try_put(-1));
      EXPECT_EQ(queue.get(), 0);
      EXPECT_TRUE(queue.try_put(bound));
      EXPECT_FALSE(queue.try_put(-1));
      EXPECT_EQ(all_of(queue), numbers(1, bound + 1));
      EXPECT_TRUE(queue.empty());
    }
  }
}

TEST_F(QueueTest, ABoundCountsMessagesOfAnySize) {
  const Queue<std::string> queue(3);
  const std::string large(1'000'000, 'x');
  queue.put(large);
  queue.put("");
  queue.put(large);
  EXPECT_TRUE(queue.full());
  EXPECT_FALSE(queue.try_put(large));
  EXPECT_FALSE(queue.try_put("small"));
  EXPECT_EQ(queue.get(), large);
  EXPECT_TRUE(queue.try_put("small"));
  EXPECT_EQ(all_of(queue), (std::vector<std::string>{"", large, "small"}));
}

TEST_F(QueueTest, ABoundThatNoQueueHasIsAnError) {
  EXPECT_EQ(Queue<int>().maxsize(), 0U);
  EXPECT_FALSE(Queue<int>().full());
  EXPECT_EQ(Queue<int>(0x7fff'ffff).maxsize(), 0x7fff'ffffU);
  EXPECT_THROW(Queue<int>(0x8000'0000), std::invalid_argument);
  EXPECT_THROW(Queue<int>(static_cast<std::size_t>(-1)), std::invalid_argument);
  EXPECT_THROW(JoinableQueue<int>(0x8000'0000), std::invalid_argument);
}

TEST_F(QueueTest, SizeFollowsEachPutAndGet) {
  const Queue<int> queue(10);
  EXPECT_TRUE(queue.empty());
  EXPECT_FALSE(queue.full());
  for (std::size_t i = 1; i <= 5; ++i) {
    queue.put(0);
    EXPECT_EQ(queue.size(), i);
    EXPECT_FALSE(queue.empty());
  }
  std::vector<int> got;
  queue.get_many(got, 3);
  EXPECT_EQ(queue.size(), 2U);
  queue.get();
  queue.get();
  EXPECT_EQ(queue.size(), 0U);
  EXPECT_TRUE(queue.empty());
}

TEST_F(QueueTest, ManyTimesItsBoundGoesThroughATightQueue) {
  const Queue<std::string> queue(1);
  Threads putter(1, [&](int) {
    for (int i = 0; i < 5000; ++i) queue.put(std::to_string(i));
  });
  for (int i = 0; i < 5000; ++i) ASSERT_EQ(queue.get(), std::to_string(i));
  putter.join();
}

// ---- batches

template <class Put>
std::vector<int> put_and_take(Put&& put) {
  const Queue<int> queue;
  put(queue);
  return all_of(queue);
}

TEST_F(QueueTest, PutManyTakesAnyRange) {
  const std::vector<int> expected = numbers(0, 5000);
  EXPECT_EQ(put_and_take([&](auto& q) { q.put_many(expected); }), expected);
  EXPECT_EQ(put_and_take([&](auto& q) { q.put_many(std::span(expected)); }), expected);
  EXPECT_EQ(
      put_and_take([&](auto& q) { q.put_many(std::list<int>(expected.begin(), expected.end())); }),
      expected);
  EXPECT_EQ(
      put_and_take([&](auto& q) { q.put_many(std::deque<int>(expected.begin(), expected.end())); }),
      expected);
  EXPECT_EQ(put_and_take([&](auto& q) { q.put_many(std::views::iota(0, 5000)); }), expected);
  EXPECT_EQ(
      put_and_take([&](auto& q) {
        q.put_many(std::views::iota(0, 5000) | std::views::transform([](int i) { return i; }));
      }),
      expected);
  EXPECT_EQ(put_and_take(
                [&](auto& q) { q.put_many(std::vector<short>(expected.begin(), expected.end())); }),
            expected);
  const std::array<int, 3> three{7, 8, 9};
  EXPECT_EQ(put_and_take([&](auto& q) { q.put_many(three); }), numbers(7, 10));
  const int plain[] = {7, 8, 9};
  EXPECT_EQ(put_and_take([&](auto& q) { q.put_many(plain); }), numbers(7, 10));
  std::istringstream text("7 8 9");
  EXPECT_EQ(put_and_take([&](auto& q) { q.put_many(std::views::istream<int>(text)); }),
            numbers(7, 10));
  EXPECT_EQ(put_and_take([&](auto& q) { q.put_many(std::vector<int>()); }), std::vector<int>());
  EXPECT_EQ(put_and_take([&](auto& q) { q.put_many(std::initializer_list<int>{4}); }),
            std::vector<int>{4});
}

TEST_F(QueueTest, PutManyConvertsWhatIsNoObjectOfTheQueue) {
  const Queue<std::string> strings;
  const std::vector<const char*> literals{"a", "b"};
  const std::vector<std::string_view> views{"c", "d"};
  strings.put_many(literals);
  strings.put_many(views);
  EXPECT_EQ(all_of(strings), (std::vector<std::string>{"a", "b", "c", "d"}));
  const Queue<bool> flags;
  flags.put_many(std::vector<bool>{true, false, true});
  EXPECT_EQ(all_of(flags), (std::vector<bool>{true, false, true}));
}

TEST_F(QueueTest, GetManyFillsAnyDestination) {
  const std::vector<int> expected = numbers(0, 1000);
  const auto filled = [&] {
    Queue<int> queue;
    queue.put_many(expected);
    return queue;
  };
  std::vector<int> vector{-1};
  EXPECT_EQ(filled().get_many(vector, 1000), 1000U);
  EXPECT_EQ(vector.size(), 1001U);  // behind what was there
  vector.erase(vector.begin());
  EXPECT_EQ(vector, expected);
  std::vector<int> inserted;
  EXPECT_EQ(filled().get_many(std::back_inserter(inserted), 1000), 1000U);
  EXPECT_EQ(inserted, expected);
  std::vector<int> room(1000);
  EXPECT_EQ(filled().get_many(room.data(), 1000), 1000U);
  EXPECT_EQ(room, expected);
  std::ranges::fill(room, 0);
  EXPECT_EQ(filled().get_many(room.begin(), 1000), 1000U);
  EXPECT_EQ(room, expected);
  std::list<int> nodes(1000);
  EXPECT_EQ(filled().get_many(nodes.begin(), 1000), 1000U);
  EXPECT_TRUE(std::ranges::equal(nodes, expected));
  std::list<int> list;
  EXPECT_EQ(filled().get_many(list, 1000), 1000U);
  EXPECT_TRUE(std::ranges::equal(list, expected));
  std::deque<int> deque;
  EXPECT_EQ(filled().get_many(deque, 1000), 1000U);
  EXPECT_TRUE(std::ranges::equal(deque, expected));
  std::set<int> set;
  EXPECT_EQ(filled().get_many(std::inserter(set, set.end()), 1000), 1000U);
  EXPECT_TRUE(std::ranges::equal(set, expected));
  std::vector<long> wider;
  EXPECT_EQ(filled().get_many(wider, 1000), 1000U);
  EXPECT_TRUE(std::ranges::equal(wider, expected));
}

TEST_F(QueueTest, GetManyLeavesAnIteratorBehindWhatItWrote) {
  const Queue<int> queue;
  std::vector<int> room(10);
  int* pointer = room.data();
  queue.put_many(numbers(0, 10));
  EXPECT_EQ(queue.get_many(pointer, 4), 4U);
  EXPECT_EQ(pointer, room.data() + 4);
  EXPECT_EQ(queue.get_many(pointer, 100), 6U);
  EXPECT_EQ(pointer, room.data() + 10);
  EXPECT_EQ(room, numbers(0, 10));
}

TEST_F(QueueTest, GetManyTakesWhatIsThereAndNoMoreThanAsked) {
  const Queue<int> queue;
  queue.put_many(numbers(0, 10'000));
  std::vector<int> got;
  EXPECT_EQ(queue.get_many(got, 0), 0U);
  EXPECT_EQ(queue.get_many(got, 3), 3U);
  EXPECT_EQ(queue.size(), 9'997U);
  EXPECT_EQ(queue.get_many(got, static_cast<std::size_t>(-1)), 9'997U);
  EXPECT_EQ(got, numbers(0, 10'000));
  EXPECT_EQ(queue.try_get_many(got, 1), 0U);
}

TEST_F(QueueTest, GetManyOfTextTakesWhatIsThere) {
  const Queue<std::string> queue;
  std::vector<std::string> put;
  for (int i = 0; i < 3000; ++i)
    put.push_back(std::string(static_cast<std::size_t>(i % 50), 'a') + std::to_string(i));
  queue.put_many(put);
  std::vector<std::string> got;
  while (queue.try_get_many(got, 700) != 0) {
  }
  EXPECT_EQ(got, put);
}

TEST_F(QueueTest, GetManyOfLargeMessagesAnswersAllThatAreThere) {
  const Queue<std::string> queue;
  std::vector<std::string> put;
  for (char c : {'a', 'b', 'c', 'd'}) put.push_back(std::string(100'000, c));
  queue.put_many(put);
  std::vector<std::string> got;
  EXPECT_EQ(queue.get_many(got, 10), 4U);
  EXPECT_LE(got.size(), 4U);
  while (queue.try_get_many(got, 10) != 0) {
  }
  EXPECT_EQ(got, put);
}

// A batch's messages of all sizes keep their order: small ones travel together, large ones alone.
TEST_F(QueueTest, ABatchOfMessagesOfAllSizesKeepsItsOrder) {
  const Queue<std::string> queue;
  std::vector<std::string> put;
  for (std::size_t i = 0; i < 200; ++i) {
    const std::size_t sizes[] = {0, 1, 100, 5000, 16'000, 16'384, 17'000, 70'000};
    put.emplace_back(sizes[i % 8], static_cast<char>('a' + i % 26));
  }
  queue.put_many(put);
  EXPECT_EQ(queue.size(), put.size());
  EXPECT_EQ(all_of(queue), put);
}

template <std::size_t N>
struct Block {
  std::array<unsigned char, N> bytes{};
  bool operator==(const Block&) const = default;
};

template <std::size_t N>
void batches_of_blocks() {
  const Queue<Block<N>> queue;
  std::vector<Block<N>> put(50);
  for (std::size_t i = 0; i < put.size(); ++i) put[i].bytes.fill(static_cast<unsigned char>(i + 1));
  queue.put_many(put);
  queue.put_many(std::list<Block<N>>(put.begin(), put.end()));
  EXPECT_EQ(queue.size(), 100U);
  std::vector<Block<N>> got;
  while (queue.try_get_many(got, 7) != 0) {
  }
  ASSERT_EQ(got.size(), 100U);
  EXPECT_TRUE(std::equal(put.begin(), put.end(), got.begin())) << N;
  EXPECT_TRUE(std::equal(put.begin(), put.end(), got.begin() + 50)) << N;
  queue.put_many(put);
  std::vector<Block<N>> room(50);
  Block<N>* next = room.data();
  while (next != room.data() + 50) queue.get_many(next, 50);
  EXPECT_EQ(room, put) << N;
}

TEST_F(QueueTest, BatchesOfStructsOfEverySize) {
  batches_of_blocks<1>();
  batches_of_blocks<3>();
  batches_of_blocks<64>();
  batches_of_blocks<8192>();
  batches_of_blocks<8193>();
  batches_of_blocks<16'376>();
  batches_of_blocks<16'377>();
  batches_of_blocks<100'000>();
}

TEST_F(QueueTest, ABatchLargerThanTheBoundIsPutAsRoomComes) {
  const Queue<int> queue(7);
  const Queue<std::string> texts(7);
  Threads putters(1, [&](int) {
    queue.put_many(numbers(0, 1000));
    queue.put_many(std::views::iota(1000, 2000));
    texts.put_many(std::vector<std::string>(1000, "text"));
  });
  for (int i = 0; i < 2000; ++i) {
    ASSERT_LE(queue.size(), 7U);
    ASSERT_EQ(queue.get(), i);
  }
  for (int i = 0; i < 1000; ++i) {
    ASSERT_LE(texts.size(), 7U);
    ASSERT_EQ(texts.get(), "text");
  }
  putters.join();
  EXPECT_TRUE(queue.empty());
}

// ---- closing

template <class T>
void expect_refused(const Queue<T>& queue, const T& one) {
  std::vector<T> out;
  EXPECT_THROW(queue.put(one), InvalidStateError);
  EXPECT_THROW(queue.try_put(one), InvalidStateError);
  EXPECT_THROW(queue.put_for(one, 1s), InvalidStateError);
  EXPECT_THROW(queue.put_nowait(one), InvalidStateError);
  EXPECT_THROW(queue.put_many(std::vector<T>(2, one)), InvalidStateError);
  EXPECT_THROW(queue.put_many(std::list<T>(2, one)), InvalidStateError);
  EXPECT_THROW(queue.get(), InvalidStateError);
  EXPECT_THROW(queue.try_get(), InvalidStateError);
  EXPECT_THROW(queue.get_for(1s), InvalidStateError);
  EXPECT_THROW(queue.get_nowait(), InvalidStateError);
  EXPECT_THROW(queue.get_many(out, 3), InvalidStateError);
  EXPECT_THROW(queue.try_get_many(out, 3), InvalidStateError);
}

TEST_F(QueueTest, AClosedQueueNeitherPutsNorGetsInThisProcess) {
  const Queue<int> queue;
  const Queue<int> copy = queue;
  queue.put(1);
  EXPECT_FALSE(queue.closed());
  queue.close();
  queue.close();
  EXPECT_TRUE(queue.closed());
  EXPECT_TRUE(copy.closed());
  expect_refused(queue, 2);
  expect_refused(copy, 2);
  EXPECT_EQ(queue.size(), 1U);
  EXPECT_FALSE(queue.empty());
  const Queue<std::string> texts;
  texts.close();
  expect_refused<std::string>(texts, "text");
  try {
    queue.get();
  } catch (const InvalidStateError& error) {
    EXPECT_NE(std::string(error.what()).find("closed"), std::string::npos) << error.what();
  }
}

TEST_P(Queues, WhatOneProcessClosedOthersUse) {
  const Queue<int> there, back;
  Children children(GetParam());
  children.add(
      [](const Queue<int>& in, const Queue<int>& out) {
        for (int i = 0; i < 3; ++i) out.put(in.get() + 1);
        in.close();
        require_throw<InvalidStateError>([&] { in.get(); }, "it is closed here");
      },
      there, back);
  there.put_many(numbers(0, 3));
  there.close();
  for (int i = 1; i <= 3; ++i) EXPECT_EQ(back.get(), i);
  children.join();
}

TEST_P(Queues, AQueueThatItsCreatorClosedIsOpenInALaterChild) {
  const Queue<int> queue;
  queue.put(1);
  queue.close();
  Children children(GetParam());
  children.add([](const Queue<int>& in) { require(in.get() == 1, "what was put before"); }, queue);
  children.join();
  EXPECT_TRUE(queue.empty());
}

TEST_F(QueueTest, CloseDoesNotWakeOrHarmOthersOfTheProcess) {
  Queue<int> queue;
  {
    const Queue<int> other = queue;
    EXPECT_EQ(other, queue);
  }
  queue.put(3);
  EXPECT_EQ(queue.get(), 3);
}

// ---- shutdown

template <class T>
void expect_no_puts(const Queue<T>& queue, const T& one) {
  EXPECT_THROW(queue.put(one), QueueShutDown);
  EXPECT_THROW(queue.try_put(one), QueueShutDown);
  EXPECT_THROW(queue.put_for(one, 1h), QueueShutDown);
  EXPECT_THROW(queue.put_for(one, -1h), QueueShutDown);
  EXPECT_THROW(queue.put_nowait(one), QueueShutDown);
  EXPECT_THROW(queue.put(one, 1s), QueueShutDown);
  EXPECT_THROW(queue.put_many(std::vector<T>(2, one)), QueueShutDown);
  EXPECT_THROW(queue.put_many(std::list<T>(2, one)), QueueShutDown);
}
template <class T>
void expect_no_gets(const Queue<T>& queue) {
  std::vector<T> out;
  std::vector<T> room(1);
  EXPECT_THROW(queue.get(), QueueShutDown);
  EXPECT_THROW(queue.try_get(), QueueShutDown);
  EXPECT_THROW(queue.get_for(1h), QueueShutDown);
  EXPECT_THROW(queue.get_for(-1h), QueueShutDown);
  EXPECT_THROW(queue.get_nowait(), QueueShutDown);
  EXPECT_THROW(queue.get(1s), QueueShutDown);
  EXPECT_THROW(queue.get_many(out, 3), QueueShutDown);
  EXPECT_THROW(queue.get_many(room.data(), 1), QueueShutDown);
  EXPECT_THROW(queue.get_many_for(out, 3, 1h), QueueShutDown);
  EXPECT_THROW(queue.try_get_many(out, 3), QueueShutDown);
  EXPECT_TRUE(out.empty());
}

TEST_F(QueueTest, AfterAGentleShutdownWhatIsThereCanBeGot) {
  const Queue<std::string> queue(3);
  EXPECT_FALSE(queue.is_shutdown());
  const std::vector<std::string> put{"a", std::string(100'000, 'b'), "c"};
  queue.put_many(put);
  queue.shutdown();
  EXPECT_TRUE(queue.is_shutdown());
  expect_no_puts<std::string>(queue, "d");  // rather than full
  EXPECT_EQ(queue.size(), 3U);
  for (const auto& one : put) EXPECT_EQ(queue.get(), one);
  expect_no_gets(queue);
  expect_no_puts<std::string>(queue, "d");
}

TEST_F(QueueTest, AfterAnImmediateShutdownNothingCanBeGot) {
  const std::size_t before = blocks_held();
  const Queue<std::string> queue(3);
  queue.put_many(std::vector<std::string>(3, std::string(100'000, 'b')));
  const std::size_t held = blocks_held();
  queue.shutdown(true);
  EXPECT_TRUE(queue.is_shutdown());
  EXPECT_EQ(queue.size(), 0U);
  EXPECT_TRUE(queue.empty());
  EXPECT_FALSE(queue.full());
  expect_no_puts<std::string>(queue, "d");
  expect_no_gets(queue);
  EXPECT_LE(blocks_held(), held - 3) << "what was dropped is given back";
  EXPECT_GT(blocks_held(), before);
}

TEST_F(QueueTest, ShutdownsGoFromGentleToImmediateAndNotBack) {
  const Queue<int> queue;
  queue.put(1);
  queue.shutdown();
  queue.shutdown();
  EXPECT_EQ(queue.size(), 1U);
  queue.shutdown(true);
  EXPECT_EQ(queue.size(), 0U);
  queue.shutdown();
  EXPECT_TRUE(queue.is_shutdown());
  expect_no_gets(queue);
  expect_no_puts(queue, 1);
}

TEST_F(QueueTest, AShutdownOfAnEmptyQueueEndsBothSides) {
  for (bool immediate : {false, true}) {
    const Queue<int> queue;
    queue.shutdown(immediate);
    expect_no_gets(queue);
    expect_no_puts(queue, 1);
  }
}

// What was taken is answered: the end is told by the next call.
TEST_F(QueueTest, GetManyAtTheEndOfAShutDownQueueAnswersWhatItTook) {
  for (int count : {1, 1024, 2048, 3071, 3072, 3073, 10'000}) {
    const Queue<int> queue;
    queue.put_many(numbers(0, count));
    queue.shutdown();
    std::vector<int> got;
    std::size_t answered = 0;
    EXPECT_THROW(for (;;) answered += queue.get_many(got, 20'000), QueueShutDown);
    EXPECT_EQ(got, numbers(0, count));
    EXPECT_EQ(answered, got.size()) << "of " << count;
  }
}

TEST_F(QueueTest, AClosedQueueMayBeShutDown) {
  const Queue<int> queue;
  queue.put(1);
  queue.close();
  queue.shutdown(true);
  EXPECT_TRUE(queue.is_shutdown());
  EXPECT_TRUE(queue.empty());
}

TEST_P(Queues, AShutdownWakesWhoWaits) {
  for (bool immediate : {false, true}) {
    const Queue<int> empty;
    const Queue<int> full(1);
    full.put(0);
    Children children(GetParam());
    children.add(
        [](const Queue<int>& queue) {
          require_throw<QueueShutDown>([&] { queue.get(); }, "get");
          require(queue.is_shutdown(), "and all know");
        },
        empty);
    children.add(
        [](const Queue<int>& queue) {
          require_throw<QueueShutDown>([&] { queue.get_for(1h); }, "get_for");
        },
        empty);
    children.add(
        [](const Queue<int>& queue) {
          std::vector<int> out;
          require_throw<QueueShutDown>([&] { queue.get_many(out, 10); }, "get_many");
        },
        empty);
    children.add(
        [](const Queue<int>& queue) { require_throw<QueueShutDown>([&] { queue.put(1); }, "put"); },
        full);
    children.add(
        [](const Queue<int>& queue) {
          require_throw<QueueShutDown>([&] { queue.put_many(std::vector{1, 2}); }, "put_many");
        },
        full);
    children.add(
        [](const Queue<int>& queue) {
          for ([[maybe_unused]] int x : queue.drain()) require(false, "nothing is there");
        },
        empty);
    ASSERT_TRUE(sleep_comes(empty, 4));
    ASSERT_TRUE(sleep_comes(full, 2));
    empty.shutdown(immediate);
    full.shutdown(immediate);
    children.join();
    EXPECT_EQ(full.size(), immediate ? 0U : 1U);
  }
}

TEST_P(Queues, AChildsShutdownEndsTheCreatorsWait) {
  const Queue<int> queue;
  Children children(GetParam());
  children.add(
      [](const Queue<int>& theirs) {
        theirs.put(1);
        theirs.shutdown();
      },
      queue);
  std::vector<int> got;
  for (int x : queue.drain()) got.push_back(x);
  EXPECT_EQ(got, std::vector{1});
  children.join();
}

// ---- drain

TEST_F(QueueTest, DrainGivesAllUntilTheQueueIsShutDownAndEmpty) {
  const Queue<std::string> queue;
  queue.put_many(std::vector<std::string>{"a", "b", "c"});
  queue.shutdown();
  std::vector<std::string> got;
  for (const std::string& one : queue.drain()) got.push_back(one);
  EXPECT_EQ(got, (std::vector<std::string>{"a", "b", "c"}));
  for ([[maybe_unused]] const auto& one : queue.drain()) ADD_FAILURE() << "nothing is left";
}

TEST_F(QueueTest, DrainIsARange) {
  const Queue<int> queue;
  queue.put_many(numbers(0, 10));
  queue.shutdown();
  int sum = 0;
  for (int x : queue.drain() | std::views::filter([](int i) { return i % 2 == 1; })) sum += x;
  EXPECT_EQ(sum, 25);
}

TEST_F(QueueTest, DrainOfATemporaryQueueKeepsIt) {
  auto drain = [] {
    Queue<int> queue;
    queue.put(5);
    queue.shutdown();
    return queue.drain();
  }();
  std::vector<int> got;
  for (int x : drain) got.push_back(x);
  EXPECT_EQ(got, std::vector{5});
}

TEST_F(QueueTest, ABreakLeavesTheRestInTheQueue) {
  const Queue<int> queue;
  queue.put_many(numbers(0, 5));
  for (int x : queue.drain()) {
    if (x == 1) break;
  }
  EXPECT_EQ(all_of(queue), numbers(2, 5));
}

TEST_P(Queues, SeveralProcessesDrainOneQueueBetweenThem) {
  const Queue<int> queue(100);
  const Queue<long> sums;
  Children children(GetParam());
  for (int i = 0; i < 3; ++i) {
    children.add(
        [](const Queue<int>& in, const Queue<long>& out) {
          long sum = 0;
          for (int x : in.drain()) sum += x;
          out.put(sum);
        },
        queue, sums);
  }
  for (int i = 1; i <= 10'000; ++i) queue.put(i);
  queue.shutdown();
  children.join();
  EXPECT_EQ(sums.get() + sums.get() + sums.get(), 50'005'000L);
  EXPECT_TRUE(sums.empty());
}

// ---- waiting

TEST_P(Queues, AGetWaitsUntilAnotherProcessPuts) {
  const Queue<int> there, back;
  Children children(GetParam());
  children.add(
      [](const Queue<int>& in, const Queue<int>& out) {
        out.put(in.get());
        out.put(*in.get_for(std::chrono::hours::max()));
        std::vector<int> some;
        require(in.get_many(some, 10) >= 1, "at least one");
        out.put(some[0]);
      },
      there, back);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(sleep_comes(there, 1));
    there.put(i);
    EXPECT_EQ(back.get(), i);
  }
  children.join();
}

TEST_P(Queues, APutWaitsUntilAnotherProcessGets) {
  const Queue<std::string> queue(1);
  Children children(GetParam());
  children.add(
      [](const Queue<std::string>& out) {
        out.put("first");
        out.put("second");
        require(out.put_for("third", 1h), "there was room in time");
        out.put(std::string(100'000, 'f'));
        out.put_many(std::vector<std::string>{"fifth", "sixth"});
      },
      queue);
  for (const char* expected : {"first", "second", "third"}) {
    ASSERT_TRUE(eventually([&] { return queue.full() && sleepers_on(queue) == 1; }));
    EXPECT_EQ(queue.get(), expected);
  }
  EXPECT_EQ(queue.get().size(), 100'000U);
  EXPECT_EQ(queue.get(), "fifth");
  EXPECT_EQ(queue.get(), "sixth");
  children.join();
}

TEST_F(QueueTest, ManyWaitersAreAllServed) {
  const Queue<int> queue;
  std::atomic<int> sum{0};
  Threads getters(20, [&](int) { sum += queue.get(); });
  ASSERT_TRUE(fall_asleep_here(20));
  queue.put_many(numbers(1, 21));
  getters.join();
  EXPECT_EQ(sum, 210);
  const Queue<int> full(1);
  full.put(0);
  Threads putters(20, [&](int i) { full.put(i + 1); });
  ASSERT_TRUE(fall_asleep_here(20));
  for (int i = 0; i < 21; ++i) sum += full.get();
  putters.join();
  EXPECT_EQ(sum, 420);
}

TEST_F(QueueTest, AKilledWaiterTakesNothingWithIt) {
  const Queue<int> queue;
  Children children;
  for (int i = 0; i < 3; ++i)
    children.fork([&] {
      for (;;) queue.get();
    });
  ASSERT_TRUE(sleep_comes(queue, 3));
  while (children.size() != 0) children.kill(0);
  queue.put_many(numbers(0, 10));
  EXPECT_EQ(all_of(queue), numbers(0, 10));
}

// ---- many producers, many consumers

struct Numbered {
  int producer = 0;
  int number = 0;
  std::string filling;
};

void produce(const Queue<Numbered>& queue, int producer, int count) {
  std::vector<Numbered> batch;
  for (int i = 0; i < count; ++i) {
    Numbered one{producer, i, std::string(static_cast<std::size_t>(i % 97), 'f')};
    if (i % 500 == 0) one.filling.resize(40'000);
    batch.push_back(std::move(one));
    if (i % 3 == 0) {
      queue.put_many(batch);
      batch.clear();
    }
  }
  for (const auto& one : batch) queue.put(one);
}

// Of each producer, what one consumer got, in the order that it came.
using Got = std::vector<std::vector<int>>;

void consume(const Queue<Numbered>& queue, const Queue<Got>& results, bool batches) {
  Got got(4);
  const auto note = [&](const Numbered& one) {
    got.at(static_cast<std::size_t>(one.producer)).push_back(one.number);
  };
  if (!batches) {
    for (const Numbered& one : queue.drain()) note(one);
  } else {
    try {
      for (;;) {
        std::vector<Numbered> some;
        require(queue.get_many(some, 20) == some.size(), "the count is right");
        for (const auto& one : some) note(one);
      }
    } catch (const QueueShutDown&) {
    }
  }
  results.put(got);
}

class Traffic : public EachMethodSync {
 protected:
  void run(std::size_t bound) {
    constexpr int kCount = 4000;
    const Queue<Numbered> queue(bound);
    const Queue<Got> results;
    Children producers(GetParam()), consumers(GetParam());
    for (int i = 0; i < 4; ++i) consumers.add(consume, queue, results, i % 2 == 0);
    for (int i = 0; i < 4; ++i) producers.add(produce, queue, i, kCount);
    producers.join();
    queue.shutdown();
    consumers.join();
    Got all(4);
    for (const Got& one : all_of(results)) {
      for (std::size_t producer = 0; producer < 4; ++producer) {
        const auto& list = one.at(producer);
        EXPECT_TRUE(std::ranges::is_sorted(list)) << "not in the order of their puts";
        all[producer].insert(all[producer].end(), list.begin(), list.end());
      }
    }
    for (auto& list : all) {
      std::ranges::sort(list);
      EXPECT_EQ(list, numbers(0, kCount)) << "lost or doubled";
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Methods, Traffic, every_method(), method_name);

TEST_P(Traffic, NothingIsLostDoubledOrOutOfOrder) { run(0); }
TEST_P(Traffic, NothingIsLostDoubledOrOutOfOrderThroughABound) { run(5); }

TEST_F(QueueTest, ThreadsOfOneProcessShareAQueue) {
  const Queue<int> queue(50);
  std::atomic<long> sum{0};
  Threads getters(4, [&](int) {
    for (int x : queue.drain()) sum += x;
  });
  Threads putters(4, [&](int i) {
    for (int n = 0; n < 10'000; ++n) queue.put(i * 10'000 + n);
  });
  putters.join();
  queue.shutdown();
  getters.join();
  EXPECT_EQ(sum, 799'980'000L);
}

TEST_F(QueueTest, AMillionMessagesArriveExactly) {
  const Queue<int> queue(1000);
  Children children;
  children.fork([&] {
    for (int i = 0; i < 1'000'000; ++i) queue.put(i);
    queue.shutdown();
  });
  int next = 0;
  for (int x : queue.drain()) ASSERT_EQ(x, next++);
  EXPECT_EQ(next, 1'000'000);
  children.join();
}

TEST_F(QueueTest, TenMillionMessagesArriveInBatches) {
  constexpr int kCount = kSanitized ? 1'000'000 : 10'000'000;
  const Queue<int> queue(100'000);
  Children children;
  children.fork([&] {
    for (int i = 0; i < kCount; i += 100) queue.put_many(numbers(i, i + 100));
    queue.shutdown();
  });
  int next = 0;
  std::vector<int> room(1000);
  try {
    for (;;) {
      const std::size_t count = queue.get_many(room.data(), room.size());
      for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(room[i], next++);
    }
  } catch (const QueueShutDown&) {
  }
  EXPECT_EQ(next, kCount);
  children.join();
}

// ---- handles

TEST_F(QueueTest, CopiesAreTheSameQueue) {
  Queue<int> queue;
  Queue<int> copy = queue;
  const Queue<int> other;
  EXPECT_EQ(queue, copy);
  EXPECT_FALSE(queue == other);
  copy.put(1);
  EXPECT_EQ(queue.get(), 1);
  const Queue<int> moved = std::move(copy);
  EXPECT_EQ(moved, queue);
  copy = other;
  EXPECT_EQ(copy, other);
}

TEST_F(QueueTest, AHandleThatWasMovedFromIsRefused) {
  Queue<int> queue;
  const Queue<int> moved = std::move(queue);
  EXPECT_THROW(queue.put(1), cohort::Error);   // NOLINT: that is the question
  EXPECT_THROW(queue.get(), cohort::Error);    // NOLINT
  EXPECT_THROW(queue.size(), cohort::Error);   // NOLINT
  EXPECT_EQ(text_of(queue), "<Queue empty>");  // NOLINT
  EXPECT_TRUE(moved.empty());
}

TEST_F(QueueTest, TheTextShowsTypeAndSize) {
  const Queue<int> queue;
  queue.put(1);
  EXPECT_EQ(text_of(queue), "<Queue of int size=1>");
  // A name that is longer than what the queue notes of it.
  using Long = std::vector<std::vector<std::vector<std::vector<std::string>>>>;
  EXPECT_NE(text_of(Queue<std::pair<Long, Long>>()).find("size=0>"), std::string::npos);
}

TEST_F(QueueTest, AQueueOfTheHostsOwnChildIsInert) {
  const Queue<int> queue;
  queue.put(1);
  const auto expect_inert = [](const auto& call) {
    const std::string said = thrown_in_host_fork(call);
    EXPECT_TRUE(said.starts_with(kInert)) << said;
  };
  expect_inert([&] { queue.put(2); });
  expect_inert([&] { queue.get(); });
  expect_inert([&] { queue.size(); });
  expect_inert([&] { queue.shutdown(); });
  EXPECT_EQ(all_of(queue), std::vector{1});
}

TEST_F(QueueTest, TheMessagesOfAQueueThatGoesGoWithIt) {
  const std::size_t before = blocks_held();
  {
    Queue<std::string> queue;
    for (int i = 0; i < 100; ++i) queue.put(std::string(static_cast<std::size_t>(i) * 1000, 'x'));
    const Queue<std::string> copy = queue;
    queue = Queue<std::string>();
    EXPECT_GT(blocks_held(), before + 50);
  }
  EXPECT_EQ(blocks_held(), before);
}

TEST_P(Queues, MessagesOutliveTheirSender) {
  const Queue<std::string> queue;
  Children children(GetParam());
  children.add(
      [](const Queue<std::string>& out) {
        for (int i = 0; i < 1000; ++i) out.put(std::to_string(i));
        out.put(std::string(1'000'000, 'x'));
      },
      queue);
  children.join();
  EXPECT_EQ(queue.size(), 1001U);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(queue.get(), std::to_string(i));
  EXPECT_EQ(queue.get().size(), 1'000'000U);
}

TEST_P(Queues, MessagesOutliveASenderThatIsKilled) {
  const Queue<std::string> queue;
  const cohort::Event all_put;
  Children children(GetParam());
  children.add(
      [](const Queue<std::string>& out, const cohort::Event& done) {
        for (int i = 0; i < 100; ++i) out.put(std::string(static_cast<std::size_t>(i) * 1000, 'x'));
        done.set();
        for (;;) ::pause();
      },
      queue, all_put);
  all_put.wait();
  children.kill(0);
  for (std::size_t i = 0; i < 100; ++i) ASSERT_EQ(queue.get().size(), i * 1000);
}

TEST_P(Queues, AQueueOutlivesItsMaker) {
  const Queue<Queue<int>> mail;
  Children children(GetParam());
  children.add(
      [](const Queue<Queue<int>>& out) {
        const Queue<int> made;
        made.put_many(numbers(0, 10));
        out.put(made);
      },
      mail);
  children.join();
  const Queue<int> got = mail.get();
  EXPECT_EQ(all_of(got), numbers(0, 10));
  got.put(1);
  EXPECT_EQ(got.get(), 1);
}

TEST_P(Queues, TheCreatorMayDropItsHandleFirst) {
  const cohort::Event dropped;
  Children children(GetParam());
  {
    const Queue<int> queue;
    queue.put(1);
    children.add(
        [](const Queue<int>& theirs, const cohort::Event& go) {
          go.wait();
          require(theirs.get() == 1, "what was put is there");
          theirs.put(2);
          require(theirs.get() == 2, "it works");
        },
        queue, dropped);
  }
  dropped.set();
  children.join();
}

// ---- queues that are passed on

struct Request {
  int number = 0;
  Queue<int> reply;
};

void serve(const Queue<Request>& requests) {
  for (const Request& request : requests.drain()) request.reply.put(request.number * 2);
}

TEST_P(Queues, ARequestCarriesTheQueueForItsReply) {
  const Queue<Request> requests;
  Children children(GetParam());
  children.add(serve, requests);
  for (int i = 0; i < 200; ++i) {
    const Queue<int> reply;  // made after the server has started
    requests.put({i, reply});
    ASSERT_EQ(reply.get(), 2 * i);
  }
  requests.shutdown();
  children.join();
}

struct Parcel {
  cohort::Lock lock;
  cohort::Event event;
  Queue<int> queue;
  SimpleQueue<std::string> simple;
  std::vector<JoinableQueue<int>> many;
  cohort::Connection connection;
};

TEST_P(Queues, LocksQueuesAndConnectionsTravelInMessages) {
  const Queue<Parcel> mail;
  Children children(GetParam());
  children.add(
      [](const Queue<Parcel>& in) {
        const Parcel parcel = in.get();
        {
          std::scoped_lock guard(parcel.lock);
          parcel.queue.put(1);
        }
        parcel.simple.put("two");
        for (const auto& one : parcel.many) one.put(3);
        parcel.connection.send(std::string("four"));
        parcel.event.set();
      },
      mail);
  const cohort::Event event;
  const Queue<int> queue;
  const SimpleQueue<std::string> simple;
  const std::vector<JoinableQueue<int>> many(3);
  auto [ours, theirs] = cohort::Pipe();
  mail.put({cohort::Lock(), event, queue, simple, many, theirs});
  theirs.close();
  event.wait();
  EXPECT_EQ(queue.get(), 1);
  EXPECT_EQ(simple.get(), "two");
  for (const auto& one : many) EXPECT_EQ(one.get(), 3);
  EXPECT_EQ(ours.recv<std::string>(), "four");
  children.join();
  EXPECT_THROW(ours.recv<std::string>(), cohort::EndOfFile);
}

TEST_F(QueueTest, WhatAMessageCarriesGoesWithTheQueue) {
  const std::size_t before = blocks_held();
  {
    const Queue<Queue<std::string>> outer;
    for (int i = 0; i < 20; ++i) {
      const Queue<std::string> inner;
      inner.put(std::string(50'000, 'x'));
      outer.put(inner);
    }
    outer.get();
    EXPECT_GT(blocks_held(), before + 19);
  }
  EXPECT_EQ(blocks_held(), before);
}

// Its messages carry queues of its own kind.
struct Link {
  std::vector<Queue<Link>> queues;
};

TEST_F(QueueTest, AQueueMayTravelThroughItself) {
  const std::size_t before = blocks_held();
  {
    const Queue<Link> queue;
    queue.put({{queue, queue}});
    const Link link = queue.get();
    ASSERT_EQ(link.queues.size(), 2U);
    EXPECT_EQ(link.queues[0], queue);
    link.queues[1].put({});
    EXPECT_TRUE(queue.get().queues.empty());
  }
  EXPECT_EQ(blocks_held(), before);
}

// Nobody can reach it any more but through itself.
TEST_F(QueueTest, AQueueThatIsOnlyInItsOwnMessageIsGivenBack) {
  const std::size_t before = blocks_held();
  {
    const Queue<Link> queue;
    queue.put({{queue}});
  }
  EXPECT_EQ(blocks_held(), before);
}

TEST_F(QueueTest, AShutdownFreesAQueueOfItself) {
  const std::size_t before = blocks_held();
  {
    const Queue<Link> queue;
    queue.put({{queue}});
    queue.shutdown(true);
  }
  EXPECT_EQ(blocks_held(), before);
}

// ---- types that do not match

TEST_F(QueueTest, AHandleOfAnotherTypesQueueIsRefused) {
  const auto channel = Channel::make();
  channel.send(Queue<int>());
  try {
    channel.receive<Queue<long>>();
    ADD_FAILURE() << "a Queue<int> became a Queue<long>";
  } catch (const cohort::TypeMismatch& error) {
    EXPECT_NE(error.expected().find("long"), std::string::npos) << error.expected();
    EXPECT_EQ(error.found(), "int");
  }
  channel.send(Queue<std::string>());
  EXPECT_THROW(channel.receive<SimpleQueue<std::vector<char>>>(), cohort::TypeMismatch);
  channel.send(JoinableQueue<int>());
  EXPECT_THROW(channel.receive<JoinableQueue<unsigned>>(), cohort::TypeMismatch);
}

TEST_F(QueueTest, AQueueThatIsNotJoinableDoesNotBecomeSo) {
  const auto channel = Channel::make();
  channel.send(Queue<int>());
  EXPECT_THROW(channel.receive<JoinableQueue<int>>(), cohort::TypeMismatch);
}

TEST_F(QueueTest, AJoinableQueueServesAsAPlainOne) {
  const JoinableQueue<int> joinable;
  const Queue<int> plain = joinable;  // NOLINT: the handle of the same queue
  plain.put(1);
  EXPECT_EQ(joinable.unfinished(), 1U);
  EXPECT_EQ(plain.get(), 1);
  joinable.task_done();
  EXPECT_TRUE(joinable.join_for(0s));
}

}  // namespace
