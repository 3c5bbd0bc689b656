#include <atomic>
#include <cohort/pool.hpp>
#include <cohort/process.hpp>
#include <cohort/value.hpp>
#include <cstdint>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "arena_use.hpp"

namespace {

using namespace test;
using cohort::BasicLock;
using cohort::Lock;
using cohort::LockOwnerDied;
using cohort::RawValue;
using cohort::RLock;
using cohort::Value;

class ValueTest : public ArenaUse {};

struct Point {
  int x = 1;
  int y = 2;
  friend bool operator==(const Point&, const Point&) = default;
};
struct Big {
  double numbers[10] = {};
  char name[20] = {};
};
enum class Colour : std::uint8_t { red, green };
struct alignas(1024) Wide {
  int x = 3;
};
// As C has them: no list of its fields can be had, and it is a fine type all the same.
struct Tagged {
  int kind = 0;
  union {
    int number;
    float fraction = 0;
  };
};

template <class V>
concept Adds = requires(const V& v) {
  v.fetch_add(typename V::value_type{});
};
template <class V>
concept HasBits = requires(const V& v) {
  v.fetch_xor(typename V::value_type{});
};
template <class V>
concept Swaps = requires(const V& v) {
  v.exchange(typename V::value_type{});
};
template <class V>
concept HasLock = requires(const V& v) {
  v.lock();
};

static_assert(Adds<Value<int>> && Adds<Value<double>> && Adds<RawValue<char>>);
static_assert(!Adds<Value<bool>> && !Adds<Value<Point>> && !Adds<Value<Colour>>);
static_assert(HasBits<Value<unsigned>> && !HasBits<Value<double>> && !HasBits<Value<bool>>);
static_assert(Swaps<Value<bool>> && Swaps<Value<Point>> && Swaps<Value<Colour>>);
static_assert(!Swaps<Value<Big>>);
static_assert(HasLock<Value<int>> && !HasLock<RawValue<int>>);
static_assert(cohort::Serializable<Value<int>> && cohort::Serializable<RawValue<Big>>);

TEST_F(ValueTest, ItHoldsWhatItWasMadeWithOrADefault) {
  EXPECT_EQ(Value<double>(2.5).get(), 2.5);
  EXPECT_EQ(Value<int>().get(), 0);
  EXPECT_EQ(RawValue<Point>().get(), (Point{1, 2}));
  EXPECT_EQ(Value<Point>({3, 4}).get(), (Point{3, 4}));
  EXPECT_EQ(RawValue<Colour>(Colour::green).get(), Colour::green);
  EXPECT_EQ(RawValue<Tagged>().get().fraction, 0);
  Value deduced(1.5F);
  static_assert(std::is_same_v<decltype(deduced), Value<float>>);
  EXPECT_EQ(deduced.get(), 1.5F);
}

TEST_F(ValueTest, CopiesOfTheHandleMeanTheSameValue) {
  const Value<int> a(1);
  Value<int> b = a;
  b.set(7);
  EXPECT_EQ(a.get(), 7);
  Value<int> other(2);
  other = b;
  other.set(8);
  EXPECT_EQ(a.get(), 8);
  EXPECT_EQ(a.lock(), other.lock());
  const RawValue<int> copy(a.get());
  a.set(9);
  EXPECT_EQ(copy.get(), 8);
}

TEST_F(ValueTest, AHandleThatWasMovedFromSaysSo) {
  RawValue<int> a(1);
  RawValue<int> b(std::move(a));
  EXPECT_EQ(b.get(), 1);
  EXPECT_THROW(a.get(), cohort::Error);  // NOLINT: moved from on purpose
}

TEST_F(ValueTest, ItHasARecursiveLockOfItsOwnOrTheCallersVeryOne) {
  const Value<int> own(1);
  EXPECT_TRUE(own.lock().recursive());
  EXPECT_FALSE(own.lock() == Value<int>(1).lock());
  const Lock lock;
  const RLock recursive;
  const Value<int> a(1, lock);
  const Value<int> b(2, lock);
  const Value<int> c(3, recursive);
  EXPECT_EQ(a.lock(), lock);
  EXPECT_EQ(b.lock(), lock);
  EXPECT_EQ(c.lock(), recursive);
  EXPECT_FALSE(a.lock().recursive());
}

TEST_F(ValueTest, GetSetAndWithLockTakeTheLockAndGiveItBack) {
  const Value<int> v(1);
  EXPECT_EQ(v.with_lock([&](int& x) {
    EXPECT_TRUE(v.lock().owned());
    EXPECT_EQ(v.get(), 1);  // once more: it is recursive
    return ++x;
  }),
            2);
  EXPECT_FALSE(v.lock().locked());
  EXPECT_THROW(v.with_lock([](int& x) {
    x = 5;
    throw std::runtime_error("half-way");
  }),
               std::runtime_error);
  EXPECT_FALSE(v.lock().locked());
  EXPECT_EQ(v.get(), 5);

  std::unique_lock held(v.lock());
  std::atomic<int> seen = 0;
  std::jthread reader([&] { seen = v.get(); });
  v.data() = 6;
  EXPECT_EQ(seen, 0);
  *v = 7;
  held.unlock();
  reader.join();
  EXPECT_EQ(seen, 7);
}

TEST_F(ValueTest, WithLockMayAnswerAReference) {
  const Value<Point> v;
  static_assert(std::is_same_v<decltype(v.with_lock([](Point& p) -> int& { return p.x; })), int&>);
  EXPECT_EQ(&v.with_lock([](Point& p) -> int& { return p.x; }), &v->x);
}

TEST_F(ValueTest, ItsAtomicsAreThoseOfStdAtomic) {
  const RawValue<int> v(6);
  EXPECT_EQ(v.fetch_add(3), 6);
  EXPECT_EQ(v.fetch_sub(1), 9);
  EXPECT_EQ(v.fetch_and(12), 8);
  EXPECT_EQ(v.fetch_or(3), 8);
  EXPECT_EQ(v.fetch_xor(1), 11);
  EXPECT_EQ(v.exchange(20), 10);
  int expected = 1;
  EXPECT_FALSE(v.compare_exchange(expected, 5));
  EXPECT_EQ(expected, 20);
  EXPECT_TRUE(v.compare_exchange(expected, 5));
  EXPECT_EQ(v.load(), 5);
  v.store(4, std::memory_order_release);
  EXPECT_EQ(v.load(std::memory_order_acquire), 4);
  const Value<double> d(1.5);
  EXPECT_EQ(d.fetch_add(2), 1.5);
  EXPECT_EQ(d.fetch_sub(1), 3.5);
  EXPECT_EQ(d.get(), 2.5);
  const RawValue<Point> p;
  EXPECT_EQ(p.exchange({3, 4}), (Point{1, 2}));
}

TEST_F(ValueTest, AtomicsOfManyThreadsLoseNothing) {
  const RawValue<long> count(0L);
  const Value<double> sum(0.0);
  const Value<long> locked(0L);
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([=] {
        for (int i = 0; i < 5000; ++i) {
          count.fetch_add(1);
          sum.fetch_add(0.5);
          locked.with_lock([](long& x) { ++x; });
        }
      });
    }
  }
  EXPECT_EQ(count.get(), 20000);
  EXPECT_EQ(sum.get(), 10000);
  EXPECT_EQ(locked.get(), 20000);
}

TEST_F(ValueTest, ATypesAlignmentIsHonoured) {
  for (int i = 0; i < 5; ++i) {
    const Value<Wide> v;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(&*v) % 1024, 0U);
    EXPECT_EQ(v->x, 3);
  }
}

TEST_F(ValueTest, AfterTheLocksOwnerDiedEveryAccessSaysSoUntilItIsRecovered) {
  const Value<Point> v({1, 1});
  Member victim([&] {
    v.with_lock([](Point& p) {
      p.x = 2;
      ::raise(SIGKILL);
    });
  });
  EXPECT_TRUE(victim.bury());
  EXPECT_THROW(v.get(), LockOwnerDied);
  EXPECT_THROW(v.set({3, 3}), LockOwnerDied);
  EXPECT_THROW(v.with_lock([](Point&) {}), LockOwnerDied);
  EXPECT_EQ(*v, (Point{2, 1}));
  EXPECT_TRUE(v.lock().recover());
  v->y = 2;
  v.lock().unlock();
  EXPECT_EQ(v.get(), (Point{2, 2}));
}

TEST_F(ValueTest, AChildThatTheProgramForkedIsToldThatItHasNoPart) {
  const Value<int> v(1);
  const RawValue<int> raw(1);
  for (const std::string& said :
       {thrown_in_host_fork([&] { v.get(); }), thrown_in_host_fork([&] { v.set(2); }),
        thrown_in_host_fork([&] { *v = 2; }), thrown_in_host_fork([&] { raw.fetch_add(1); }),
        thrown_in_host_fork([&] { raw.set(1); })})
    EXPECT_NE(said.find(kInert), std::string::npos) << said;
  // Dropping a copy there takes nothing from us.
  EXPECT_EQ(thrown_in_host_fork([&] { auto copies = std::vector(10, v); }), "nothing was thrown");
  EXPECT_EQ(v.get(), 1);
}

TEST_F(ValueTest, AHundredThousandMayLiveAtOnce) {
  constexpr int kValues = 100'000;
  std::vector<RawValue<int>> raw;
  std::vector<Value<long>> locked;
  const Lock shared;
  for (int i = 0; i < kValues; ++i) {
    raw.emplace_back(i);
    locked.emplace_back(long{i}, shared);
  }
  for (int i = 0; i < kValues; ++i) {
    ASSERT_EQ(raw[static_cast<std::size_t>(i)].get(), i);
    ASSERT_EQ(locked[static_cast<std::size_t>(i)].get(), i);
  }
  for (int i = 0; i < kValues; i += 2) raw[static_cast<std::size_t>(i)] = raw[1];
  EXPECT_EQ(raw[50'000].get(), 1);
  EXPECT_EQ(raw[50'001].get(), 50'001);
}

TEST_F(ValueTest, ThreadsMayDropTheLastHandlesAtTheSameTime) {
  for (int round = 0; round < 300; ++round) {
    Value<int> first(round);
    std::vector<std::jthread> threads;
    for (int t = 0; t < 2; ++t)
      threads.emplace_back(
          [mine = first]() mutable { [[maybe_unused]] Value<int> last(std::move(mine)); });
    { [[maybe_unused]] Value<int> gone(std::move(first)); }
  }
}

struct Counters {
  std::map<std::string, Value<int>> named;
  std::vector<RawValue<int>> raw;
};
int count_up(Counters& counters, int by) {
  for (auto& [name, value] : counters.named) value.with_lock([&](int& x) { x += by; });
  for (auto& value : counters.raw) value.fetch_add(by);
  return by;
}

TEST_F(ValueTest, HandlesInsideContainersGoToThePoolsWorkers) {
  Counters counters;
  counters.named.emplace("a", Value<int>(0));
  counters.named.emplace("b", Value<int>(10));
  counters.raw.emplace_back(100);
  {
    cohort::Pool pool(2);
    std::vector<std::tuple<Counters, int>> calls;
    for (int i = 0; i < 50; ++i) calls.emplace_back(counters, 1);
    pool.starmap(count_up, calls);
  }
  EXPECT_EQ(counters.named.at("a").get(), 50);
  EXPECT_EQ(counters.named.at("b").get(), 60);
  EXPECT_EQ(counters.raw[0].get(), 150);
}

Value<int>& in_static_storage() {
  static Value<int> value(5);
  return value;
}

// What this makes is destroyed after main, and by then must do no harm; a child has a copy.
TEST(StaticValue, IsUsedHereAndInAForkedChild) {
  EXPECT_EQ(in_static_storage().get(), 5);
  auto child = cohort::Process::forked([] { in_static_storage().set(6); });
  child.start();
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
  EXPECT_EQ(in_static_storage().get(), 6);
}

}  // namespace
