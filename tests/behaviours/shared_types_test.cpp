// The behaviours of Value and Array, and of the memory that they lie in.
#include <algorithm>
#include <array>
#include <cohort/array.hpp>
#include <cohort/process.hpp>
#include <cohort/shared_heap.hpp>
#include <cohort/value.hpp>
#include <cstdint>
#include <mutex>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "os/step.hpp"
#include "processes.hpp"

namespace {

using namespace test;
using cohort::Array;
using cohort::BasicLock;
using cohort::Lock;
using cohort::RawArray;
using cohort::RawValue;
using cohort::RLock;
using cohort::Value;

class SharedTypes : public EachMethod {
 protected:
  // Runs f(args...) in a child to its end.
  template <class F, class... Args>
  static void in_child(F f, const Args&... args) {
    Process child(with(), f, args...);
    child.start();
    child.join();
    EXPECT_EQ(child.exitcode(), 0);
  }
};
INSTANTIATE_TEST_SUITE_P(Methods, SharedTypes, every_method(), method_name);

// ---- Value

// A value of each basic type: what it is made with, and what a child puts there.
template <template <class> class V>
using Basics = std::tuple<V<char>, V<signed char>, V<unsigned char>, V<wchar_t>, V<short>,
                          V<unsigned short>, V<int>, V<unsigned>, V<long>, V<unsigned long>,
                          V<long long>, V<unsigned long long>, V<float>, V<double>, V<bool>>;

template <template <class> class V>
Basics<V> basics_of(bool changed) {
  auto pick = [&](auto before, auto after) { return changed ? after : before; };
  return {V<char>(pick('c', 'x')),
          V<signed char>(static_cast<signed char>(pick(-12, 34))),
          V<unsigned char>(static_cast<unsigned char>(pick(150, 250))),
          V<wchar_t>(pick(L'\u20ac', L'\u00e9')),
          V<short>(static_cast<short>(pick(-232, 12345))),
          V<unsigned short>(static_cast<unsigned short>(pick(232, 54321))),
          V<int>(pick(-2'000'000, 70'000)),
          V<unsigned>(pick(3'000'000'000U, 7U)),
          V<long>(pick(-(1L << 60), 1L << 40)),
          V<unsigned long>(pick(1UL << 63, 5UL)),
          V<long long>(pick(-5LL, 1LL << 50)),
          V<unsigned long long>(pick(~0ULL, 1ULL)),
          V<float>(pick(1.5F, -0.25F)),
          V<double>(pick(3.625, -4.25)),
          V<bool>(pick(false, true))};
}

template <template <class> class V>
bool same(const Basics<V>& a, const Basics<V>& b) {
  return std::apply(
      [&](const auto&... x) {
        return std::apply([&](const auto&... y) { return ((x.get() == y.get()) && ...); }, b);
      },
      a);
}

template <template <class> class V>
void change(Basics<V>& values) {
  std::apply(
      [&](const auto&... value) {
        std::apply([&](const auto&... now) { (value.set(now.get()), ...); }, basics_of<V>(true));
      },
      values);
}

// behaviour: Value/raw-variant
TEST_P(SharedTypes, AValueOfEachBasicTypeWithoutALockIsSharedWithAChild) {
  auto values = basics_of<RawValue>(false);
  EXPECT_TRUE(same(values, basics_of<RawValue>(false)));
  in_child(change<RawValue>, values);
  EXPECT_TRUE(same(values, basics_of<RawValue>(true)));
}

TEST_P(SharedTypes, AValueOfEachBasicTypeWithALockIsSharedWithAChild) {
  auto values = basics_of<Value>(false);
  in_child(change<Value>, values);
  EXPECT_TRUE(same(values, basics_of<Value>(true)));
}

void take_lock_and_change(const Value<int>& value) {
  const std::scoped_lock guard(value.lock());
  *value += 1;
}

// behaviour: Value/default-lock-access
TEST_P(SharedTypes, AValueHandsOutItsLockAndItsRawContent) {
  const Value<int> value(5);
  static_assert(std::is_same_v<decltype(value.lock()), const BasicLock&>);
  static_assert(std::is_same_v<decltype(*value), int&>);
  EXPECT_TRUE(value.lock().recursive());
  int& content = *value;
  content = 6;
  EXPECT_EQ(value.get(), 6);
  in_child(take_lock_and_change, value);
  EXPECT_EQ(content, 7);
  EXPECT_FALSE(value.lock().locked());
}

// behaviour: Value/own-lock
TEST_P(SharedTypes, AValueHandsOutTheVeryLockItWasGiven) {
  const Lock lock;
  const RLock recursive;
  const Value<int> value(5, lock);
  EXPECT_EQ(value.lock(), lock);
  EXPECT_EQ(Value<int>(5, recursive).lock(), recursive);
  in_child(
      [](const Value<int>& v, const Lock& l) {
        const std::scoped_lock guard(l);
        v.data() = v.lock() == l && v.lock().owned() ? 8 : 9;
      },
      value, lock);
  EXPECT_EQ(value.get(), 8);
}

template <class T>
concept HasLock = requires(const T& t) {
  t.lock();
};
template <class T>
concept HasWithLock = requires(const T& t) {
  t.with_lock([](auto&&) {});
};

// behaviour: Value/no-lock-no-accessors
TEST_F(SharedTypes, WithoutALockThereIsNoWayToAskForIt) {
  static_assert(HasLock<Value<int>> && HasWithLock<Value<int>>);
  static_assert(!HasLock<RawValue<int>> && !HasWithLock<RawValue<int>>);
}

// ---- Array

const std::vector<int> kNumbers = {680, 626, 934, 821, 150, 233, 548, 982, 714, 831};

// behaviour: Array/from-sequence
TEST_P(SharedTypes, AnArrayOfASequenceHasItsLengthElementsAndSlices) {
  const Array<int> array(kNumbers);
  EXPECT_EQ(array.size(), kNumbers.size());
  EXPECT_EQ(array[3], kNumbers[3]);
  EXPECT_TRUE(std::ranges::equal(array, kNumbers));
  EXPECT_TRUE(std::ranges::equal(array.subspan(2, 5), std::span(kNumbers).subspan(2, 5)));
  const std::array slice = {1, 2, 3, 4};
  std::ranges::copy(slice, array.subspan(4, 4).begin());
  std::vector<int> expected = kNumbers;
  std::ranges::copy(slice, expected.begin() + 4);
  EXPECT_TRUE(std::ranges::equal(array, expected));
  array[0] = -1;
  expected[0] = -1;
  auto channel = Channel::make();
  in_child(
      [](const Array<int>& a, const Channel& out) { out.send(std::vector(a.begin(), a.end())); },
      array, channel);
  EXPECT_EQ(channel.receive<std::vector<int>>(), expected);
}

void running_sums(const RawArray<int>& array) {
  for (std::size_t i = 1; i < array.size(); ++i) array[i] += array[i - 1];
}
void running_sums_of_locked(const Array<int>& array) {
  array.with_lock([&](std::span<int>) { running_sums(array); });
}

std::vector<int> sums_of(std::vector<int> numbers) {
  std::partial_sum(numbers.begin(), numbers.end(), numbers.begin());
  return numbers;
}

// behaviour: Array/change-in-child-seen
TEST_P(SharedTypes, RunningSumsMadeInPlaceByAChildAreSeen) {
  const Array<int> array(kNumbers);
  in_child(running_sums_of_locked, array);
  EXPECT_TRUE(std::ranges::equal(array, sums_of(kNumbers)));
}

// behaviour: Array/raw-variant
TEST_P(SharedTypes, AnArrayWithoutALockDoesTheSame) {
  const RawArray<int> array(kNumbers);
  EXPECT_EQ(array[9], 831);
  std::ranges::fill(array.subspan(4, 2), 7);
  array[5] = 8;
  std::vector<int> expected = kNumbers;
  expected[4] = 7;
  expected[5] = 8;
  EXPECT_TRUE(std::ranges::equal(array, expected));
  in_child(running_sums, array);
  EXPECT_TRUE(std::ranges::equal(array, sums_of(expected)));
}

bool all_zero(const RawArray<std::int64_t>& array) {
  return std::ranges::all_of(array, [](auto x) { return x == 0; });
}

// behaviour: Array/zeroed-by-size
TEST_P(SharedTypes, AnArrayOfASizeIsAllZeroAlsoInMemoryThatWasUsed) {
  for (std::size_t size : {10UL, 700UL, 5000UL, 300'000UL}) {
    for (int round = 0; round < 3; ++round) {
      const Array<std::int64_t> array(size);
      ASSERT_EQ(array.size(), size);
      ASSERT_TRUE(all_zero(array)) << size << ", round " << round;
      std::iota(array.begin(), array.end(), 1);
    }
  }
  auto channel = Channel::make();
  in_child(
      [](const Channel& out) {
        bool zero = true;
        for (int round = 0; round < 3; ++round) {
          const Array<std::int64_t> array(700);
          zero = zero && all_zero(array);
          array.fill(-1);
        }
        out.send(zero);
      },
      channel);
  EXPECT_TRUE(channel.receive<bool>());
}

// behaviour: Array/lock-accessors
TEST_P(SharedTypes, AnArrayHandsOutItsLockOrTheCallersOrHasNone) {
  static_assert(HasLock<Array<int>> && HasWithLock<Array<int>>);
  static_assert(!HasLock<RawArray<int>> && !HasWithLock<RawArray<int>>);
  EXPECT_TRUE(Array<int>(10).lock().recursive());
  const Lock lock;
  const Array<int> array(10, lock);
  EXPECT_EQ(array.lock(), lock);
  EXPECT_EQ(Array<int>({1, 2}, lock).lock(), lock);
  in_child(
      [](const Array<int>& a, const Lock& l) {
        const std::scoped_lock guard(l);
        a[0] = a.lock() == l && a.lock().owned() ? 8 : 9;
      },
      array, lock);
  EXPECT_EQ(array[0], 8);
}

// ---- structs, numbers, arrays and texts together

struct Foo {
  int x = 0;
  double y = 0;
};

template <template <class> class V, template <class> class A>
struct Shared {
  V<int> x;
  V<double> y;
  V<long long> z;
  V<Foo> foo;
  A<double> numbers;
  A<char> text;
};

template <template <class> class V, template <class> class A>
void double_all(Shared<V, A>& s) {
  s.x.set(s.x.get() * 2);
  s.y.set(s.y.get() * 2);
  s.z.set(s.z.get() * 2);
  const Foo foo = s.foo.get();
  s.foo.set({foo.x * 2, foo.y * 2});
  for (double& x : s.numbers) x *= 2;
  s.text.set_text(s.text.text() + s.text.text());
}

template <template <class> class V, template <class> class A>
Shared<V, A> fresh() {
  Shared<V, A> s{V<int>(7),         V<double>(1.0 / 3.0), V<long long>(2LL << 33),
                 V<Foo>(Foo{3, 2}), A<double>(10),        A<char>(20)};
  std::iota(s.numbers.begin(), s.numbers.end(), 0);
  s.text.set_text("hello");
  return s;
}

template <template <class> class V, template <class> class A>
void expect_doubled(const Shared<V, A>& s) {
  EXPECT_EQ(s.x.get(), 14);
  EXPECT_DOUBLE_EQ(s.y.get(), 2.0 / 3.0);
  EXPECT_EQ(s.z.get(), 2LL << 34);
  EXPECT_EQ(s.foo.get().x, 6);
  EXPECT_EQ(s.foo.get().y, 4);
  for (std::size_t i = 0; i < 10; ++i) EXPECT_EQ(s.numbers[i], static_cast<double>(2 * i));
  EXPECT_EQ(s.text.text(), "hellohello");
}

// behaviour: SharedTypes/with-lock
TEST_P(SharedTypes, StructsNumbersArraysAndTextsWithALockAroundEachAreChangedByAChild) {
  auto shared = fresh<Value, Array>();
  in_child(double_all<Value, Array>, shared);
  expect_doubled(shared);
}

TEST_P(SharedTypes, StructsNumbersArraysAndTextsWithoutALockAreChangedByAChild) {
  auto shared = fresh<RawValue, RawArray>();
  in_child(double_all<RawValue, RawArray>, shared);
  expect_doubled(shared);
}

// behaviour: SharedTypes/char-array-as-string
TEST_P(SharedTypes, AnArrayOfCharReadsAndTakesText) {
  const RawArray<char> text(20);
  text.set_text("hello");
  EXPECT_EQ(text.text(), "hello");
  in_child([](const RawArray<char>& t) { t.set_text(t.text() + t.text()); }, text);
  EXPECT_EQ(text.text(), "hellohello");
  text.set_text("hi");
  EXPECT_EQ(text.text(), "hi");
}

// behaviour: SharedTypes/copy-is-independent
TEST_P(SharedTypes, ACopyOfAStructKeepsItsValues) {
  const Value<Foo> foo(Foo{2, 5.0});
  const Value<Foo> copy(foo.get());
  in_child([](const Value<Foo>& original) { original.set({0, 0}); }, foo);
  EXPECT_EQ(foo->x, 0);
  EXPECT_EQ(copy->x, 2);
  EXPECT_EQ(copy->y, 5.0);
  const Array<int> numbers({1, 2});
  const Array<int> others(numbers.span());
  numbers[0] = 9;
  EXPECT_EQ(others[0], 1);
}

// ---- freeing inside an allocation

using Bytes = std::vector<char, cohort::SharedAllocator<char>>;

// What goes while something else is on its way: one of these at each step of an allocation or of a
// release, as when a destructor runs there.
struct Garbage {
  std::vector<RawArray<char>> arrays;
  std::vector<cohort::SharedObject<Bytes>> objects;
  bool busy = false;
  int dropped = 0;

  void refill() {
    while (arrays.size() < 40) arrays.emplace_back(std::size_t{arrays.size()} * 700);
    while (objects.size() < 40) objects.emplace_back(std::size_t{100}, 'x');
  }
  void drop_one() {
    if (busy || arrays.empty() || objects.empty()) return;
    busy = true;
    arrays.pop_back();
    objects.pop_back();
    ++dropped;
    busy = false;
  }
};
Garbage* garbage = nullptr;

bool frees_inside_allocations() {
  Garbage mine;
  garbage = &mine;
  for (int round = 0; round < 20; ++round) {
    mine.refill();
    cohort::os::step_hook = [](const char* name) {
      // There this process's list of handles is locked, and no code of the program's ever runs.
      if (std::string_view(name) != "shared_block.unmarked") garbage->drop_one();
    };
    for (std::size_t size : {10UL, 9'000UL, 200'000UL}) {
      const Array<char> array(size);
      const cohort::SharedObject<Bytes> object(size, 'y');
      object->resize(2 * size);
    }
    cohort::os::step_hook = nullptr;
  }
  return mine.dropped > 100;
}

// behaviour: Heap/free-from-destructor
TEST_P(SharedTypes, FreeingInTheMiddleOfAnAllocationDoesNotDeadlock) {
  EXPECT_TRUE(frees_inside_allocations());
  auto channel = Channel::make();
  in_child([](const Channel& out) { out.send(frees_inside_allocations()); }, channel);
  EXPECT_TRUE(channel.receive<bool>());
}

}  // namespace
