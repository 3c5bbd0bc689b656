// Members that make, share, change and drop arrays, values and objects, killed at random instants
// and at every step that matters.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cohort/array.hpp>
#include <cohort/shared_heap.hpp>
#include <cohort/value.hpp>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "arena_use.hpp"

namespace {

using namespace test;
using cohort::Array;
using cohort::LockOwnerDied;
using cohort::RawArray;
using cohort::SharedAllocator;
using cohort::SharedHeap;
using cohort::SharedObject;
using cohort::Value;

using Numbers = std::vector<int, SharedAllocator<int>>;
using Lists = std::vector<Numbers, SharedAllocator<Numbers>>;

class SharedHeapChaos : public ArenaUse {};

std::string test_name(const testing::TestParamInfo<const char*>& step) {
  std::string name = step.param;
  std::ranges::replace(name, '.', '_');
  return name;
}

// ---- at every step

// Comes by every step of allocators, of objects that grow and shrink, and of arrays.
void touch_everything(const SharedObject<Lists>& lists, const SharedHeap& heap) {
  for (int i = 0; i < 10; ++i) {
    const Array<int> small(100);
    const RawArray<char> large(2'000'000);
    const Value<double> value(1.5);
    small[0] = large[1'000'000] + static_cast<int>(value.get());
    auto allocator = heap.allocator<int>();
    auto place = allocator.allocate(static_cast<std::size_t>(i) * 5'000 + 1);
    lists.with_lock([&](Lists& all) {
      all.emplace_back(Numbers(std::size_t{20} << i, i, lists.allocator<int>()));
      if (i % 2 == 1) all.erase(all.begin());
    });
    const SharedObject<Numbers> mine(std::size_t{3'000}, i);
    allocator.deallocate(place, 1);
  }
}

const char* const kSteps[] = {
    "shared_heap.allocated",  "shared_heap.given",       "shared_heap.taken_back",
    "shared_heap.finalizing", "shared_block.filled",     "shared_block.made",
    "shared_block.unmarked",  "shared_block.finalizing", "shared_block.finalized",
    "heap.run_claimed",       "heap.head_stored",        "heap.body_stored",
    "heap.small_taken",       "heap.small_given_back",   "heap.releasing",
    "heap.punched",           "heap.head_given_back"};

class SharedHeapSteps : public SharedHeapChaos, public testing::WithParamInterface<const char*> {};

TEST_P(SharedHeapSteps, AKillThereIsToldByTheLockAndLosesNothing) {
  for (int times : {1, 2, 5, 17}) {
    const SharedObject<Lists> lists;
    const SharedHeap heap;
    const Array<int> neighbour(std::vector(10'000, 77));
    Member victim([&] {
      test::die_at(GetParam(), times);
      touch_everything(lists, heap);
    });
    const auto code = victim.wait();
    EXPECT_TRUE(times > 1 || code == -SIGKILL) << "the step was never reached";
    EXPECT_TRUE(code == -SIGKILL || code == 0);
    EXPECT_TRUE(victim.bury());
    if (lists.lock().recover()) lists.reset();
    lists.lock().unlock();
    touch_everything(lists, heap);
    const std::size_t before = lists->size();
    EXPECT_EQ(lists.with_lock([&](Lists& all) {
      all.emplace_back(Numbers(5, 5, lists.allocator<int>()));
      return all.size();
    }),
              before + 1);
    EXPECT_TRUE(std::ranges::all_of(neighbour, [](int x) { return x == 77; }));
  }
}
INSTANTIATE_TEST_SUITE_P(Every, SharedHeapSteps, testing::ValuesIn(kSteps), test_name);

class SharedHeapReaperSteps : public SharedHeapChaos,
                              public testing::WithParamInterface<const char*> {};

TEST_P(SharedHeapReaperSteps, WhoeverGivesAHeapBackMayDieThereToo) {
  for (int times : {1, 2, 7}) {
    Member holder([] {
      const SharedHeap heap;
      auto allocator = heap.allocator<char>();
      for (std::size_t i = 0; i < 20; ++i) allocator.allocate(1 + i * 7'000);
      const SharedObject<Lists> lists;
      lists->resize(10, Numbers(100, 1, lists.allocator<int>()));
      ::raise(SIGKILL);
    });
    ASSERT_EQ(holder.wait(), -SIGKILL);
    {
      Member reaper([&] {
        test::die_at(GetParam(), times);
        Space::here().bury(holder.id());
        Space::here().reclaim(holder.id());
      });
      const auto code = reaper.wait();
      EXPECT_TRUE(times > 1 || Space::here().janitor_alive() || code == -SIGKILL)
          << "the step was never reached";
      EXPECT_TRUE(code == -SIGKILL || code == 0);
    }
    EXPECT_TRUE(holder.bury());
    EXPECT_TRUE(eventually([&] { return only_what_was(); }));
  }
}
INSTANTIATE_TEST_SUITE_P(Every, SharedHeapReaperSteps,
                         testing::Values("shared_heap.finalizing", "shared_heap.taken_back",
                                         "shared_block.finalizing", "shared_block.finalized",
                                         "heap.small_given_back", "heap.releasing"),
                         test_name);

// ---- at random instants

// Each list holds as many of a number as the number says.
bool whole(const Lists& lists) {
  return std::ranges::all_of(lists, [](const Numbers& one) {
    return !one.empty() && one.size() == static_cast<std::size_t>(one[0]) &&
           std::ranges::all_of(one, [&](int x) { return x == one[0]; });
  });
}

struct World {
  SharedObject<Lists> lists{};
  Array<std::int64_t> balances{std::vector<std::int64_t>(16, 1000)};  // their sum never changes
};

enum Damage : int { kNone, kTornLists, kLostMoney, kForeignBytes };

void repair(const World& world) {
  if (world.lists.lock().recover()) world.lists.reset();
  world.lists.lock().unlock();
}

void settle_accounts(const World& world) {
  if (world.balances.lock().recover()) {
    // A transfer was cut off between its two halves: account 0 pays.
    const auto all = world.balances.span();
    all[0] += 16'000 - std::accumulate(all.begin(), all.end(), std::int64_t{0});
  }
  world.balances.lock().unlock();
}

Damage change_lists(const World& world, std::mt19937_64& random) {
  return world.lists.with_lock([&](Lists& all) {
    if (!whole(all)) return kTornLists;
    if (all.size() > 20) all.erase(all.begin(), all.begin() + 10);
    const auto number = static_cast<int>(1 + random() % (random() % 16 == 0 ? 5'000 : 50));
    all.emplace_back(
        Numbers(static_cast<std::size_t>(number), number, world.lists.allocator<int>()));
    return kNone;
  });
}

Damage transfer(const World& world, std::mt19937_64& random) {
  return world.balances.with_lock([&](std::span<std::int64_t> all) {
    if (std::accumulate(all.begin(), all.end(), std::int64_t{0}) != 16'000) return kLostMoney;
    const auto amount = static_cast<std::int64_t>(random() % 100);
    all[random() % all.size()] -= amount;
    all[random() % all.size()] += amount;
    return kNone;
  });
}

Damage use_own_array(std::mt19937_64& random) {
  const RawArray<std::uint64_t> mine(random() % (random() % 8 == 0 ? 200'000 : 500));
  if (!std::ranges::all_of(mine, [](auto x) { return x == 0; })) return kForeignBytes;
  const std::uint64_t mark = random();
  mine.fill(mark);
  return std::ranges::all_of(mine, [&](auto x) { return x == mark; }) ? kNone : kForeignBytes;
}

// What a member does until it is killed; it ends by itself only when it saw damage.
int live(const World& world, std::uint64_t seed, std::atomic<std::uint64_t>& steps) {
  std::mt19937_64 random(seed);
  for (;;) {
    steps.fetch_add(1, std::memory_order_relaxed);
    Damage damage = kNone;
    switch (random() % 3) {
      case 0:
        try {
          damage = change_lists(world, random);
        } catch (const LockOwnerDied&) {
          repair(world);
        }
        break;
      case 1:
        try {
          damage = transfer(world, random);
        } catch (const LockOwnerDied&) {
          settle_accounts(world);
        }
        break;
      default:
        damage = use_own_array(random);
    }
    if (damage != kNone) return damage;
  }
}

TEST_F(SharedHeapChaos, KillsAtRandomInstantsLeaveNothingBehindAndDamageNothing) {
  std::mt19937_64 random(11);
  Shared<std::atomic<std::uint64_t>> steps;
  int kills = 0;
  {
    const World world;
    std::vector<std::unique_ptr<Member>> members;
    auto fresh = [&] {
      return std::make_unique<Member>([&, seed = random()] { return live(world, seed, *steps); });
    };
    for (int i = 0; i < 3; ++i) members.push_back(fresh());
    const auto until = Clock::now() + std::chrono::seconds(6);
    while (kills < 3000 && Clock::now() < until) {
      const auto enough = steps->load() + random() % 200;
      ASSERT_TRUE(eventually([&] { return steps->load() >= enough; })) << "a stall after " << kills;
      auto& victim = members[random() % members.size()];
      victim->kill();
      ASSERT_EQ(victim->wait(), -SIGKILL) << "a member saw damage";
      ASSERT_TRUE(victim->bury());
      victim = fresh();
      ++kills;
    }
    for (auto& member : members) {
      member->kill();
      EXPECT_EQ(member->wait(), -SIGKILL);
      EXPECT_TRUE(member->bury());
    }
    repair(world);
    settle_accounts(world);
    EXPECT_TRUE(whole(*world.lists));
  }
  RecordProperty("kills", kills);
  std::printf("%d kills, %llu steps\n", kills, static_cast<unsigned long long>(steps->load()));
  EXPECT_GE(kills, kSanitized ? 30 : 200);
}

}  // namespace
