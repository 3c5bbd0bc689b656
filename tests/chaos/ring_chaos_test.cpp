// Rings whose producers and consumers are killed: at random instants, and at every step.
//
// What holds: a message that put() said it put comes out of exactly one take(), whole and in its
// producer's order; unless that taker is killed before take() returns, which loses that one
// message. A message whose producer is killed in put() comes out once or not at all. A message that
// take() returned to a living consumer is returned to nobody else.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "arena/block_refs.hpp"
#include "member.hpp"
#include "ring/ring.hpp"

namespace {

using namespace cohort::arena;
using namespace std::chrono_literals;
using cohort::detail::BlockRef;
using cohort::detail::BlockRefs;
using cohort::ring::Message;
using cohort::ring::Ring;
using test::Clock;
using test::eventually;
using test::kSanitized;
using test::Member;
using test::Shared;
using test::soon;

constexpr auto kNow = Clock::time_point{};

class RingChaos : public test::Watched {
 protected:
  Space& space = Space::here();

  void SetUp() override {
    Watched::SetUp();
    held_before_ = space.heap().blocks_held();
  }
  void TearDown() override {
    space.bury_the_dead();
    auto held = [&] { return space.heap().blocks_held(); };
    EXPECT_TRUE(eventually([&] { return held() == held_before_; }, Clock::now() + 10s))
        << held() << " blocks are held, and " << held_before_ << " were before";
    Watched::TearDown();
  }

 private:
  std::size_t held_before_ = 0;
};

struct Note {
  std::uint64_t producer;
  std::uint64_t number;
};

// The note, then bytes that depend on it: how many, and which.
std::vector<std::byte> message_of(Note note) {
  std::size_t length = note.number % 40 == 0 ? 5000 : note.number % 120;
  std::vector<std::byte> bytes(sizeof note + length);
  std::memcpy(bytes.data(), &note, sizeof note);
  for (std::size_t i = 0; i < length; ++i)
    bytes[sizeof note + i] = static_cast<std::byte>(note.number * 13 + note.producer + i);
  return bytes;
}
std::optional<Note> whole_note(std::span<const std::byte> bytes) {
  Note note{};
  if (bytes.size() < sizeof note) return std::nullopt;
  std::memcpy(&note, bytes.data(), sizeof note);
  auto expected = message_of(note);
  if (!std::equal(bytes.begin(), bytes.end(), expected.begin(), expected.end()))
    return std::nullopt;
  return note;
}

constexpr std::size_t kProducers = 3;
constexpr std::size_t kConsumers = 3;
constexpr std::size_t kMost = 1 << 24;  // messages of one producer

struct Record {
  std::array<std::atomic<std::uint64_t>, kProducers> begun;  // the last number that put() was given
  std::array<std::array<std::atomic<std::uint8_t>, kMost>, kProducers> put;
  std::array<std::array<std::atomic<std::uint8_t>, kMost>, kProducers> came;
  std::atomic<std::uint64_t> taken;
};

int produce(const Ring& ring, Record& record, std::size_t producer) {
  for (;;) {
    std::uint64_t number = record.begun[producer].fetch_add(1) + 1;
    if (number >= kMost) return 0;
    auto message = message_of({producer, number});
    bool put = false;
    if (number % 25 == 0) {
      BlockRef handle = BlockRefs::create(64, BlockKind::plain);
      std::memcpy(handle.data(), &number, sizeof number);
      Offset place = handle.offset();
      put = ring.put(message, std::nullopt, std::span(&place, 1));
    } else {
      put = ring.put(message);
    }
    if (!put) return 1;
    record.put[producer][number].store(1);
  }
}

// Answers an exit code other than 0 when it saw damage.
int consume(const Ring& ring, Record& record) {
  std::array<std::uint64_t, kProducers> last{};
  for (;;) {
    auto message = ring.take();
    if (!message) return 1;
    auto note = whole_note(message->bytes());
    if (!note || note->producer >= kProducers || note->number >= kMost) return 2;
    if (record.came[note->producer][note->number].fetch_add(1) != 0) return 3;
    if (note->number <= last[note->producer]) return 4;
    last[note->producer] = note->number;
    if ((note->number % 25 == 0) != (message->references().size() == 1)) return 5;
    for (Offset place : message->references()) {
      BlockRef handle = BlockRef::adopt(place);
      std::uint64_t inside = 0;
      std::memcpy(&inside, handle.data(), sizeof inside);
      if (inside != note->number) return 6;
    }
    record.taken.fetch_add(1);
  }
}

TEST_F(RingChaos, HundredsOfKillsAtRandomInstantsLoseAndDoubleNothing) {
  std::mt19937_64 random(11);
  auto record = std::make_unique<Shared<Record>>();
  Record& seen = **record;
  std::uint64_t kills = 0, consumer_kills = 0;
  {
    Ring ring(16 * 1024);
    std::vector<std::unique_ptr<Member>> members;
    auto start = [&](std::size_t i) {
      return i < kProducers
                 ? std::make_unique<Member>([&ring, &seen, i] { return produce(ring, seen, i); })
                 : std::make_unique<Member>([&ring, &seen] { return consume(ring, seen); });
    };
    for (std::size_t i = 0; i < kProducers + kConsumers; ++i) members.push_back(start(i));
    auto until = Clock::now() + (kSanitized ? 8s : 7s);
    while (Clock::now() < until) {
      auto enough = seen.taken.load() + random() % 300;
      ASSERT_TRUE(eventually([&] { return seen.taken.load() > enough; })) << "a stall";
      std::size_t i = random() % members.size();
      members[i]->kill();
      ASSERT_EQ(members[i]->wait(), -SIGKILL) << "a member saw damage";
      // Half of them are found by those who wait for them.
      if (random() % 2 == 0) {
        ASSERT_TRUE(members[i]->bury());
      } else {
        enough = seen.taken.load() + 50;
        ASSERT_TRUE(eventually([&] { return seen.taken.load() > enough; }))
            << "a stall after a death that nobody announced";
      }
      members[i] = start(i);
      ++kills;
      if (i >= kProducers) ++consumer_kills;
    }
    for (std::size_t i = 0; i < kProducers; ++i) {
      members[i]->kill();
      EXPECT_EQ(members[i]->wait(), -SIGKILL);
      EXPECT_TRUE(members[i]->bury());
    }
    EXPECT_TRUE(eventually([&] { return ring.empty(); }));
    for (std::size_t i = kProducers; i < members.size(); ++i) {
      // What it took it may still be looking at.
      auto idle = [&] {
        auto& waits = space.members().slot(members[i]->id()).waits;
        return waits[0].load() != 0;
      };
      EXPECT_TRUE(eventually(idle));
      members[i]->kill();
      EXPECT_EQ(members[i]->wait(), -SIGKILL);
    }
  }
  std::uint64_t lost = 0, messages = 0;
  for (std::size_t producer = 0; producer < kProducers; ++producer) {
    for (std::size_t n = 1; n <= std::min<std::size_t>(seen.begun[producer], kMost - 1); ++n) {
      int came = seen.came[producer][n].load();
      ASSERT_LE(came, 1);
      if (seen.put[producer][n].load() == 1) {
        ++messages;
        if (came == 0) ++lost;
      }
    }
  }
  EXPECT_LE(lost, consumer_kills);
  EXPECT_GE(kills, kSanitized ? 20U : 100U);
  std::printf("%llu kills, %llu messages, %llu lost with their takers\n",
              static_cast<unsigned long long>(kills), static_cast<unsigned long long>(messages),
              static_cast<unsigned long long>(lost));
}

struct Step {
  const char* name;
  bool parcel;   // the message carries a reference
  bool arrives;  // whether the message is there after the kill
};
std::string step_name(const testing::TestParamInfo<Step>& step) {
  std::string name = step.param.name;
  for (char& one : name)
    if (one == '.') one = '_';
  return name + (step.param.parcel ? "_of_a_parcel" : "");
}

// Puts one message of the kind that the step is about; answers the block that it refers to.
void put_one(const Ring& ring, bool parcel, std::uint64_t number) {
  if (!parcel) {
    ring.put(message_of({0, number}), soon());
    return;
  }
  BlockRef handle = BlockRefs::create(64, BlockKind::plain);
  Offset place = handle.offset();
  ring.put(message_of({0, number}), soon(), std::span(&place, 1));
}

std::vector<std::uint64_t> take_all(const Ring& ring) {
  std::vector<std::uint64_t> numbers;
  while (auto message = ring.take(kNow)) {
    auto note = whole_note(message->bytes());
    numbers.push_back(note ? note->number : ~std::uint64_t{0});
  }
  return numbers;
}

class KilledProducer : public RingChaos, public testing::WithParamInterface<Step> {};

TEST_P(KilledProducer, LeavesItsMessageWholeOrAbsentAndTheRingUsable) {
  auto [step, parcel, arrives] = GetParam();
  for (bool announced : {true, false}) {
    Ring ring(4096);
    put_one(ring, parcel, 1);
    Member sleeper([&ring, bell = std::string(step).starts_with("doorbell")] {
      // For the steps of waking somebody; else the ring has nothing to wake for.
      if (!bell) return;
      auto& filled =
          Space::here().cell<cohort::ring::RingCell>(cell_of(ring.block().offset())).filled;
      filled.wait(Space::here(), std::nullopt, [&] { return ring.bytes_waiting() > 200; });
    });
    if (std::string(step).starts_with("doorbell")) {
      auto& waits = space.members().slot(sleeper.id()).waits;
      ASSERT_TRUE(eventually([&] { return waits[0].load() != 0; }));
    }
    Member victim([&, step = step, parcel = parcel] {
      test::die_at(step);
      put_one(ring, parcel, 2);
    });
    ASSERT_EQ(victim.wait(), -SIGKILL) << "the step was never reached";
    if (announced) {
      EXPECT_TRUE(victim.bury());
    }
    ASSERT_TRUE(ring.put(message_of({0, 3}), Clock::now() + 10s));
    std::vector<std::uint64_t> expected{1, 3};
    if (arrives) expected = {1, 2, 3};
    EXPECT_EQ(take_all(ring), expected);
    put_one(ring, parcel, 4);
    EXPECT_EQ(take_all(ring), std::vector<std::uint64_t>{4});
  }
}
INSTANTIATE_TEST_SUITE_P(
    Every, KilledProducer,
    testing::Values(Step{"ring.written", false, false}, Step{"ring.committed", false, true},
                    Step{"ring.parcel_made", true, false}, Step{"ring.handing_over", true, false},
                    Step{"ring.handed_over", true, false}, Step{"ring.written", true, false},
                    Step{"ring.committed", true, true}, Step{"doorbell.flag_cleared", false, true},
                    Step{"shared_block.unmarked", true, true}),
    step_name);

class KilledConsumer : public RingChaos, public testing::WithParamInterface<Step> {};

TEST_P(KilledConsumer, TakesOneMessageAlongAtMost) {
  auto [step, parcel, arrives] = GetParam();
  for (bool announced : {true, false}) {
    Ring ring(4096);
    bool sleeps = std::string(step) == "doorbell.woken";
    if (!sleeps) {
      put_one(ring, parcel, 1);
      put_one(ring, parcel, 2);
    }
    Member victim([&, step = step] {
      test::die_at(step);
      ring.take(soon());
      ::raise(SIGTERM);
    });
    if (sleeps) {
      auto& waits = space.members().slot(victim.id()).waits;
      ASSERT_TRUE(eventually([&] { return waits[0].load() != 0; }));
      put_one(ring, parcel, 1);
      put_one(ring, parcel, 2);
    }
    ASSERT_EQ(victim.wait(), -SIGKILL) << "the step was never reached";
    if (announced) {
      EXPECT_TRUE(victim.bury());
    }
    auto first = ring.take(Clock::now() + 10s);
    ASSERT_TRUE(first);
    auto note = whole_note(first->bytes());
    ASSERT_TRUE(note);
    EXPECT_EQ(note->number, arrives ? 1U : 2U);
    EXPECT_EQ(first->references().size(), parcel ? 1U : 0U);
    EXPECT_EQ(take_all(ring),
              arrives ? std::vector<std::uint64_t>{2} : std::vector<std::uint64_t>{});
    put_one(ring, parcel, 3);
    EXPECT_EQ(take_all(ring), std::vector<std::uint64_t>{3});
  }
}
INSTANTIATE_TEST_SUITE_P(
    Every, KilledConsumer,
    testing::Values(Step{"ring.copied", false, true}, Step{"ring.taken", false, false},
                    Step{"block_refs.claimed", true, true}, Step{"block_refs.adopted", true, true},
                    Step{"ring.copied", true, false}, Step{"ring.taken", true, false},
                    Step{"doorbell.woken", false, true}),
    step_name);

class KilledFinalizer : public RingChaos, public testing::WithParamInterface<const char*> {};

TEST_P(KilledFinalizer, OfARingWithParcelsInsideIsReplaced) {
  for (int times = 1; times <= 3; ++times) {
    Member victim([&] {
      Ring ring(4096);
      for (std::uint64_t i = 0; i < 5; ++i) put_one(ring, true, 25 * i);
      test::die_at(GetParam(), times);
      ring = Ring();
      ::raise(SIGKILL);
    });
    EXPECT_EQ(victim.wait(), -SIGKILL);
    EXPECT_TRUE(victim.bury());
  }
}
INSTANTIATE_TEST_SUITE_P(Every, KilledFinalizer,
                         testing::Values("shared_block.unmarked", "shared_block.finalizing",
                                         "shared_block.taken_to_drop",
                                         "shared_block.parcel_released", "heap.small_given_back",
                                         "shared_block.finalized"),
                         [](const testing::TestParamInfo<const char*>& step) {
                           std::string name = step.param;
                           for (char& one : name)
                             if (one == '.') one = '_';
                           return name;
                         });

TEST_F(RingChaos, AMenderKilledWhileItMendsIsMendedInTurn) {
  Ring ring(4096);
  Member first([&] {
    test::die_at("ring.handed_over");
    put_one(ring, true, 1);
  });
  ASSERT_EQ(first.wait(), -SIGKILL);
  EXPECT_TRUE(first.bury());
  Member second([&] {
    test::die_at("shared_block.taken_to_drop");
    put_one(ring, true, 2);
  });
  ASSERT_EQ(second.wait(), -SIGKILL);
  EXPECT_TRUE(second.bury());
  put_one(ring, true, 3);
  EXPECT_EQ(take_all(ring), std::vector<std::uint64_t>{3});
}

// Stopped, not killed: what is outside of the locks may stay so for ever.
class StoppedMember : public RingChaos, public testing::WithParamInterface<const char*> {};

TEST_P(StoppedMember, OutsideTheLocksFreezesNobody) {
  static const char* stop_at;
  stop_at = GetParam();
  Ring ring(4096);
  Shared<std::atomic<int>> stopped;
  Member victim([&] {
    static std::atomic<int>* flag;
    flag = &*stopped;
    cohort::os::step_hook = [](const char* name) {
      if (std::strcmp(name, stop_at) != 0) return;
      flag->store(1);
      ::raise(SIGSTOP);
    };
    put_one(ring, true, 1);
    for (;;) ring.take();
  });
  // Where it stops when it is woken, a message must come while it sleeps.
  ASSERT_TRUE(eventually([&] {
    bool sleeps = space.members().slot(victim.id()).waits[0].load() != 0;
    if (sleeps && ring.empty()) ring.put(message_of({0, 2}), kNow);
    return stopped->load() == 1;
  }));
  take_all(ring);
  for (std::uint64_t i = 10; i < 1000; ++i) {
    ASSERT_TRUE(ring.put(message_of({0, i}), Clock::now() + 10s));
    auto message = ring.take(Clock::now() + 10s);
    ASSERT_TRUE(message);
    ASSERT_EQ(whole_note(message->bytes())->number, i);
  }
  EXPECT_TRUE(victim.running());
}
INSTANTIATE_TEST_SUITE_P(Every, StoppedMember,
                         testing::Values("ring.parcel_made", "doorbell.woken"),
                         [](const testing::TestParamInfo<const char*>& step) {
                           return std::string(step.param).starts_with("ring") ? "ring_parcel_made"
                                                                              : "doorbell_woken";
                         });

TEST_F(RingChaos, ASleeperThatIsStoppedWhenItIsWokenDoesNotKeepTheMessageFromOthers) {
  Ring ring(4096);
  Member stopped([&] {
    cohort::os::step_hook = [](const char* name) {
      if (std::strcmp(name, "doorbell.woken") == 0) ::raise(SIGSTOP);
    };
    ring.take(soon());
  });
  auto asleep = [&](const Member& member) {
    auto& waits = space.members().slot(member.id()).waits;
    return eventually([&] { return waits[0].load() != 0; });
  };
  ASSERT_TRUE(asleep(stopped));
  Member other([&] { return ring.take(soon()) ? 0 : 1; });
  ASSERT_TRUE(asleep(other));
  ASSERT_TRUE(ring.put(message_of({0, 1})));
  EXPECT_EQ(other.wait(Clock::now() + 10s), 0);
}

}  // namespace
