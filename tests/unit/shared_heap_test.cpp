#include <algorithm>
#include <atomic>
#include <cohort/array.hpp>
#include <cohort/process.hpp>
#include <cohort/shared_heap.hpp>
#include <iterator>
#include <memory>
#include <mutex>
#include <new>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "arena_use.hpp"
#include "processes.hpp"

#if __has_include(<boost/container/map.hpp>)
#include <boost/container/deque.hpp>
#include <boost/container/flat_map.hpp>
#include <boost/container/list.hpp>
#include <boost/container/map.hpp>
#include <boost/container/string.hpp>
#include <boost/container/vector.hpp>
#define COHORT_TEST_BOOST 1
#endif

namespace {

using namespace test;
using cohort::InvalidStateError;
using cohort::LockOwnerDied;
using cohort::OffsetPtr;
using cohort::SharedAllocator;
using cohort::SharedHeap;
using cohort::SharedObject;

using Numbers = std::vector<int, SharedAllocator<int>>;
using Lists = std::vector<Numbers, SharedAllocator<Numbers>>;

static_assert(std::contiguous_iterator<OffsetPtr<int>>);
static_assert(std::is_convertible_v<OffsetPtr<int>, OffsetPtr<const int>>);
static_assert(!std::is_convertible_v<OffsetPtr<const int>, OffsetPtr<int>>);
static_assert(std::is_convertible_v<OffsetPtr<int>, OffsetPtr<void>>);
static_assert(!std::is_convertible_v<OffsetPtr<void>, OffsetPtr<int>>);
static_assert(std::is_constructible_v<OffsetPtr<int>, OffsetPtr<void>>);
static_assert(cohort::Serializable<SharedHeap> && cohort::Serializable<SharedObject<Numbers>>);

class SharedHeapTest : public ArenaUse {};

// ---- pointers

TEST_F(SharedHeapTest, AnOffsetPointerIsAPointer) {
  int numbers[] = {1, 2, 3, 4};
  OffsetPtr<int> p(numbers);
  EXPECT_EQ(*p, 1);
  EXPECT_EQ(p[3], 4);
  EXPECT_EQ(*++p, 2);
  EXPECT_EQ(*p++, 2);
  EXPECT_EQ(*--p, 2);
  EXPECT_EQ(*p--, 2);
  EXPECT_EQ(*(p + 2), 3);
  EXPECT_EQ(*(2 + p), 3);
  p += 3;
  EXPECT_EQ(p - OffsetPtr<int>(numbers), 3);
  EXPECT_EQ(*(p - 1), 3);
  EXPECT_TRUE(p > OffsetPtr<int>(numbers));
  const OffsetPtr<const int> constant = p;
  EXPECT_EQ(constant, p);
  EXPECT_EQ(static_cast<OffsetPtr<int>>(OffsetPtr<void>(p)), p);
  EXPECT_EQ(std::to_address(p), numbers + 3);
  EXPECT_EQ(OffsetPtr<int>::pointer_to(numbers[1]).get(), numbers + 1);
  EXPECT_EQ(std::accumulate(OffsetPtr<int>(numbers), OffsetPtr<int>(numbers + 4), 0), 10);
}

TEST_F(SharedHeapTest, AnOffsetPointerMayBeNullAndMayPointAnywhereButIntoItself) {
  OffsetPtr<int> none;
  EXPECT_FALSE(none);
  EXPECT_TRUE(none == nullptr);
  EXPECT_EQ(none.get(), nullptr);
  OffsetPtr<int> copy = none;
  EXPECT_EQ(copy, nullptr);
  struct Node {
    OffsetPtr<Node> self;
    char next = 'n';
  } node;
  node.self = &node;  // a distance of 0
  EXPECT_EQ(node.self.get(), &node);
  const OffsetPtr<Node> moved = node.self;
  EXPECT_EQ(moved.get(), &node);
  copy = nullptr;
  EXPECT_FALSE(copy);
}

// ---- heap and allocator

TEST_F(SharedHeapTest, WhatIsAllocatedIsGivenBackOneByOneOrWithTheHeap) {
  std::size_t before = blocks_held();
  {
    const SharedHeap heap;
    auto allocator = heap.allocator<int>();
    auto first = allocator.allocate(10);
    auto second = allocator.allocate(1'000'000);
    std::fill(second, second + 1'000'000, 7);
    EXPECT_EQ(heap.allocations(), 2U);
    EXPECT_EQ(blocks_held(), before + 3);
    allocator.deallocate(first, 10);
    EXPECT_EQ(heap.allocations(), 1U);
    EXPECT_EQ(second[999'999], 7);
  }
  EXPECT_EQ(blocks_held(), before);
}

TEST_F(SharedHeapTest, HeapsAreApart) {
  const SharedHeap a;
  const SharedHeap b;
  auto mine = a.allocator<long>();
  auto theirs = b.allocator<char>();
  EXPECT_TRUE(mine == SharedAllocator<char>(mine));
  EXPECT_FALSE(mine == theirs);
  EXPECT_FALSE(a == b);
  auto place = mine.allocate(4);
  // What is not this heap's own is left alone.
  theirs.deallocate(OffsetPtr<char>(reinterpret_cast<char*>(place.get())), 4);
  char on_the_stack = 0;
  theirs.deallocate(OffsetPtr<char>(&on_the_stack), 1);
  theirs.deallocate(OffsetPtr<char>(reinterpret_cast<char*>(place.get()) + 8), 1);
  theirs.deallocate(nullptr, 1);
  EXPECT_EQ(a.allocations(), 1U);
  EXPECT_EQ(b.allocations(), 0U);
}

TEST_F(SharedHeapTest, WhatDoesNotFitIsRefused) {
  const SharedHeap heap;
  EXPECT_THROW(heap.allocator<long>().allocate(std::size_t(-1) / 4), std::bad_array_new_length);
  EXPECT_THROW(heap.allocator<long>().allocate(std::size_t{1} << 50), cohort::Error);
  EXPECT_EQ(heap.allocations(), 0U);
}

TEST_F(SharedHeapTest, AnAllocatorWhoseHeapIsGoneSaysSo) {
  auto left_over = SharedHeap().allocator<int>();
  EXPECT_THROW(left_over.allocate(1), cohort::Error);
}

TEST_F(SharedHeapTest, AChildThatTheProgramForkedIsToldThatItHasNoPart) {
  const SharedObject<Numbers> numbers({1, 2});
  auto allocator = numbers.allocator<int>();
  for (const std::string& said : {thrown_in_host_fork([&] { numbers->push_back(3); }),
                                  thrown_in_host_fork([&] { numbers.with_lock([](auto&) {}); }),
                                  thrown_in_host_fork([&] { numbers.allocator<char>(); })})
    EXPECT_NE(said.find(kInert), std::string::npos) << said;
  EXPECT_NE(thrown_in_host_fork([&] { allocator.allocate(1); }).find("heap"), std::string::npos);
  EXPECT_EQ(numbers->size(), 2U);
}

// ---- objects

TEST_F(SharedHeapTest, AnObjectIsMadeInPlaceFromItsArguments) {
  EXPECT_TRUE(SharedObject<Numbers>()->empty());
  EXPECT_EQ(SharedObject<Numbers>({1, 2, 3})->back(), 3);
  const SharedObject<Numbers> fives(std::size_t{4}, 5);
  EXPECT_EQ(fives->size(), 4U);
  const int more[] = {6, 7};
  const SharedObject<Numbers> range(std::begin(more), std::end(more));
  EXPECT_EQ(range->at(1), 7);
}

TEST_F(SharedHeapTest, ItsMemoryGoesWithItsLastHandleAndNoDestructorRuns) {
  struct Noisy {
    using allocator_type = SharedAllocator<std::byte>;
    Noisy(int* count, const allocator_type&) : ends(reinterpret_cast<std::uintptr_t>(count)) {}
    ~Noisy() { ++*reinterpret_cast<int*>(ends); }
    std::uintptr_t ends;
  };
  int ends = 0;
  const std::size_t before = blocks_held();
  {
    SharedObject<Noisy> object(&ends);
    const auto copy = object;
    EXPECT_EQ(copy.lock(), object.lock());
    object = SharedObject<Noisy>(&ends);
    EXPECT_EQ(blocks_held(), before + 4);
  }
  EXPECT_EQ(blocks_held(), before);
  EXPECT_EQ(ends, 0);
}

TEST_F(SharedHeapTest, AConstructorThatThrowsLeavesNothing) {
  struct Throws {
    using allocator_type = SharedAllocator<int>;
    explicit Throws(allocator_type allocator) {
      allocator.allocate(100);
      throw std::runtime_error("no");
    }
  };
  EXPECT_THROW(SharedObject<Throws>(), std::runtime_error);
}

TEST_F(SharedHeapTest, ContainersInContainersShareTheHeap) {
  const SharedObject<Lists> lists;
  for (int i = 0; i < 50; ++i) {
    lists.with_lock([&](Lists& all) {
      all.emplace_back(Numbers(static_cast<std::size_t>(i + 1), i, lists.allocator<int>()));
    });
  }
  for (int i = 0; i < 50; ++i) {
    const Numbers& one = lists->at(static_cast<std::size_t>(i));
    ASSERT_EQ(one.size(), static_cast<std::size_t>(i) + 1);
    ASSERT_EQ(one.back(), i);
  }
  EXPECT_EQ(lists.allocations(), 51U);
  lists->erase(lists->begin(), lists->begin() + 25);
  lists->shrink_to_fit();
  EXPECT_EQ(lists.allocations(), 26U);
  EXPECT_EQ(lists->front().back(), 25);
}

// A class of one's own with several containers.
struct Inventory {
  using allocator_type = SharedAllocator<std::byte>;
  explicit Inventory(const allocator_type& allocator) : counts(allocator), names(allocator) {}
  Numbers counts;
  std::vector<char, SharedAllocator<char>> names;
};

TEST_F(SharedHeapTest, AClassOfOnesOwnMayHoldSeveral) {
  const SharedObject<Inventory> inventory;
  inventory.with_lock([](Inventory& i) {
    i.counts.assign(1000, 3);
    i.names.assign(1000, 'n');
  });
  EXPECT_EQ(inventory->counts.at(999) + inventory->names.at(999), 3 + 'n');
  EXPECT_EQ(inventory.allocations(), 2U);
}

TEST_F(SharedHeapTest, AfterADeathUnderTheLockItIsMadeAnew) {
  const SharedObject<Numbers> numbers({1, 2, 3});
  EXPECT_THROW(numbers.reset(), InvalidStateError);
  Member victim([&] {
    numbers.with_lock([](Numbers& all) {
      all.assign(100'000, 1);
      ::raise(SIGKILL);
    });
  });
  EXPECT_TRUE(victim.bury());
  EXPECT_THROW(numbers.with_lock([](Numbers&) {}), LockOwnerDied);
  EXPECT_TRUE(numbers.lock().recover());
  numbers.reset(std::size_t{2}, 8);
  numbers.lock().unlock();
  EXPECT_EQ(numbers.with_lock([](Numbers& all) { return all.size(); }), 2U);
  EXPECT_EQ(numbers->back(), 8);
  EXPECT_EQ(numbers.allocations(), 1U);
}

TEST_F(SharedHeapTest, ThreadsMayAllocateFromOneHeap) {
  const SharedHeap heap;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&heap, t] {
        std::vector<Numbers> mine(5, Numbers(heap.allocator<int>()));
        for (int i = 0; i < 500; ++i) mine[static_cast<std::size_t>(i % 5)].push_back(t);
        for (const auto& one : mine) {
          EXPECT_TRUE(std::ranges::all_of(one, [&](int x) { return x == t; }));
        }
      });
    }
  }
  EXPECT_EQ(heap.allocations(), 0U);
}

// ---- between processes

class SharedObjects : public EachMethod {};
INSTANTIATE_TEST_SUITE_P(Methods, SharedObjects, every_method(), method_name);

void append(const SharedObject<Lists>& lists, int tag) {
  for (int i = 0; i < 200; ++i) {
    lists.with_lock(
        [&](Lists& all) { all.emplace_back(Numbers(30, tag, lists.allocator<int>())); });
  }
}

TEST_P(SharedObjects, GrowInSeveralProcessesAndOutliveThem) {
  const SharedObject<Lists> lists;
  std::vector<Process> children;
  for (int tag = 0; tag < 3; ++tag) {
    children.emplace_back(with(), append, lists, tag);
    children.back().start();
  }
  append(lists, 3);
  for (Process& child : children) {
    child.join();
    EXPECT_EQ(child.exitcode(), 0);
  }
  std::vector<int> counts(4);
  for (const Numbers& one : *lists) {
    ASSERT_EQ(one.size(), 30U);
    ASSERT_TRUE(std::ranges::all_of(one, [&](int x) { return x == one[0]; }));
    ++counts.at(static_cast<std::size_t>(one[0]));
  }
  EXPECT_EQ(counts, std::vector(4, 200));
}

TEST_P(SharedObjects, AreHandedOverByTheirMaker) {
  auto channel = Channel::make();
  Process maker(
      with(), [](const Channel& out) { out.send(SharedObject<Numbers>(std::size_t{10'000}, 6)); },
      channel);
  maker.start();
  const auto numbers = channel.receive<SharedObject<Numbers>>();
  maker.join();
  EXPECT_EQ(numbers->size(), 10'000U);
  EXPECT_EQ(numbers->back(), 6);
  numbers->push_back(1);
}

#ifdef COHORT_TEST_BOOST
namespace bc = boost::container;
template <class T>
using A = SharedAllocator<T>;
using String = bc::basic_string<char, std::char_traits<char>, A<char>>;
using Map = bc::map<String, int, std::less<>, A<std::pair<const String, int>>>;
using Flat = bc::flat_map<int, String, std::less<>, A<std::pair<int, String>>>;

String text(const SharedHeap& heap, const std::string& from) {
  return {from.data(), from.size(), heap.allocator<char>()};
}

void count_words(const SharedObject<Map>& map, int first) {
  for (int i = first; i < first + 300; ++i) {
    map.with_lock(
        [&](Map& all) { ++all[text(map, "the word of the number " + std::to_string(i))]; });
  }
}

TEST_P(SharedObjects, BoostsMapOfStringsIsFilledByAllAtOnce) {
  const SharedObject<Map> map;
  std::vector<Process> children;
  for (int i = 0; i < 3; ++i) {
    children.emplace_back(with(), count_words, map, 100 * i);
    children.back().start();
  }
  for (Process& child : children) {
    child.join();
    EXPECT_EQ(child.exitcode(), 0);
  }
  EXPECT_EQ(map->size(), 500U);
  int sum = 0;
  for (const auto& [word, count] : *map) {
    ASSERT_EQ(word.find("the word of the number "), 0U) << word;
    sum += count;
  }
  EXPECT_EQ(sum, 900);
  while (!map->empty()) map->erase(map->begin());
  EXPECT_EQ(map.allocations(), 0U);
}

TEST_F(SharedHeapTest, BoostsContainersWork) {
  const SharedObject<bc::list<int, A<int>>> list;
  const SharedObject<bc::deque<int, A<int>>> deque;
  const SharedObject<bc::vector<int, A<int>>> vector(std::size_t{10}, 5);
  const SharedObject<Flat> flat;
  for (int i = 0; i < 1000; ++i) {
    list->push_front(i);
    deque->push_front(i);
    vector->push_back(i);
    flat->emplace(i % 100, text(flat, std::string(static_cast<std::size_t>(i % 100), 'x')));
  }
  EXPECT_EQ(list->size(), 1000U);
  EXPECT_EQ(deque->back(), 0);
  EXPECT_EQ(vector->size(), 1010U);
  EXPECT_EQ(flat->at(99).size(), 99U);
  EXPECT_EQ(flat->at(3), "xxx");
}
#endif

}  // namespace
