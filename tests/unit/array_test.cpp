#include <algorithm>
#include <atomic>
#include <cohort/array.hpp>
#include <cohort/process.hpp>
#include <cstdint>
#include <forward_list>
#include <list>
#include <mutex>
#include <numeric>
#include <ranges>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "arena_use.hpp"
#include "processes.hpp"

namespace {

using namespace test;
using cohort::Array;
using cohort::IndexError;
using cohort::Lock;
using cohort::LockOwnerDied;
using cohort::RawArray;
using cohort::RLock;

struct Point {
  double x = 0;
  double y = 0;
};
struct alignas(4096) Page {
  char bytes[4096];
};
struct alignas(256) Wide {
  int x;
};

static_assert(std::ranges::contiguous_range<Array<int>>);
static_assert(std::ranges::contiguous_range<const RawArray<Point>>);
static_assert(std::ranges::sized_range<const Array<int>>);
static_assert(!std::ranges::view<RawArray<int>>);
static_assert(std::convertible_to<const Array<int>&, std::span<int>>);
static_assert(std::is_same_v<decltype(std::declval<const Array<int>&>()[0]), int&>);
static_assert(cohort::Serializable<Array<Point>> && cohort::Serializable<RawArray<Page>>);
static_assert(!std::constructible_from<RawArray<int>, std::vector<std::string>>);
// A handle for another, or its elements? One has to say: a.span().
static_assert(!std::constructible_from<Array<int>, const RawArray<int>&>);
static_assert(!std::constructible_from<RawArray<long>, const RawArray<int>&>);

class ArrayTest : public ArenaUse {};

template <class T>
std::vector<T> content(const RawArray<T>& array) {
  return {array.begin(), array.end()};
}

TEST_F(ArrayTest, ItIsMadeFromASizeAListOrAnyRange) {
  using Ints = std::vector<int>;
  EXPECT_EQ(content(Array<int>(3)), (Ints{0, 0, 0}));
  EXPECT_EQ(content(Array<int>({1, 2, 3})), (Ints{1, 2, 3}));
  EXPECT_EQ(content(Array<int>({7})), (Ints{7}));
  EXPECT_EQ(content(Array<int>(std::vector{4, 5})), (Ints{4, 5}));
  EXPECT_EQ(content(Array<int>(std::list<short>{6, 7})), (Ints{6, 7}));
  EXPECT_EQ(content(Array<int>(std::forward_list{8, 9})), (Ints{8, 9}));
  EXPECT_EQ(content(Array<int>(std::views::iota(0, 4))), (Ints{0, 1, 2, 3}));
  std::istringstream text("10 11 12");
  EXPECT_EQ(content(Array<int>(std::ranges::istream_view<int>(text))), (Ints{10, 11, 12}));
  const int old[] = {1, 2};
  EXPECT_EQ(content(RawArray<int>(old)), (Ints{1, 2}));
  EXPECT_EQ(content(RawArray<int>({5, 6})), (Ints{5, 6}));
  const Array deduced({1.5, 2.5});
  static_assert(std::is_same_v<decltype(deduced), const Array<double>>);
  EXPECT_EQ(deduced.back(), 2.5);
}

TEST_F(ArrayTest, NoElementsAreAnArrayToo) {
  const Array<int> none(0);
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(none.size(), 0U);
  EXPECT_EQ(none.begin(), none.end());
  EXPECT_TRUE(none.subspan(0).empty());
  EXPECT_THROW(none[0], IndexError);
  EXPECT_THROW(none.front(), IndexError);
  EXPECT_THROW(none.back(), IndexError);
  EXPECT_TRUE(Array<int>(std::vector<int>()).empty());
}

TEST_F(ArrayTest, CopiesOfTheHandleMeanTheSameElements) {
  const Array<int> a({1, 2, 3});
  Array<int> b = a;
  b[1] = 20;
  EXPECT_EQ(a[1], 20);
  const RawArray<int> raw = a;
  raw[0] = 10;
  EXPECT_EQ(a[0], 10);
  const Array<int> copy(a.span());
  a.fill(5);
  EXPECT_EQ(content<int>(copy), (std::vector{10, 20, 3}));
  EXPECT_EQ(content<int>(b), (std::vector{5, 5, 5}));
  RawArray<int> gone(2);
  const RawArray<int> taken(std::move(gone));
  EXPECT_THROW(gone[0], cohort::Error);  // NOLINT: moved from on purpose
  EXPECT_EQ(taken[0], 0);
}

TEST_F(ArrayTest, ItHasALockOfItsOwnOrTheCallersVeryOne) {
  EXPECT_TRUE(Array<int>(1).lock().recursive());
  const Lock lock;
  EXPECT_EQ(Array<int>(1, lock).lock(), lock);
  EXPECT_EQ(Array<int>({1}, lock).lock(), lock);
  EXPECT_EQ(Array<int>(std::vector{1}, lock).lock(), lock);
  const Array<int> a({1, 2});
  EXPECT_EQ(a.with_lock([&](std::span<int> all) {
    EXPECT_TRUE(a.lock().owned());
    return all[0] + all[1];
  }),
            3);
  EXPECT_FALSE(a.lock().locked());
}

std::string said_by(auto&& f) {
  try {
    f();
  } catch (const IndexError& error) {
    return error.what();
  }
  return "nothing";
}

TEST_F(ArrayTest, AnIndexOutOfRangeIsNamed) {
  const Array<int> a(10);
  EXPECT_EQ(said_by([&] { a[10] = 1; }), "index 10 is out of range: the array has 10 elements");
  EXPECT_EQ(said_by([&] { a.at(std::size_t(-1)); }),
            "index 18446744073709551615 is out of range: the array has 10 elements");
  EXPECT_EQ(said_by([&] { a.subspan(8, 3); }),
            "the slice of 3 from index 8 on is out of range: the array has 10 elements");
  EXPECT_EQ(said_by([&] { a.subspan(11); }),
            "the slice from index 11 on is out of range: the array has 10 elements");
  EXPECT_THROW(a.subspan(1, std::size_t(-2)), IndexError);
  EXPECT_EQ(a.subspan(10).size(), 0U);
  EXPECT_EQ(a.subspan(4).size(), 6U);
  EXPECT_EQ(a.subspan(4, 6).data(), &a[4]);
  EXPECT_EQ(&a.back(), &a[9]);
}

TEST_F(ArrayTest, AlgorithmsAndSpansTakeIt) {
  const Array<int> a(std::views::iota(0, 100));
  EXPECT_EQ(std::accumulate(a.begin(), a.end(), 0), 4950);
  std::ranges::reverse(a);
  EXPECT_EQ(a[0], 99);
  std::ranges::sort(a.subspan(0, 50));
  EXPECT_EQ(a[0], 50);
  const std::span<int> span(a);
  EXPECT_EQ(span.data(), a.data());
  EXPECT_EQ(a.size_bytes(), 400U);
}

TEST_F(ArrayTest, ElementsAreAlignedAsTheirTypeAsksAndToACacheLine) {
  for (std::size_t i = 1; i < 40; i += 7) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(Array<char>(i).data()) % 64, 0U);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(Array<Wide>(i).data()) % 256, 0U);
    const RawArray<Page> pages(i);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(pages.data()) % 4096, 0U);
    pages.fill({});
  }
}

TEST_F(ArrayTest, MemoryThatWasUsedBeforeIsZero) {
  for (std::size_t size : {10UL, 1000UL, 8000UL, 50'000UL, 3'000'000UL}) {
    for (int round = 0; round < 3; ++round) {
      const RawArray<char> a(size);
      ASSERT_TRUE(std::ranges::all_of(a, [](char c) { return c == 0; })) << size;
      a.fill('x');
    }
  }
}

TEST_F(ArrayTest, WhatDoesNotFitIsRefusedWithAReason) {
  for (std::size_t size :
       {std::size_t(-1), std::size_t(-1) / 8, std::size_t{1} << 60, std::size_t{1} << 40}) {
    try {
      const RawArray<double> a(size);
      ADD_FAILURE() << size;
    } catch (const cohort::Error& error) {
      EXPECT_NE(std::string(error.what()).find("exhausted"), std::string::npos) << error.what();
    }
  }
}

TEST_F(ArrayTest, TextInCharsEndsAtTheFirstZero) {
  const RawArray<char> a(8);
  a.set_text("hello");
  EXPECT_EQ(a.text(), "hello");
  a.set_text("hi");
  EXPECT_EQ(a.text(), "hi");
  EXPECT_EQ(a[4], 0);
  a.set_text("12345678");
  EXPECT_EQ(a.text(), "12345678");
  EXPECT_THROW(a.set_text("123456789"), std::length_error);
  EXPECT_EQ(a.text(), "12345678");
}

TEST_F(ArrayTest, AfterTheLocksOwnerDiedWithLockSaysSo) {
  const Array<int> a({1, 1});
  Member victim([&] {
    a.with_lock([](std::span<int> all) {
      all[0] = 2;
      ::raise(SIGKILL);
    });
  });
  EXPECT_TRUE(victim.bury());
  EXPECT_THROW(a.with_lock([](std::span<int>) {}), LockOwnerDied);
  EXPECT_EQ(a[0], 2);
  EXPECT_TRUE(a.lock().recover());
  a.lock().unlock();
  EXPECT_EQ(a.with_lock([](std::span<int> all) { return all.size(); }), 2U);
}

TEST_F(ArrayTest, AChildThatTheProgramForkedIsToldThatItHasNoPart) {
  const Array<int> a({1, 2});
  for (const std::string& said :
       {thrown_in_host_fork([&] { a[0] = 1; }), thrown_in_host_fork([&] { a.span(); }),
        thrown_in_host_fork([&] { a.begin(); }), thrown_in_host_fork([&] { a.fill(0); }),
        thrown_in_host_fork([&] { a.with_lock([](std::span<int>) {}); })})
    EXPECT_NE(said.find(kInert), std::string::npos) << said;
  // It has a family of its own, and arrays in that.
  EXPECT_EQ(thrown_in_host_fork([] {
              const Array<int> mine({3});
              if (mine[0] != 3) throw std::logic_error("lost");
            }),
            "nothing was thrown");
  EXPECT_EQ(a[0], 1);
}

TEST_F(ArrayTest, ThreadsMayDropTheLastHandlesAtTheSameTime) {
  for (int round = 0; round < 200; ++round) {
    RawArray<int> first(static_cast<std::size_t>(round) * 200);
    std::jthread other(
        [mine = first]() mutable { [[maybe_unused]] RawArray<int> last(std::move(mine)); });
    { [[maybe_unused]] RawArray<int> gone(std::move(first)); }
  }
}

// ---- memory

constexpr std::size_t kMiB = std::size_t{1} << 20;

TEST_F(ArrayTest, ALargeOneTakesNoMemoryUntilItIsTouchedAndGivesItBackAtOnce) {
  const std::size_t before = arena_bytes();
  const std::size_t resident = resident_shared_bytes();
  {
    const RawArray<char> a(3072 * kMiB);
    EXPECT_LT(arena_bytes(), before + kMiB);
    a[2000 * kMiB] = 1;
    EXPECT_LT(arena_bytes(), before + kMiB);
    std::ranges::fill(a.subspan(1000 * kMiB, 50 * kMiB), 'x');
    EXPECT_GE(arena_bytes(), before + 50 * kMiB);
    EXPECT_GE(resident_shared_bytes(), resident + 50 * kMiB);
  }
  EXPECT_LT(arena_bytes(), before + kMiB);
  EXPECT_LT(resident_shared_bytes(), resident + kMiB);
}

class LargeArray : public EachMethod {};
INSTANTIATE_TEST_SUITE_P(Methods, LargeArray, every_method(), method_name);

void touch_far_page(const Array<std::int64_t>& a, std::size_t index) { a[index] = 99; }

TEST_P(LargeArray, IsPassedWithoutCopyingIt) {
  constexpr std::size_t kElements = 3072 * kMiB / sizeof(std::int64_t);
  const std::size_t before = arena_bytes();
  {
    const Array<std::int64_t> a(kElements);
    a[0] = 1;
    Process child(with(), touch_far_page, a, kElements - 1);
    child.start();
    child.join();
    EXPECT_EQ(child.exitcode(), 0);
    EXPECT_EQ(a.back(), 99);
    EXPECT_LT(arena_bytes(), before + 8 * kMiB);
  }
  EXPECT_TRUE(eventually([&] { return arena_bytes() < before + 2 * kMiB; }));
}

// The last handle is that of a child which is killed.
TEST_P(LargeArray, IsGivenBackWhenItsLastHolderIsKilled) {
  const std::size_t before = arena_bytes();
  auto started = Channel::make();
  Process child(
      with(),
      [](const Channel& out) {
        const RawArray<char> mine(64 * kMiB);
        mine.fill('x');
        out.send(true);
        ::raise(SIGKILL);
      },
      started);
  child.start();
  EXPECT_TRUE(started.receive<bool>());
  child.join();
  EXPECT_EQ(child.exitcode(), -SIGKILL);
  EXPECT_TRUE(eventually([&] {
    Space::here().bury_the_dead(true);
    return arena_bytes() < before + 8 * kMiB;
  }));
}

Array<int>& in_static_storage() {
  static Array<int> array({1, 2, 3});
  return array;
}

TEST(StaticArray, IsUsedHereAndInAForkedChild) {
  EXPECT_EQ(in_static_storage()[2], 3);
  auto child = Process::forked([] { in_static_storage()[2] = 30; });
  child.start();
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
  EXPECT_EQ(in_static_storage()[2], 30);
}

}  // namespace
