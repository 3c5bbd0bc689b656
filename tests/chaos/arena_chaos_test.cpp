// Members that allocate, pass on and drop, killed at random instants and at every step that
// matters.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "arena/block_refs.hpp"
#include "arena/shared_block.hpp"
#include "arena/space.hpp"
#include "member.hpp"
#include "ring/ring.hpp"

namespace {

using namespace cohort::arena;
using namespace std::chrono_literals;
using cohort::detail::BlockRef;
using cohort::detail::BlockRefs;
using cohort::ring::Ring;
using test::Clock;
using test::eventually;
using test::kSanitized;
using test::Member;
using test::Shared;
using test::soon;

class ArenaChaos : public test::Watched {
 protected:
  Space& space = Space::here();
  Heap& heap = space.heap();

  void SetUp() override {
    Watched::SetUp();
    held_before_ = heap.blocks_held();
  }
  void TearDown() override {
    expect_all_returned();
    Watched::TearDown();
  }
  void expect_all_returned() {
    space.bury_the_dead();
    EXPECT_TRUE(eventually([&] { return heap.blocks_held() == held_before_; }, Clock::now() + 10s))
        << heap.blocks_held() << " blocks are held, and " << held_before_ << " were before";
    heap.for_each_block([&](Offset block, Owner owner) {
      bool named = owner.is(Hold::owned) || owner.is(Hold::finalizing);
      EXPECT_FALSE(named && space.members().is_dead(owner.id())) << "block " << block;
    });
  }

 private:
  std::size_t held_before_ = 0;
};

// Writes a mark into every page of a block, and later asks whether it is there: so that a block
// given to two owners, or pages taken from under one, show.
void mark(Space& space, Offset block, std::size_t bytes, std::uint64_t tag) {
  for (std::size_t at = 0; at + sizeof tag <= bytes; at += 4096)
    std::memcpy(space.at(block + at), &tag, sizeof tag);
}
bool marked(Space& space, Offset block, std::size_t bytes, std::uint64_t tag) {
  for (std::size_t at = 0; at + sizeof tag <= bytes; at += 4096)
    if (std::memcmp(space.at(block + at), &tag, sizeof tag) != 0) return false;
  return true;
}

std::size_t random_size(std::mt19937_64& random) {
  switch (random() % 12) {
    case 0:
      return 10'000 + random() % 2'000'000;
    case 1:
      return random() % 8192;
    default:
      return 16 + random() % 300;
  }
}

// What a member does until it is killed. Answers an exit code other than 0 when it saw damage.
int live(const Ring& ring, std::uint64_t seed, std::atomic<std::uint64_t>& steps) {
  Space& space = Space::here();
  std::mt19937_64 random(seed);
  struct Mine {
    Offset block;
    std::size_t bytes;
    std::uint64_t tag;
  };
  std::vector<Mine> mine;
  std::vector<BlockRef> handles;
  for (;;) {
    steps.fetch_add(1, std::memory_order_relaxed);
    switch (random() % 6) {
      case 0: {
        std::size_t bytes = random_size(random);
        Offset block = space.allocate(bytes);
        mine.push_back({block, bytes, random()});
        mark(space, block, bytes, mine.back().tag);
        break;
      }
      case 1:
        if (mine.size() > 20 || (!mine.empty() && random() % 2)) {
          std::swap(mine[random() % mine.size()], mine.back());
          if (!marked(space, mine.back().block, mine.back().bytes, mine.back().tag)) return 1;
          space.release(mine.back().block);
          mine.pop_back();
        }
        break;
      case 2: {
        handles.push_back(BlockRefs::create(64 + random() % 20'000, BlockKind::plain));
        Offset place = handles.back().offset();
        std::memcpy(handles.back().data(), &place, sizeof place);
        break;
      }
      case 3:
        while (handles.size() > 10)
          handles.erase(handles.begin() + static_cast<long>(random() % handles.size()));
        break;
      case 4: {
        std::vector<Offset> references;
        for (std::size_t i = 0; i < handles.size() && i < 3; ++i)
          references.push_back(handles[random() % handles.size()].offset());
        std::vector<std::byte> payload(random() % 3000);
        ring.put(payload, Clock::time_point{}, references);
        break;
      }
      default:
        if (auto message = ring.take(Clock::now() + 100us)) {
          for (Offset place : message->references()) {
            BlockRef handle = BlockRef::adopt(place);
            Offset inside = 0;
            std::memcpy(&inside, handle.data(), sizeof inside);
            if (inside != place) return 2;
            if (random() % 2) handles.push_back(std::move(handle));
          }
        }
    }
  }
}

TEST_F(ArenaChaos, ThousandsOfKillsAtRandomInstantsLeaveNothingBehindAndDamageNothing) {
  std::mt19937_64 random(5);
  Shared<std::atomic<std::uint64_t>> steps;
  int kills = 0;
  {
    Ring ring(64 * 1024);
    std::vector<std::unique_ptr<Member>> members;
    auto fresh = [&] {
      return std::make_unique<Member>([&, seed = random()] { return live(ring, seed, *steps); });
    };
    for (int i = 0; i < 4; ++i) members.push_back(fresh());
    auto until = Clock::now() + (kSanitized ? 10s : 8s);
    while (kills < 4000 && Clock::now() < until) {
      auto before = steps->load();
      auto enough = before + random() % 400;
      ASSERT_TRUE(eventually([&] { return steps->load() >= enough; })) << "a stall after " << kills;
      auto& victim = members[random() % members.size()];
      victim->kill();
      ASSERT_EQ(victim->wait(), -SIGKILL) << "a member saw damage";
      if (random() % 4 != 0) {
        ASSERT_TRUE(victim->bury());
      }  // else by its destructor, after the next one has started
      victim = fresh();
      ++kills;
    }
    for (auto& member : members) {
      member->kill();
      EXPECT_EQ(member->wait(), -SIGKILL);
    }
  }
  RecordProperty("kills", kills);
  std::printf("%d kills, %llu steps\n", kills, static_cast<unsigned long long>(steps->load()));
  EXPECT_GE(kills, kSanitized ? 30 : 200);
}

// "heap.run_claimed" as the name of a test.
std::string test_name(const testing::TestParamInfo<const char*>& step) {
  std::string name = step.param;
  for (char& one : name)
    if (one == '.') one = '_';
  return name;
}

const char* const kHeapSteps[] = {"heap.run_claimed",
                                  "heap.head_stored",
                                  "heap.body_stored",
                                  "heap.small_taken",
                                  "heap.slab_claimed",
                                  "heap.slab_made",
                                  "heap.slab_listed",
                                  "heap.small_given_back",
                                  "heap.releasing",
                                  "heap.punched",
                                  "heap.body_given_back",
                                  "heap.bodies_given_back",
                                  "heap.head_given_back",
                                  "shared_block.filled",
                                  "shared_block.made",
                                  "shared_block.unmarked",
                                  "shared_block.finalizing",
                                  "shared_block.finalized",
                                  "shared_block.parcel_released"};

class HeapSteps : public ArenaChaos, public testing::WithParamInterface<const char*> {};

// Comes by every step of the allocator and of shared blocks.
void touch_everything(std::uint64_t seed, bool new_slabs) {
  Space& space = Space::here();
  std::mt19937_64 random(seed);
  std::vector<Offset> small;
  auto used = space.header().heap.ever_used.load();
  for (int i = 0; i < 40 || (new_slabs && space.header().heap.ever_used.load() < used + 3); ++i)
    small.push_back(space.allocate(8192));
  for (int i = 0; i < 5; ++i) {
    Offset large = space.allocate(300'000);
    mark(space, large, 300'000, seed);
    Offset huge = space.allocate(std::size_t{100} << 20);  // more than is kept when given back
    mark(space, huge, 1'000'000, seed);
    BlockRef handle = BlockRefs::create(100, BlockKind::plain);
    Offset place = handle.offset();
    Offset parcel = make_parcel(space, std::span(&place, 1), 10);
    handle = BlockRef();
    handle = BlockRefs::create(20'000, BlockKind::ring);
    drop_parcel(space, parcel);
    space.release(huge);
    space.release(large);
    for (int n = 0; n < 8; ++n) {
      space.release(small.back());
      small.pop_back();
    }
  }
}

TEST_P(HeapSteps, AKillThereLosesNothingAndDamagesNobody) {
  constexpr std::size_t kBytes = 1'000'000;
  Offset neighbour = space.allocate(kBytes);
  mark(space, neighbour, kBytes, 77);
  bool new_slabs = std::string(GetParam()).starts_with("heap.slab");
  std::uint32_t used = 0;
  for (int times = 1; times <= 6; ++times) {
    Member victim([&] {
      test::die_at(GetParam(), times);
      touch_everything(static_cast<std::uint64_t>(times), new_slabs);
    });
    auto code = victim.wait();
    EXPECT_TRUE(times > 1 || code == -SIGKILL) << "the step was never reached";
    EXPECT_TRUE(code == -SIGKILL || code == 0);
    // Before its burial others take what it gave back already.
    Offset early = space.allocate(kBytes);
    mark(space, early, kBytes, 78);
    EXPECT_TRUE(victim.bury());
    EXPECT_TRUE(marked(space, early, kBytes, 78));
    space.release(early);
    EXPECT_TRUE(marked(space, neighbour, kBytes, 77));
    auto now = space.header().heap.ever_used.load();
    EXPECT_TRUE(times <= 3 || new_slabs || now <= used + 1) << "chunks are lost at each kill";
    used = now;
  }
  space.release(neighbour);
}
INSTANTIATE_TEST_SUITE_P(Every, HeapSteps, testing::ValuesIn(kHeapSteps), test_name);

TEST_F(ArenaChaos, PagesThatADeadReleaserGaveBackAreNotTakenFromTheirNewOwner) {
  // It dies with the first chunk of a huge extent given back, and the rest still to do.
  constexpr std::size_t kHuge = std::size_t{100} << 20;
  Member victim([&] {
    test::die_at("heap.body_given_back");
    Offset huge = Space::here().allocate(kHuge);
    Space::here().release(huge);
  });
  ASSERT_EQ(victim.wait(), -SIGKILL);
  std::vector<Offset> blocks;
  for (int i = 0; i < 64; ++i) {  // fill every hole, that one among them
    blocks.push_back(space.allocate(kChunkBytes));
    mark(space, blocks.back(), kChunkBytes, 5);
  }
  EXPECT_TRUE(victim.bury());
  for (Offset block : blocks) {
    EXPECT_TRUE(marked(space, block, kChunkBytes, 5));
    space.release(block);
  }
}

class ReaperSteps : public ArenaChaos, public testing::WithParamInterface<const char*> {};

TEST_P(ReaperSteps, AReaperKilledThereIsReplaced) {
  for (int times = 1; times <= 5; ++times) {
    Shared<std::atomic<int>> ready;
    Member holder([&] {
      Space& mine = Space::here();
      Ring ring(4096);
      for (int i = 0; i < 10; ++i) {
        mine.allocate(100);
        mine.allocate(std::size_t{70} << 20);
        BlockRef handle = BlockRefs::create(64, BlockKind::plain);
        Offset place = handle.offset();
        ring.put({}, soon(), std::span(&place, 1));
        make_parcel(mine, std::span(&place, 1), 10);
      }
      mine.members().enlist(mine.self(), "unborn", 0);
      ::raise(SIGKILL);
    });
    ASSERT_EQ(holder.wait(), -SIGKILL);
    bool janitor = space.janitor_alive();
    {
      Member reaper([&] {
        test::die_at(GetParam(), times);
        Space::here().bury(holder.id());
        Space::here().reclaim(holder.id());
      });
      auto code = reaper.wait();
      EXPECT_TRUE(times > 1 || janitor || code == -SIGKILL) << "the step was never reached";
      EXPECT_TRUE(code == -SIGKILL || code == 0);
    }
    EXPECT_TRUE(holder.bury());
    expect_all_returned();
    for (std::uint32_t index = 0; index < kMaxMembers; ++index) {
      MemberId id = space.members().at(index);
      EXPECT_TRUE(!id || space.members().parent(id) != holder.id());
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Every, ReaperSteps,
                         testing::Values("space.reclaiming", "shared_block.unmarked",
                                         "shared_block.finalizing", "shared_block.taken_to_drop",
                                         "shared_block.parcel_released", "shared_block.finalized",
                                         "heap.small_given_back", "heap.releasing", "heap.punched",
                                         "heap.body_given_back", "heap.bodies_given_back",
                                         "heap.head_given_back", "space.reclaimed",
                                         "members.farewell"),
                         test_name);

}  // namespace
