#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <unordered_set>
#include <vector>

#include "arena/block_refs.hpp"
#include "arena/shared_block.hpp"
#include "arena/space.hpp"
#include "cohort/error.hpp"
#include "member.hpp"
#include "os/futex.hpp"

namespace {

using namespace cohort::arena;
using namespace std::chrono_literals;
using cohort::detail::BlockRef;
using cohort::detail::BlockRefs;
using test::eventually;
using test::kSanitized;
using test::Member;
using test::Shared;
using test::soon;

class ArenaTest : public test::Watched {
 protected:
  Space& space = Space::here();
  Heap& heap = space.heap();

  void SetUp() override {
    Watched::SetUp();
    held_before_ = heap.blocks_held();
  }
  void TearDown() override {
    EXPECT_TRUE(
        eventually([&] { return heap.blocks_held() == held_before_; }, test::Clock::now() + 5s))
        << heap.blocks_held() << " blocks are held, and " << held_before_ << " were before";
    Watched::TearDown();
  }
  std::size_t bytes_in_use() const {
    struct stat status {};
    ::fstat(space.memory_fd(), &status);
    return static_cast<std::size_t>(status.st_blocks) * 512;
  }
  Owner mine() const { return Owner::member(space.self()); }

 private:
  std::size_t held_before_ = 0;
};

class AllocationTest : public ArenaTest {};
class ExtentTest : public ArenaTest {};
class SharedBlockTest : public ArenaTest {};
class HandleTest : public ArenaTest {};
class MemberTest : public ArenaTest {};
class HostForkTest : public ArenaTest {};

TEST_F(AllocationTest, EveryBlockHasRoomForWhatWasAskedAndIsAligned) {
  std::vector<Offset> blocks;
  for (std::size_t bytes : {0, 1, 63, 64, 65, 127, 128, 129, 1000, 1024, 4096, 8191, 8192, 8193,
                            9000, 65535, 65536, 65537, 1 << 20}) {
    Offset block = space.allocate(bytes);
    EXPECT_EQ(block % 64, 0U);
    EXPECT_GE(heap.capacity(block), bytes);
    EXPECT_LE(heap.capacity(block), std::max<std::size_t>(2 * bytes, bytes <= 64 ? 64 : 65536));
    EXPECT_EQ(heap.owner(block), mine());
    std::memset(space.at(block), 0xab, bytes);
    blocks.push_back(block);
  }
  for (Offset block : blocks) space.release(block);
}

TEST_F(AllocationTest, AHundredThousandBlocksAreDistinctAndKeepTheirContents) {
  std::mt19937 random(1);
  std::vector<std::pair<Offset, std::size_t>> blocks;
  for (std::uint32_t i = 0; i < 100'000; ++i) {
    std::size_t bytes = 8 + random() % 500;
    Offset block = space.allocate(bytes);
    std::memcpy(space.at(block), &i, sizeof i);
    blocks.emplace_back(block, bytes);
  }
  std::uint32_t expected = 0;
  std::vector<std::pair<Offset, Offset>> ranges;
  for (auto [block, bytes] : blocks) {
    std::uint32_t seen = 0;
    std::memcpy(&seen, space.at(block), sizeof seen);
    ASSERT_EQ(seen, expected++);
    ranges.emplace_back(block, block + heap.capacity(block));
  }
  std::sort(ranges.begin(), ranges.end());
  for (std::size_t i = 1; i < ranges.size(); ++i) ASSERT_GE(ranges[i].first, ranges[i - 1].second);
  for (auto [block, bytes] : blocks) space.release(block);
}

TEST_F(AllocationTest, BlocksGivenBackAreUsedAgainForEver) {
  auto cycle = [&] {
    std::vector<Offset> blocks;
    for (int i = 0; i < 50'000; ++i) blocks.push_back(space.allocate(200));
    for (Offset block : blocks) space.release(block);
  };
  cycle();
  cycle();
  auto used = space.header().heap.ever_used.load();
  for (int i = 0; i < 20; ++i) cycle();
  EXPECT_EQ(space.header().heap.ever_used.load(), used);
}

TEST_F(AllocationTest, HolesAmongLivingBlocksAreFilled) {
  std::vector<Offset> blocks;
  for (int i = 0; i < 40'000; ++i) blocks.push_back(space.allocate(64));
  auto used = space.header().heap.ever_used.load();
  for (int round = 0; round < 10; ++round) {
    for (std::size_t i = 0; i < blocks.size(); i += 2) space.release(blocks[i]);
    for (std::size_t i = 0; i < blocks.size(); i += 2) blocks[i] = space.allocate(64);
  }
  EXPECT_LE(space.header().heap.ever_used.load(), used + 1);
  EXPECT_EQ(std::set<Offset>(blocks.begin(), blocks.end()).size(), blocks.size());
  for (Offset block : blocks) space.release(block);
}

TEST_F(AllocationTest, OnlyTheOwnerGivesABlockBackAndOnlyOnce) {
  for (std::size_t bytes : {100, 100'000}) {
    Offset block = space.allocate(bytes);
    EXPECT_FALSE(heap.release(block, Owner::member(MemberId::of(77, 3))));
    EXPECT_TRUE(heap.release(block, mine()));
    EXPECT_FALSE(heap.release(block, mine()));
    EXPECT_EQ(heap.owner(block), Owner{});
  }
}

TEST_F(AllocationTest, OwnersChangeFromTheOneThatWasExpected) {
  Owner other = Owner::member(MemberId::of(77, 3));
  for (std::size_t bytes : {100, 200'000}) {
    Offset block = space.allocate(bytes);
    std::size_t capacity = heap.capacity(block);
    EXPECT_FALSE(heap.change_owner(block, other, mine()));
    EXPECT_TRUE(heap.change_owner(block, mine(), Owner::transit(block)));
    EXPECT_EQ(heap.owner(block).ring(), block);
    EXPECT_EQ(heap.capacity(block), capacity);
    EXPECT_FALSE(heap.release(block, mine()));
    EXPECT_TRUE(heap.change_owner(block, Owner::transit(block), mine()));
    EXPECT_TRUE(heap.release(block, mine()));
  }
}

TEST_F(AllocationTest, OnlyPlacesWhereABlockMayStartArePlausible) {
  Offset small = space.allocate(256);
  Offset large = space.allocate(300'000);
  EXPECT_TRUE(heap.plausible(small));
  EXPECT_TRUE(heap.plausible(large));
  for (Offset wrong : {Offset{0}, Offset{64}, small + 1, small + 64, large + 64,
                       large + kChunkBytes, small / kChunkBytes * kChunkBytes,
                       Offset{space.header().bytes}, Offset{space.header().bytes} + 64, ~Offset{0}})
    EXPECT_FALSE(heap.plausible(wrong)) << wrong;
  space.release(large);
  space.release(small);
  EXPECT_FALSE(heap.plausible(large));
  EXPECT_EQ(heap.owner(large), Owner{});
}

TEST_F(AllocationTest, AStaleOffsetIntoWhatBecameASlabHasNoOwner) {
  // The lowest free chunk becomes an extent, then a slab: the extent's offset is inside its header.
  Offset extent = space.allocate(20'000);
  space.release(extent);
  std::vector<Offset> blocks;
  bool became_slab = false;
  for (int i = 0; i < 100'000 && !became_slab; ++i) {
    blocks.push_back(space.allocate(8192));
    became_slab = blocks.back() / kChunkBytes == extent / kChunkBytes;
  }
  ASSERT_TRUE(became_slab);
  EXPECT_FALSE(heap.plausible(extent));
  EXPECT_EQ(heap.owner(extent), Owner{});
  EXPECT_FALSE(heap.release(extent, mine()));
  EXPECT_FALSE(heap.change_owner(extent, Owner{}, mine()));
  for (Offset block : blocks) space.release(block);
}

TEST_F(AllocationTest, AFullArenaSaysHowToGoOn) {
  try {
    space.allocate(std::size_t{1} << 40);
    FAIL() << "allocated a TiB";
  } catch (const cohort::Error& error) {
    std::string text = error.what();
    EXPECT_NE(text.find("the arena is exhausted"), std::string::npos) << text;
    EXPECT_NE(text.find("arena_bytes"), std::string::npos) << text;
    EXPECT_NE(text.find("MiB"), std::string::npos) << text;
  }
  EXPECT_THROW(space.allocate(heap.largest_possible() + 1), cohort::Error);
  space.release(space.allocate(100));
}

void allocate_for_a_while(Space& space, unsigned seed, int rounds) {
  std::mt19937 random(seed);
  std::vector<std::pair<Offset, std::uint32_t>> blocks;
  auto check_and_release = [&](std::size_t i) {
    auto [block, tag] = blocks[i];
    std::uint32_t seen = 0;
    std::memcpy(&seen, space.at(block), sizeof seen);
    if (seen != tag) throw std::runtime_error("a block was given to two owners");
    space.release(block);
    blocks[i] = blocks.back();
    blocks.pop_back();
  };
  for (int i = 0; i < rounds; ++i) {
    if (blocks.size() > 300 || (!blocks.empty() && random() % 2))
      check_and_release(random() % blocks.size());
    std::size_t bytes = random() % 20 == 0 ? 10'000 + random() % 300'000 : 16 + random() % 2000;
    Offset block = space.allocate(bytes);
    auto tag = static_cast<std::uint32_t>(random());
    std::memcpy(space.at(block), &tag, sizeof tag);
    blocks.emplace_back(block, tag);
  }
  while (!blocks.empty()) check_and_release(0);
}

TEST_F(AllocationTest, ThreadsAllocateBesideEachOther) {
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 8; ++i)
    threads.emplace_back([&, i] { allocate_for_a_while(space, i, kSanitized ? 5'000 : 20'000); });
  for (auto& thread : threads) thread.join();
}

TEST_F(AllocationTest, ProcessesAllocateBesideEachOther) {
  std::vector<Member> members;
  for (unsigned i = 0; i < 4; ++i)
    members.emplace_back(
        [&, i] { allocate_for_a_while(Space::here(), 100 + i, kSanitized ? 5'000 : 20'000); });
  allocate_for_a_while(space, 99, 5'000);
  for (auto& member : members) EXPECT_EQ(member.wait(), 0);
}

TEST_F(AllocationTest, WhatADeadMemberHeldIsGivenBack) {
  auto before = heap.blocks_held();
  Member member([] {
    for (std::size_t bytes : {10, 1000, 8000, 100'000, 5'000'000})
      for (int i = 0; i < 50; ++i) Space::here().allocate(bytes);
  });
  ASSERT_EQ(member.wait(), 0);
  EXPECT_TRUE(member.bury());
  EXPECT_EQ(heap.blocks_held(), before);
}

TEST_F(ExtentTest, AreCutAndJoinedInTheSamePlace) {
  Offset whole = space.allocate(64 * kChunkBytes);
  Offset behind = space.allocate(2 * kChunkBytes);  // keeps the space behind from joining in
  space.release(whole);
  std::vector<Offset> parts;
  for (int i = 0; i < 16; ++i) parts.push_back(space.allocate(4 * kChunkBytes));
  EXPECT_LE(*std::max_element(parts.begin(), parts.end()), whole + 60 * kChunkBytes);
  for (Offset part : parts) space.release(part);
  EXPECT_EQ(space.allocate(64 * kChunkBytes), whole);
  space.release(whole);
  space.release(behind);
}

TEST_F(ExtentTest, OfGibibytesCostNothingUntilTouched) {
  auto before = bytes_in_use();
  std::vector<Offset> blocks;
  for (int i = 0; i < 3; ++i) blocks.push_back(space.allocate(std::size_t{1} << 30));
  for (Offset block : blocks) *space.at(block + (std::size_t{1} << 29)) = std::byte{1};
  EXPECT_LE(bytes_in_use(), before + (1 << 20));
  for (Offset block : blocks) space.release(block);
}

TEST_F(ExtentTest, OfAGibibyteGoBackToTheSystemWhenReleased) {
  heap.trim(space.self());
  auto before = bytes_in_use();
  constexpr std::size_t kBytes = std::size_t{1} << 30;
  Offset block = space.allocate(kBytes);
  for (std::size_t at = 0; at < kBytes; at += 4096) *space.at(block + at) = std::byte{1};
  EXPECT_GE(bytes_in_use(), before + kBytes);
  space.release(block);
  EXPECT_LE(bytes_in_use(), before + (1 << 20));
}

TEST_F(ExtentTest, KeepFewPagesWhenReleasedUntilTheArenaIsTrimmed) {
  heap.trim(space.self());
  auto before = bytes_in_use();
  std::vector<Offset> blocks;
  for (int i = 0; i < 200; ++i) {
    blocks.push_back(space.allocate(1 << 20));
    std::memset(space.at(blocks.back()), 1, 1 << 20);
  }
  for (Offset block : blocks) space.release(block);
  EXPECT_LE(bytes_in_use(), before + (72 << 20));
  heap.trim(space.self());
  EXPECT_LE(bytes_in_use(), before + (1 << 20));
  EXPECT_EQ(space.header().heap.dirty_chunks.load(), 0);
}

TEST_F(ExtentTest, CountsOfKeptPagesStayTrueUnderContention) {
  heap.trim(space.self());
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int i = 0; i < 3'000; ++i) space.release(space.allocate(10'000 + random() % 1'000'000));
    });
  }
  for (auto& thread : threads) thread.join();
  heap.trim(space.self());
  EXPECT_EQ(space.header().heap.dirty_chunks.load(), 0);
}

// A plain shared block whose finalizer counts its runs. The kind `scheduler` is free in this test.
struct Finalized {
  std::atomic<int> runs;
  std::atomic<int> may_end;
};
Finalized* finalized = nullptr;

void set_counting_finalizer() {
  set_finalizer(BlockKind::scheduler, [](Space&, Offset) {
    finalized->runs.fetch_add(1);
    while (finalized->may_end.load() == 0) ::sched_yield();
  });
}

TEST_F(SharedBlockTest, AreZeroAndLiveWhileSomeMemberHoldsThem) {
  Offset junk = space.allocate(5000);
  std::memset(space.at(junk), 0xff, 5000);
  space.release(junk);
  Offset block = make_shared_block(space, 4500, BlockKind::plain);
  for (std::size_t i = 0; i < 4500; ++i) ASSERT_EQ(*space.at(cell_of(block) + i), std::byte{0});
  EXPECT_EQ(cell_of(block) % 64, 0U);
  EXPECT_TRUE(heap.owner(block).is(Hold::shared));
  EXPECT_TRUE(held_by(space, block, space.self()));

  MemberId others[] = {MemberId::of(63, 1), MemberId::of(64, 1), MemberId::of(1023, 1)};
  for (MemberId other : others) hold(space, block, other);
  let_go(space, block, space.self());
  EXPECT_FALSE(held_by(space, block, space.self()));
  for (MemberId other : others) {
    EXPECT_TRUE(heap.owner(block).is(Hold::shared));
    EXPECT_TRUE(held_by(space, block, other));
    let_go(space, block, other);
  }
  EXPECT_EQ(heap.owner(block), Owner{});
}

TEST_F(SharedBlockTest, StayWhileAParcelInTransitRefersToThem) {
  Offset ring = make_shared_block(space, 64, BlockKind::plain);
  Offset block = make_shared_block(space, 64, BlockKind::plain);
  Offset parcel = make_parcel(space, std::span(&block, 1), 1000);
  give_to_ring(space, parcel, ring, 17);
  let_go(space, block, space.self());
  EXPECT_TRUE(heap.owner(block).is(Hold::shared));

  EXPECT_FALSE(take_from_ring(space, parcel, ring, 16));
  EXPECT_FALSE(take_from_ring(space, parcel, block, 17));
  auto references = BlockRefs::take_parcel(space, parcel, ring, 17);
  ASSERT_TRUE(references);
  ASSERT_EQ(references->size(), 1U);
  EXPECT_TRUE(held_by(space, block, space.self()));
  EXPECT_FALSE(BlockRefs::take_parcel(space, parcel, ring, 17));
  EXPECT_EQ(payload_of(space, parcel).size(), 1000U);
  drop_parcel(space, parcel);
  EXPECT_TRUE(heap.owner(block).is(Hold::shared));
  references->clear();
  EXPECT_EQ(heap.owner(block), Owner{});
  let_go(space, ring, space.self());
}

TEST_F(SharedBlockTest, GoWithTheLastParcelThatIsDropped) {
  Offset ring = make_shared_block(space, 64, BlockKind::plain);
  Offset block = make_shared_block(space, 64, BlockKind::plain);
  std::vector<Offset> parcels;
  for (std::uint64_t stamp = 0; stamp < 5; ++stamp) {
    parcels.push_back(make_parcel(space, std::span(&block, 1), 0));
    give_to_ring(space, parcels.back(), ring, stamp);
  }
  let_go(space, block, space.self());
  for (std::uint64_t stamp : {4, 0, 2, 1, 3}) {
    EXPECT_TRUE(heap.owner(block).is(Hold::shared));
    drop_from_ring(space, parcels[stamp], ring, stamp);
  }
  EXPECT_EQ(heap.owner(block), Owner{});
  let_go(space, ring, space.self());
}

TEST_F(SharedBlockTest, HeldOnlyByParcelsOfADeadMemberGoWithIt) {
  Offset block = make_shared_block(space, 64, BlockKind::plain);
  Shared<std::atomic<int>> made;
  Member member([&] {
    make_parcel(Space::here(), std::span(&block, 1), 100'000);
    hold(Space::here(), block, Space::here().self());
    *made = 1;
  });
  ASSERT_EQ(member.wait(), 0);
  let_go(space, block, space.self());
  EXPECT_TRUE(heap.owner(block).is(Hold::shared));
  EXPECT_TRUE(member.bury());
  EXPECT_EQ(heap.owner(block), Owner{});
}

TEST_F(SharedBlockTest, AreFinalizedOnceWhenManyLetGoAtTheSameTime) {
  Shared<Finalized> state;
  finalized = &*state;
  finalized->may_end = 1;
  set_counting_finalizer();
  constexpr int kRounds = 200;
  for (int round = 0; round < kRounds; ++round) {
    Offset block = make_shared_block(space, 64, BlockKind::scheduler);
    std::vector<std::thread> threads;
    for (std::uint32_t i = 0; i < 4; ++i) {
      hold(space, block, MemberId::of(900 + i, 1));
      threads.emplace_back([&, i] { let_go(space, block, MemberId::of(900 + i, 1)); });
    }
    let_go(space, block, space.self());
    for (auto& thread : threads) thread.join();
    ASSERT_EQ(finalized->runs.load(), round + 1);
  }
  set_finalizer(BlockKind::scheduler, nullptr);
}

TEST_F(SharedBlockTest, AreFinalizedAgainWhenTheFinalizerWasKilled) {
  Shared<Finalized> state;
  finalized = &*state;
  set_counting_finalizer();
  Offset block = make_shared_block(space, 64, BlockKind::scheduler);
  Member member([&] {
    hold(Space::here(), block, Space::here().self());
    finalized->runs = -1;
    while (finalized->runs.load() == -1) ::sched_yield();
    let_go(Space::here(), block, Space::here().self());
  });
  ASSERT_TRUE(eventually([&] { return finalized->runs.load() == -1; }));
  let_go(space, block, space.self());
  finalized->runs = 0;
  ASSERT_TRUE(eventually([&] { return finalized->runs.load() == 1; }));
  EXPECT_TRUE(heap.owner(block).is(Hold::finalizing));
  member.kill();
  finalized->may_end = 1;
  EXPECT_TRUE(member.bury());
  // A janitor, which does it where there is one, was forked before this finalizer was set.
  if (!space.janitor_alive()) {
    EXPECT_EQ(finalized->runs.load(), 2);
  }
  EXPECT_EQ(heap.owner(block), Owner{});
  set_finalizer(BlockKind::scheduler, nullptr);
}

TEST_F(SharedBlockTest, PassedOnWhileTheLastHolderIsAskedForAreNotLost) {
  // Two members pass a hold back and forth; a third asks all the time whether anybody holds it.
  Offset block = make_shared_block(space, 64, BlockKind::plain);
  MemberId low = MemberId::of(700, 1), high = MemberId::of(1000, 1);
  hold(space, block, high);
  let_go(space, block, space.self());
  std::atomic<bool> done{false};
  std::thread asking([&] {
    while (!done) release_if_unused(space, block);
  });
  for (int i = 0; i < 100'000; ++i) {
    hold(space, block, low);
    unmark(space, block, high);
    hold(space, block, high);
    unmark(space, block, low);
    ASSERT_TRUE(heap.owner(block).is(Hold::shared));
  }
  done = true;
  asking.join();
  let_go(space, block, high);
  EXPECT_EQ(heap.owner(block), Owner{});
}

TEST_F(HandleTest, CopiesShareOneHoldUntilTheLastGoes) {
  BlockRef one = BlockRefs::create(100, BlockKind::plain);
  Offset block = one.offset();
  {
    BlockRef two = one;
    BlockRef three = BlockRef::adopt(block);
    EXPECT_EQ(two.data(), one.data());
    EXPECT_EQ(three.data(), space.at(cell_of(block)));
    one = BlockRef();
    EXPECT_FALSE(one);
    BlockRef moved = std::move(two);
    EXPECT_FALSE(two);
    two = three;
    three = std::move(moved);
    BlockRef& same = two;
    two = same;
    EXPECT_EQ(two.offset(), block);
    EXPECT_TRUE(heap.owner(block).is(Hold::shared));
  }
  EXPECT_EQ(heap.owner(block), Owner{});
}

TEST_F(HandleTest, EmptyOnesSayThatTheyAreEmpty) {
  BlockRef one = BlockRefs::create(100, BlockKind::plain);
  BlockRef two = std::move(one);
  EXPECT_EQ(one.offset(), 0U);
  EXPECT_THROW(one.data(), cohort::Error);
}

TEST_F(HandleTest, AreCopiedDroppedAndAdoptedByManyThreads) {
  BlockRef keeper = BlockRefs::create(100, BlockKind::plain);
  Offset block = keeper.offset();
  hold(space, block, MemberId::of(1001, 1));  // so that it outlives the moments without a handle
  keeper = BlockRef();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20'000; ++i) {
        BlockRef mine = BlockRef::adopt(block);
        BlockRef copy = mine;
        ASSERT_TRUE(held_by(space, block, space.self()));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_FALSE(held_by(space, block, space.self()));
  EXPECT_TRUE(heap.owner(block).is(Hold::shared));
  let_go(space, block, MemberId::of(1001, 1));
}

TEST_F(HandleTest, OfAForkedMemberAreItsOwn) {
  BlockRef one = BlockRefs::create(100, BlockKind::plain);
  Offset block = one.offset();
  Shared<std::atomic<int>> go;
  Member member([&] {
    while (*go == 0) ::sched_yield();
    *one.data() = std::byte{5};
    one = BlockRef();
    return Space::here().heap().owner(block) == Owner{} ? 0 : 1;
  });
  EXPECT_TRUE(held_by(space, block, member.id()));
  one = BlockRef();
  EXPECT_TRUE(heap.owner(block).is(Hold::shared));
  *go = 1;
  EXPECT_EQ(member.wait(), 0);
  EXPECT_EQ(heap.owner(block), Owner{});
}

TEST_F(HandleTest, OfAKilledMemberAreDroppedForIt) {
  BlockRef one = BlockRefs::create(100, BlockKind::plain);
  Offset block = one.offset();
  Member member([] {
    for (;;) ::pause();
  });
  one = BlockRef();
  EXPECT_TRUE(heap.owner(block).is(Hold::shared));
  EXPECT_TRUE(member.kill_and_bury());
  EXPECT_EQ(heap.owner(block), Owner{});
}

// Runs `body` in a child that the test, as a host program would, forks by itself.
int host_fork(const std::function<int()>& body) {
  pid_t pid = ::fork();
  if (pid == 0) {
    int code = 99;
    try {
      code = body();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "in the child: %s\n", error.what());
    }
    ::_exit(code);
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return cohort::os::exit_code_of(status);
}

TEST_F(HostForkTest, ADroppedCopyOfAHandleChangesNothingForTheParent) {
  BlockRef one = BlockRefs::create(100, BlockKind::plain);
  BlockRef two = one;
  EXPECT_EQ(host_fork([&] {
              one = BlockRef();
              two = BlockRef();
              return 0;
            }),
            0);
  EXPECT_TRUE(heap.owner(one.offset()).is(Hold::shared));
  EXPECT_TRUE(held_by(space, one.offset(), space.self()));
  EXPECT_NE(one.data(), nullptr);
}

TEST_F(HostForkTest, UsingACopyOfAHandleSaysWhyItIsRefused) {
  BlockRef one = BlockRefs::create(100, BlockKind::plain);
  EXPECT_EQ(host_fork([&] {
              try {
                one.data();
                return 1;
              } catch (const cohort::Error& error) {
                return std::strstr(error.what(), "fork()") ? 0 : 2;
              }
            }),
            0);
}

TEST_F(HostForkTest, SuchAChildFoundsAFamilyOfItsOwnAtFirstUse) {
  BlockRef one = BlockRefs::create(100, BlockKind::plain);
  auto before = heap.blocks_held();
  EXPECT_EQ(host_fork([&] {
              BlockRef fresh = BlockRefs::create(100, BlockKind::plain);
              if (&Space::here() == &space) return 1;
              *fresh.data() = std::byte{1};
              return fresh.data() != one.offset() + space.at(0) ? 0 : 2;
            }),
            0);
  EXPECT_EQ(heap.blocks_held(), before);
}

TEST_F(HostForkTest, AnArenaOfAChildDoesNotShowInTheChildsOwnChildren) {
  EXPECT_EQ(host_fork([&] {
              BlockRef mine = BlockRefs::create(100, BlockKind::plain);
              return host_fork([&] {
                try {
                  mine.data();
                  return 1;
                } catch (const cohort::Error&) {
                  return BlockRefs::create(10, BlockKind::plain) ? 0 : 2;
                }
              });
            }),
            0);
}

TEST_F(HostForkTest, ForksOfAThreadedProgramNeverHang) {
  // Threads that are inside the registry and the allocator at the moment of the fork.
  std::atomic<bool> done{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      while (!done) {
        BlockRef one = BlockRefs::create(100, BlockKind::plain);
        BlockRef two = BlockRef::adopt(one.offset());
      }
    });
  }
  BlockRef kept = BlockRefs::create(100, BlockKind::plain);
  for (int i = 0; i < (kSanitized ? 20 : 100); ++i) {
    ASSERT_EQ(host_fork([&] {
                kept = BlockRef();
                // Sanitizers' own allocators may be locked in such a child; glibc's never is.
                if (!kSanitized) BlockRef fresh = BlockRefs::create(100, BlockKind::plain);
                return 0;
              }),
              0);
  }
  done = true;
  for (auto& thread : threads) thread.join();
  EXPECT_TRUE(kept);
}

TEST_F(MemberTest, SlotsPassOnWithNewGenerations) {
  MemberId first = space.members().enlist(space.self(), "one", 0);
  EXPECT_EQ(space.members().phase(first), Phase::starting);
  EXPECT_STREQ(space.members().slot(first).name, "one");
  space.members().discharge(first);
  MemberId second = space.members().enlist(space.self(), std::string(200, 'x'), kDaemon);
  EXPECT_EQ(second.slot(), first.slot());
  EXPECT_NE(second.generation(), first.generation());
  EXPECT_EQ(space.members().phase(first), Phase::free);
  EXPECT_TRUE(space.members().is_dead(first));
  EXPECT_FALSE(space.members().activate(first, ::getpid()));
  EXPECT_FALSE(space.members().mark_dead(first));
  EXPECT_EQ(std::strlen(space.members().slot(second).name), kNameBytes - 1);
  EXPECT_EQ(space.members().parent(second), space.self());
  space.members().discharge(second);
}

TEST_F(MemberTest, AFullTableSaysHowToGoOn) {
  std::vector<MemberId> taken;
  try {
    for (std::uint32_t i = 0; i <= kMaxMembers; ++i)
      taken.push_back(space.members().enlist(space.self(), "many", 0));
    FAIL() << "took more members than there are slots";
  } catch (const cohort::Error& error) {
    EXPECT_NE(std::strstr(error.what(), "1024"), nullptr) << error.what();
    EXPECT_NE(std::strstr(error.what(), "join"), nullptr) << error.what();
  }
  EXPECT_LT(taken.size(), kMaxMembers);
  EXPECT_GT(taken.size(), kMaxMembers - 32);
  for (MemberId id : taken) space.members().discharge(id);
  MemberId again = space.members().enlist(space.self(), "again", 0);
  space.members().discharge(again);
}

TEST_F(MemberTest, AreEnlistedByManyThreadsInDistinctSlots) {
  std::vector<std::thread> threads;
  std::array<std::vector<MemberId>, 4> taken;
  for (auto& mine : taken) {
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) mine.push_back(space.members().enlist(space.self(), "m", 0));
    });
  }
  for (auto& thread : threads) thread.join();
  std::set<std::uint32_t> slots;
  for (auto& mine : taken) {
    for (MemberId id : mine) {
      slots.insert(id.slot());
      space.members().discharge(id);
    }
  }
  EXPECT_EQ(slots.size(), 400U);
}

TEST_F(MemberTest, SlotsAreFreedByTheSecondOfParentAndReaper) {
  Members& members = space.members();
  for (bool parent_first : {true, false}) {
    MemberId id = members.enlist(space.self(), "m", 0);
    // Ours to return: a janitor that polls the table shall leave it alone.
    members.slot(id).reaper.store(std::uint64_t{id.generation()} << 32 | space.self().raw);
    ASSERT_TRUE(members.activate(id, ::getpid()));
    EXPECT_EQ(members.at(id.slot()), id);
    EXPECT_TRUE(members.mark_dead(id));
    EXPECT_FALSE(members.mark_dead(id));
    EXPECT_TRUE(members.is_dead(id));
    if (parent_first) {
      members.seen_by_parent(id);
      EXPECT_EQ(members.phase(id), Phase::dead);
      members.returned(id);
    } else {
      members.returned(id);
      EXPECT_EQ(members.phase(id), Phase::ended);
      members.returned(id);
      EXPECT_EQ(members.phase(id), Phase::ended);
      members.seen_by_parent(id);
    }
    EXPECT_EQ(members.phase(id), Phase::free);
    EXPECT_EQ(members.slot(id).pid.load(), 0);
    members.seen_by_parent(id);  // says nothing about the next occupant
  }
}

TEST_F(MemberTest, ExitCodesWakeWhoeverWaitsForThem) {
  Members& members = space.members();
  MemberId id = members.enlist(space.self(), "m", 0);
  std::thread waiter([&] {
    auto& ended = members.slot(id).ended;
    while (ended.load() == 0) cohort::os::futex_wait(ended, 0, soon());
    EXPECT_EQ(members.slot(id).exit_code.load(), 7);
  });
  members.record_exit(id, 7);
  waiter.join();
  members.discharge(id);
}

TEST_F(MemberTest, AreSeenToBeGoneWhenTheirProcessEnded) {
  Shared<std::atomic<int>> go;
  Member member([&] {
    while (*go == 0) ::sched_yield();
  });
  ASSERT_TRUE(eventually([&] { return space.members().phase(member.id()) == Phase::running; }));
  EXPECT_FALSE(space.members().process_gone(member.id()));
  *go = 1;
  ASSERT_TRUE(cohort::os::wait_readable(
      cohort::os::Pidfd::open(space.members().slot(member.id()).pid.load()).get(), soon()));
  EXPECT_TRUE(space.members().process_gone(member.id()));  // a zombie yet
  member.wait();
}

TEST_F(MemberTest, ARecycledPidIsNotTakenForTheMember) {
  Members& members = space.members();
  MemberId id = members.enlist(space.self(), "m", 0);
  // This process's own pid, but said to run since long before this process started.
  ASSERT_TRUE(members.activate(id, ::getpid()));
  EXPECT_FALSE(members.process_gone(id));
  members.slot(id).running_since.store(1);
  EXPECT_TRUE(members.process_gone(id));
  space.bury(id);
  space.reclaim(id);
  members.seen_by_parent(id);
  EXPECT_TRUE(eventually([&] { return members.phase(id) == Phase::free; }));
}

TEST_F(MemberTest, DaemonsEndWithTheirParentAndSlotsOfOrphansAreFreed) {
  Shared<std::atomic<std::uint32_t>> daemon, orphan, starting;
  Shared<std::atomic<int>> stop;
  Offset block = make_shared_block(space, 10, BlockKind::plain);
  Member parent([&] {
    Space& mine = Space::here();
    auto start = [&](std::uint32_t flags) {
      MemberId id = mine.members().enlist(mine.self(), "child", flags);
      LaunchFork guard;
      if (::fork() == 0) {
        mine.become(id);
        mine.members().activate(id, ::getpid());
        auto until = soon();
        while (*stop == 0 && test::Clock::now() < *until) ::sched_yield();
        ::_exit(0);
      }
      while (mine.members().phase(id) != Phase::running) ::sched_yield();
      return id.raw;
    };
    *daemon = start(kDaemon);
    *orphan = start(0);
    // A child that was never made, for which a hold was written already.
    MemberId unborn = mine.members().enlist(mine.self(), "unborn", 0);
    hold(mine, block, unborn);
    *starting = unborn.raw;
    for (;;) ::pause();
  });
  ASSERT_TRUE(eventually([&] { return starting->load() != 0; }));
  let_go(space, block, space.self());
  EXPECT_TRUE(heap.owner(block).is(Hold::shared));
  ASSERT_TRUE(parent.kill_and_bury());
  EXPECT_EQ(heap.owner(block), Owner{});
  EXPECT_EQ(space.members().phase({starting->load()}), Phase::free);
  auto freed = [&](std::uint32_t raw) {
    return eventually([&] {
      space.bury_the_dead();
      return space.members().phase({raw}) == Phase::free;
    });
  };
  EXPECT_TRUE(freed(*daemon));
  EXPECT_EQ(space.members().phase({orphan->load()}), Phase::running);
  *stop = 1;
  EXPECT_TRUE(freed(*orphan));
}

// Says for a while that these are the family's janitors.
class Janitors {
 public:
  explicit Janitors(MemberId one) : janitors_(Space::here().header().janitors) {
    before_ = {janitors_[0].exchange(one.raw), janitors_[1].exchange(0)};
  }
  ~Janitors() {
    for (std::size_t i = 0; i < before_.size(); ++i) janitors_[i].store(before_[i]);
  }
  Janitors(const Janitors&) = delete;
  Janitors& operator=(const Janitors&) = delete;

 private:
  std::array<std::atomic<std::uint32_t>, 2>& janitors_;
  std::array<std::uint32_t, 2> before_{};
};

TEST_F(MemberTest, OneThatIsBeingMadeIsGivenUpByNobodyElseWhileAJanitorLives) {
  Members& members = space.members();
  Member janitor([] {
    for (;;) ::pause();
  });
  ASSERT_TRUE(eventually([&] { return members.phase(janitor.id()) == Phase::running; }));
  const Janitors is(janitor.id());
  const MemberId id = members.enlist(space.self(), "in the making", kDaemon);
  ASSERT_TRUE(members.begin_making(id));
  space.settle_orphan(id);
  EXPECT_EQ(members.phase(id), Phase::making);
  EXPECT_FALSE(members.is_dead(id));
  EXPECT_TRUE(members.begin_making(id));  // by who goes on with it
  ASSERT_TRUE(janitor.kill_and_bury());
  space.settle_orphan(id);
  EXPECT_EQ(members.phase(id), Phase::free);
}

TEST_F(MemberTest, OneThatIsBeingMadeIsGivenUpByTheJanitorItself) {
  Members& members = space.members();
  const Janitors is(space.self());
  const MemberId id = members.enlist(space.self(), "in the making", 0);
  ASSERT_TRUE(members.begin_making(id));
  space.settle_orphan(id);
  EXPECT_EQ(members.phase(id), Phase::free);
  EXPECT_FALSE(members.begin_making(id));
  EXPECT_FALSE(members.activate(id, ::getpid()));
}

TEST_F(MemberTest, OneThatIsOnlyEnlistedIsGivenUpByAnybody) {
  Members& members = space.members();
  Member janitor([] {
    for (;;) ::pause();
  });
  ASSERT_TRUE(eventually([&] { return members.phase(janitor.id()) == Phase::running; }));
  const Janitors is(janitor.id());
  const MemberId id = members.enlist(space.self(), "enlisted", 0);
  space.settle_orphan(id);
  EXPECT_EQ(members.phase(id), Phase::free);
  EXPECT_FALSE(members.begin_making(id));
}

TEST_F(MemberTest, SettlingAPastOccupantDoesNotKillTheProcessThatHasItsSlotNow) {
  Members& members = space.members();
  const MemberId old = members.enlist(space.self(), "old", kDaemon);
  members.discharge(old);
  Shared<std::atomic<int>> go;
  Member now([&] {
    if (!eventually([&] { return go->load() != 0; })) return 1;
    return 7;
  });
  ASSERT_EQ(now.id().slot(), old.slot());
  ASSERT_TRUE(eventually([&] { return members.phase(now.id()) == Phase::running; }));
  members.slot(now.id()).flags.store(kDaemon);
  space.settle_orphan(old);
  go->store(1);  // later than a signal would come
  EXPECT_EQ(now.wait(), 7);
  EXPECT_EQ(members.phase(now.id()), Phase::running);  // nor was it said to be dead
  EXPECT_TRUE(now.bury());
}

TEST_F(MemberTest, WhatAPastOccupantsParentCollectedDoesNotCountForTheNextOne) {
  Members& members = space.members();
  const MemberId old = members.enlist(space.self(), "old", kCollected);
  members.discharge(old);
  const MemberId now = members.enlist(space.self(), "now", kCollected);
  ASSERT_EQ(now.slot(), old.slot());
  ASSERT_TRUE(members.activate(now, ::getpid()));
  ASSERT_TRUE(members.mark_dead(now));
  members.collected(old);
  EXPECT_EQ(members.slot(now).collected.load(), 0U);
  EXPECT_FALSE(space.reclaim(now));  // its parent has not collected yet
  space.settle_orphan(old);
  EXPECT_EQ(members.slot(now).collected.load(), 0U);
  EXPECT_FALSE(space.reclaim(now));
  EXPECT_EQ(members.phase(now), Phase::dead);
  members.collected(now);
  EXPECT_TRUE(space.reclaim(now));
  EXPECT_EQ(members.phase(now), Phase::ended);
  members.seen_by_parent(now);
  EXPECT_EQ(members.phase(now), Phase::free);
}

TEST_F(MemberTest, AStarterKilledAnywhereLeavesNoSlotTaken) {
  for (const char* step : {"members.slot_taken"}) {
    Member starter([&] {
      test::die_at(step);
      Space::here().members().enlist(Space::here().self(), "never", 0);
    });
    ASSERT_EQ(starter.wait(), -SIGKILL);
    EXPECT_TRUE(starter.bury());
    for (std::uint32_t index = 0; index < kMaxMembers; ++index) {
      MemberId id = space.members().at(index);
      EXPECT_TRUE(!id || space.members().parent(id) != starter.id());
    }
  }
}

}  // namespace
