#include "ring/ring.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <atomic>
#include <cstring>
#include <map>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "arena/block_refs.hpp"
#include "cohort/error.hpp"
#include "member.hpp"

namespace {

using namespace cohort::arena;
using namespace std::chrono_literals;
using cohort::detail::BlockRef;
using cohort::detail::BlockRefs;
using cohort::os::Clock;
using cohort::ring::Message;
using cohort::ring::Ring;
using test::eventually;
using test::kSanitized;
using test::Member;
using test::Shared;
using test::soon;

using Bytes = std::vector<std::byte>;
constexpr auto kNow = Clock::time_point{};

class RingTest : public test::Watched {
 protected:
  Space& space = Space::here();

  void SetUp() override {
    Watched::SetUp();
    held_before_ = space.heap().blocks_held();
  }
  void TearDown() override {
    auto held = [&] { return space.heap().blocks_held(); };
    EXPECT_TRUE(eventually([&] { return held() == held_before_; }, Clock::now() + 5s))
        << held() << " blocks are held, and " << held_before_ << " were before";
    Watched::TearDown();
  }

 private:
  std::size_t held_before_ = 0;
};

// A message whose every byte depends on its number and length.
Bytes pattern(std::uint64_t number, std::size_t length) {
  Bytes bytes(length);
  for (std::size_t i = 0; i < length; ++i)
    bytes[i] = static_cast<std::byte>(number * 31 + i * 7 + length);
  return bytes;
}
bool same(std::span<const std::byte> one, std::span<const std::byte> other) {
  return one.size() == other.size() && std::equal(one.begin(), one.end(), other.begin());
}

struct Note {
  std::uint32_t producer;
  std::uint32_t number;
};
std::span<const std::byte> bytes_of(const Note& note) { return std::as_bytes(std::span(&note, 1)); }
Note note_in(std::span<const std::byte> bytes) {
  Note note{};
  std::memcpy(&note, bytes.data(), std::min(bytes.size(), sizeof note));
  return note;
}

TEST_F(RingTest, MessagesComeInOrderAndWhole) {
  Ring ring(10'000);
  EXPECT_TRUE(ring.empty());
  for (std::uint64_t i = 0; i < 100; ++i) ASSERT_TRUE(ring.put(pattern(i, i), kNow));
  EXPECT_FALSE(ring.empty());
  EXPECT_GT(ring.bytes_waiting(), 0U);
  for (std::uint64_t i = 0; i < 100; ++i) {
    auto message = ring.take(kNow);
    ASSERT_TRUE(message);
    ASSERT_TRUE(same(message->bytes(), pattern(i, i)));
    ASSERT_TRUE(message->references().empty());
  }
  EXPECT_TRUE(ring.empty());
  EXPECT_EQ(ring.bytes_waiting(), 0U);
}

TEST_F(RingTest, MessagesWrapAroundAtEveryOffset) {
  // Every start in a small ring with every length that stays in it, and some that are parcels.
  Ring ring(4096);
  std::mt19937 random(3);
  std::uint64_t number = 0;
  std::set<std::uint64_t> offsets;
  auto& cell = space.cell<cohort::ring::RingCell>(cell_of(ring.block().offset()));
  for (int round = 0; round < 1'000'000 && offsets.size() < 4096 / 8; ++round) {
    offsets.insert(cohort::ring::Mark{cell.tail.load()}.units() % (4096 / 8));
    std::size_t length = random() % 1100;
    ASSERT_TRUE(ring.put(pattern(number, length), kNow));
    auto message = ring.take(kNow);
    ASSERT_TRUE(message);
    ASSERT_TRUE(same(message->bytes(), pattern(number, length)));
    ++number;
  }
  EXPECT_EQ(offsets.size(), 4096U / 8);
}

TEST_F(RingTest, AQueueOfRandomSizesKeepsItsOrderThroughEveryWrap) {
  Ring ring(8192);
  std::mt19937 random(4);
  std::uint64_t put = 0, taken = 0;
  std::map<std::uint64_t, std::size_t> lengths;
  while (taken < 30'000) {
    std::size_t length = random() % 5 == 0 ? random() % 4000 : random() % 60;
    if (random() % 2 && ring.put(pattern(put, length), kNow)) lengths[put++] = length;
    if (random() % 2) {
      auto message = ring.take(kNow);
      ASSERT_EQ(message.has_value(), taken < put);
      if (!message) continue;
      ASSERT_TRUE(same(message->bytes(), pattern(taken, lengths[taken])));
      lengths.erase(taken++);
    }
  }
}

TEST_F(RingTest, AFullOneRefusesAndAnEmptyOneHasNothingUntilTheDeadline) {
  Ring ring(4096);
  auto until = Clock::now() + 30ms;
  EXPECT_FALSE(ring.take(until));
  EXPECT_GE(Clock::now(), until);
  EXPECT_FALSE(ring.take(kNow));
  Bytes message = pattern(1, 100);
  int fitted = 0;
  while (ring.put(message, kNow)) ++fitted;
  EXPECT_EQ(fitted, 4096 / 112);
  while (ring.put(bytes_of({0, 0}), kNow)) {
  }
  until = Clock::now() + 30ms;
  EXPECT_FALSE(ring.put(message, until));
  EXPECT_GE(Clock::now(), until);
  EXPECT_FALSE(ring.put(pattern(2, 100'000), kNow));  // its parcel goes back
  EXPECT_TRUE(ring.take(kNow));
  EXPECT_TRUE(ring.put(message, kNow));
}

TEST_F(RingTest, AWaitingPutGoesOnWhenRoomIsMadeAndAWaitingTakeWhenAMessageComes) {
  Ring ring(4096);
  while (ring.put(pattern(1, 100), kNow)) {
  }
  std::thread putting([&] { EXPECT_TRUE(ring.put(pattern(2, 100), soon())); });
  auto& waits = space.my_slot().waits;
  auto someone_sleeps = [&] {
    return std::any_of(waits.begin(), waits.end(), [](auto& wait) { return wait.load() != 0; });
  };
  EXPECT_TRUE(eventually(someone_sleeps));
  int taken = 0;
  while (ring.take(kNow)) ++taken;
  putting.join();
  EXPECT_TRUE(ring.take(kNow).has_value() || taken == 4096 / 112 + 1);
  std::thread taking([&] { EXPECT_TRUE(ring.take(soon())); });
  EXPECT_TRUE(eventually(someone_sleeps));
  EXPECT_TRUE(ring.put(pattern(3, 10)));
  taking.join();
}

TEST_F(RingTest, LargeMessagesTravelAsParcels) {
  Ring ring(4096);
  for (std::size_t length : {1016, 1017, 1024, 5000, 100'000, 5'000'000}) {
    ASSERT_TRUE(ring.put(pattern(length, length), kNow));
    auto message = ring.take(kNow);
    ASSERT_TRUE(message);
    ASSERT_TRUE(same(message->bytes(), pattern(length, length)));
    Message moved = std::move(*message);
    EXPECT_TRUE(message->bytes().empty());
    EXPECT_EQ(moved.bytes().size(), length);
    moved = Message();
  }
}

TEST_F(RingTest, BatchesArePutAsFarAsTheyFitAndTakenUnderOneLock) {
  Ring ring(4096);
  std::vector<Bytes> bytes;
  std::vector<std::span<const std::byte>> messages;
  for (std::uint64_t i = 0; i < 100; ++i) bytes.push_back(pattern(i, 90));
  for (auto& one : bytes) messages.emplace_back(one);
  std::size_t fitted = ring.put_some(messages);
  EXPECT_EQ(fitted, 4096U / 104);
  std::uint64_t next = 0;
  auto check = [&](std::span<const std::byte> one) { EXPECT_TRUE(same(one, pattern(next++, 90))); };
  EXPECT_EQ(ring.take_some(10, check), 10U);
  EXPECT_EQ(ring.put_some(std::span(messages).subspan(fitted, 5)), 5U);
  EXPECT_EQ(ring.take_some(1000, check), fitted - 5);
  EXPECT_EQ(ring.take_some(1000, check), 0U);
  EXPECT_EQ(next, fitted + 5);
  EXPECT_EQ(ring.put_some({}), 0U);
  // Parcels come as their payload.
  EXPECT_TRUE(ring.put(pattern(1, 10'000), kNow));
  EXPECT_EQ(ring.take_some(5, [](auto one) { EXPECT_TRUE(same(one, pattern(1, 10'000))); }), 1U);
}

TEST_F(RingTest, ReferencesKeepTheirBlocksUntilTheMessageGoes) {
  Ring ring(4096);
  BlockRef block = BlockRefs::create(64, BlockKind::plain);
  Offset place = block.offset();
  ASSERT_TRUE(ring.put(pattern(1, 5), kNow, std::span(&place, 1)));
  block = BlockRef();
  EXPECT_TRUE(space.heap().owner(place).is(Hold::shared));
  auto message = ring.take(kNow);
  ASSERT_TRUE(message);
  ASSERT_EQ(message->references().size(), 1U);
  EXPECT_EQ(message->references()[0], place);
  EXPECT_TRUE(same(message->bytes(), pattern(1, 5)));
  block = BlockRef::adopt(place);
  message.reset();
  EXPECT_TRUE(space.heap().owner(place).is(Hold::shared));
  ASSERT_TRUE(ring.put(pattern(1, 5), kNow, std::span(&place, 1)));
  block = BlockRef();
  message = ring.take(kNow);
  message.reset();
  EXPECT_EQ(space.heap().owner(place), Owner{});
}

TEST_F(RingTest, AMessageHoldsItsBlocksWhileOtherHandlesOfTheProcessGo) {
  Ring ring(4096);
  BlockRef block = BlockRefs::create(64, BlockKind::plain);
  Offset place = block.offset();
  ASSERT_TRUE(ring.put({}, kNow, std::span(&place, 1)));
  auto message = ring.take(kNow);
  ASSERT_TRUE(message);
  block = BlockRef();  // taken into the message, and not adopted from it yet
  EXPECT_TRUE(space.heap().owner(place).is(Hold::shared));
  EXPECT_TRUE(held_by(space, place, space.self()));
  block = BlockRef::adopt(place);
  message.reset();
  EXPECT_TRUE(space.heap().owner(place).is(Hold::shared));
}

TEST_F(RingTest, ReferencesPassThroughManyHandsExactly) {
  // Each message names a block, which is made by the sender and dropped by the receiver.
  Ring there(4096), back(4096);
  constexpr int kRounds = 5'000;
  Member echo([&] {
    for (int i = 0; i < kRounds; ++i) {
      auto message = there.take(soon());
      BlockRef block = BlockRef::adopt(message->references()[0]);
      *block.data() = static_cast<std::byte>(i);
      Offset place = block.offset();
      message.reset();
      back.put({}, soon(), std::span(&place, 1));
    }
  });
  for (int i = 0; i < kRounds; ++i) {
    {
      BlockRef block = BlockRefs::create(64, BlockKind::plain);
      Offset place = block.offset();
      ASSERT_TRUE(there.put({}, soon(), std::span(&place, 1)));
    }
    auto message = back.take(soon());
    ASSERT_TRUE(message);
    BlockRef block = BlockRef::adopt(message->references()[0]);
    ASSERT_EQ(*block.data(), static_cast<std::byte>(i));
  }
  EXPECT_EQ(echo.wait(), 0);
}

TEST_F(RingTest, ARingWithMessagesInsideGivesAllOfThemBack) {
  auto before = space.heap().blocks_held();
  {
    Ring ring(4096);
    std::vector<BlockRef> blocks;
    for (std::uint64_t i = 0; i < 20; ++i) {
      blocks.push_back(BlockRefs::create(64, BlockKind::plain));
      Offset place = blocks.back().offset();
      ASSERT_TRUE(ring.put(pattern(i, 10), kNow, std::span(&place, 1)));
      ASSERT_TRUE(ring.put(pattern(i, 10), kNow));
      ASSERT_TRUE(ring.put(pattern(i, 20'000), kNow));
    }
    EXPECT_TRUE(ring.take(kNow));
    EXPECT_TRUE(ring.take(kNow));
  }
  EXPECT_EQ(space.heap().blocks_held(), before);
}

TEST_F(RingTest, RingsInsideOfRingsGoToo) {
  auto before = space.heap().blocks_held();
  {
    Ring outer(4096);
    for (int i = 0; i < 5; ++i) {
      Ring inner(4096);
      Ring innermost(4096);
      Offset place = innermost.block().offset();
      ASSERT_TRUE(inner.put({}, kNow, std::span(&place, 1)));
      place = inner.block().offset();
      ASSERT_TRUE(outer.put({}, kNow, std::span(&place, 1)));
    }
  }
  EXPECT_EQ(space.heap().blocks_held(), before);
}

TEST_F(RingTest, AMessageInAChildThatTheHostForkedIsNotTheChilds) {
  Ring ring(4096);
  BlockRef block = BlockRefs::create(64, BlockKind::plain);
  Offset place = block.offset();
  ASSERT_TRUE(ring.put(pattern(1, 10'000), kNow, std::span(&place, 1)));
  auto message = ring.take(kNow);
  pid_t pid = ::fork();
  if (pid == 0) {
    message.reset();
    int code = 1;
    try {
      ring.put({});
    } catch (const cohort::Error&) {
      code = 0;
    }
    ::_exit(code);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(same(message->bytes(), pattern(1, 10'000)));
  EXPECT_TRUE(held_by(space, place, space.self()));
}

// Takes until `total` notes came, from every producer in its order; answers how often each came.
struct Tally {
  std::map<std::uint32_t, std::uint32_t> next;
  std::uint64_t count = 0;
  bool in_order = true;

  void add(Note note) {
    auto [place, fresh] = next.try_emplace(note.producer, 0);
    in_order = in_order && (fresh || note.number > place->second);
    place->second = note.number;
    ++count;
  }
};

TEST_F(RingTest, ManyThreadsExchangeExactlyWhatWasPut) {
  Ring ring(4096);
  constexpr std::uint32_t kEach = kSanitized ? 5'000 : 20'000;
  std::vector<std::thread> threads;
  for (std::uint32_t producer = 0; producer < 3; ++producer) {
    threads.emplace_back([&, producer] {
      for (std::uint32_t i = 1; i <= kEach; ++i)
        ASSERT_TRUE(ring.put(bytes_of({producer, i}), soon()));
    });
  }
  std::atomic<std::uint64_t> sum{0}, count{0};
  for (int consumer = 0; consumer < 3; ++consumer) {
    threads.emplace_back([&] {
      Tally tally;
      for (;;) {
        auto message = ring.take(soon());
        ASSERT_TRUE(message);
        Note note = note_in(message->bytes());
        if (note.number == 0) break;
        tally.add(note);
        sum += note.number;
        ++count;
      }
      EXPECT_TRUE(tally.in_order);
    });
  }
  for (int i = 0; i < 3; ++i) threads[static_cast<std::size_t>(i)].join();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(ring.put(bytes_of({99, 0}), soon()));
  for (std::size_t i = 3; i < 6; ++i) threads[i].join();
  EXPECT_EQ(count, 3 * kEach);
  EXPECT_EQ(sum, 3ULL * kEach * (kEach + 1) / 2);
}

TEST_F(RingTest, ManyProcessesExchangeExactlyWhatWasPut) {
  Ring ring(8192), results(1 << 20);
  constexpr std::uint32_t kEach = kSanitized ? 5'000 : 20'000;
  std::vector<Member> producers, consumers;
  for (std::uint32_t producer = 0; producer < 4; ++producer) {
    producers.emplace_back([&, producer] {
      std::mt19937 random(producer);
      for (std::uint32_t i = 1; i <= kEach; ++i) {
        // Small ones, some of them longer, some parcels.
        Bytes message(sizeof(Note) + (i % 50 == 0 ? 3000 : random() % 100));
        Note note{producer, i};
        std::memcpy(message.data(), &note, sizeof note);
        if (!ring.put(message, soon())) return 1;
      }
      return 0;
    });
  }
  for (int consumer = 0; consumer < 4; ++consumer) {
    consumers.emplace_back([&] {
      Tally tally;
      for (;;) {
        auto message = ring.take(soon());
        if (!message) return 1;
        Note note = note_in(message->bytes());
        if (note.number == 0) break;
        tally.add(note);
        if (!results.put(bytes_of(note), soon())) return 2;
      }
      return tally.in_order ? 0 : 3;
    });
  }
  std::vector<std::vector<bool>> seen(4, std::vector<bool>(kEach + 1));
  for (std::uint32_t i = 0; i < 4 * kEach; ++i) {
    auto message = results.take(soon());
    ASSERT_TRUE(message);
    Note note = note_in(message->bytes());
    ASSERT_FALSE(seen.at(note.producer).at(note.number)) << "came twice";
    seen[note.producer][note.number] = true;
  }
  for (auto& producer : producers) EXPECT_EQ(producer.wait(), 0);
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(ring.put(bytes_of({99, 0}), soon()));
  for (auto& consumer : consumers) EXPECT_EQ(consumer.wait(), 0);
  EXPECT_FALSE(results.take(kNow));
}

TEST_F(RingTest, ASleeperIsNotForgottenWhenSeveralMessagesComeAtOnce) {
  // Of two sleeping consumers one takes a message and goes on to something else; the other message,
  // which was put before the first woke up, is for the second.
  Ring ring(4096);
  struct Stage {
    std::atomic<int> taken, stop;
  };
  Shared<Stage> stage;
  int late = 0;
  for (int round = 0; round < 40; ++round) {
    stage->taken = 0;
    stage->stop = 0;
    std::vector<Member> consumers;
    for (int i = 0; i < 2; ++i) {
      consumers.emplace_back([&] {
        if (!ring.take(soon())) return 1;
        stage->taken.fetch_add(1);
        while (stage->stop == 0) ::sched_yield();
        return 0;
      });
    }
    for (auto& consumer : consumers) {
      auto& waits = space.members().slot(consumer.id()).waits;
      ASSERT_TRUE(eventually([&] { return waits[0].load() != 0; }));
    }
    // Bells ring for one; the second message rings while the flag is down.
    ring.put(pattern(1, 8));
    ring.put(pattern(2, 8));
    auto before = Clock::now();
    ASSERT_TRUE(eventually([&] { return stage->taken == 2; }));
    if (Clock::now() - before > 50ms) ++late;
    stage->stop = 1;
    for (auto& consumer : consumers) EXPECT_EQ(consumer.wait(), 0);
  }
  EXPECT_LE(late, kSanitized ? 8 : 4);  // else they woke by the bound on sleeps only
}

}  // namespace
