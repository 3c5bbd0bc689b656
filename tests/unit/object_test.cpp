#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cohort/object.hpp>
#include <complex>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <limits>
#include <list>
#include <map>
#include <optional>
#include <ranges>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace cohort::managers {
namespace {

using Kind = Object::Kind;

static_assert(sizeof(Object) == 16);
static_assert(std::is_nothrow_move_constructible_v<Object>);
static_assert(std::ranges::forward_range<Object>);

static_assert(ObjectConvertible<const char*> && !ObjectReadable<const char*>);
static_assert(ObjectConvertible<std::string_view> && !ObjectReadable<std::string_view>);
static_assert(ObjectConvertible<std::span<const std::byte>>);
static_assert(!ObjectReadable<std::span<const std::byte>>);
static_assert(ObjectConvertible<std::map<int, std::vector<std::optional<std::string>>>>);
static_assert(ObjectReadable<std::map<int, std::vector<std::optional<std::string>>>>);
// Neither pointers nor characters become numbers or truth values.
static_assert(!ObjectConvertible<int*> && !ObjectConvertible<void*> && !ObjectConvertible<char>);
static_assert(!ObjectConvertible<std::filesystem::path>);
static_assert(!ObjectConvertible<std::vector<std::thread>>);
static_assert(!ObjectConvertible<Object::Instance>);

TEST(Object, IsMadeFromPlainValues) {
  EXPECT_TRUE(Object().is_none());
  EXPECT_TRUE(Object(nullptr).is_none());
  EXPECT_TRUE(Object(std::nullopt).is_none());
  EXPECT_EQ(Object(true).kind(), Kind::boolean);
  EXPECT_EQ(Object(1).kind(), Kind::integer);
  EXPECT_EQ(Object(1.5F).kind(), Kind::floating);
  EXPECT_EQ(Object(std::complex<float>(1, 2)).kind(), Kind::complex);
  EXPECT_EQ(Object("text").kind(), Kind::str);
  EXPECT_EQ(Object(std::string("text")).text(), "text");
  EXPECT_EQ(Object(std::vector<std::byte>(3)).kind(), Kind::bytes);
  EXPECT_EQ(Object(std::array<std::byte, 2>()).size(), 2U);
}

TEST(Object, IsMadeFromContainers) {
  const auto repr = [](const Object& object) { return object.repr(); };
  EXPECT_EQ(repr(std::vector<int>{1, 2}), "[1, 2]");
  EXPECT_EQ(repr(std::vector<bool>{true, false}), "[True, False]");
  EXPECT_EQ(repr(std::deque<std::string>{"a"}), "['a']");
  EXPECT_EQ(repr(std::list<double>{0.5}), "[0.5]");
  EXPECT_EQ(repr(std::array<int, 2>{3, 4}), "[3, 4]");
  const int numbers[] = {5, 6};
  EXPECT_EQ(repr(numbers), "[5, 6]");
  EXPECT_EQ(repr(std::views::iota(0, 3)), "[0, 1, 2]");
  EXPECT_EQ(repr(std::pair(1, "b")), "(1, 'b')");
  EXPECT_EQ(repr(std::tuple(1, 2.0, nullptr)), "(1, 2.0, None)");
  EXPECT_EQ(repr(std::tuple<>()), "()");
  EXPECT_EQ(repr(std::map<std::string, int>{{"a", 1}, {"b", 2}}), "{'a': 1, 'b': 2}");
  EXPECT_EQ(repr(std::unordered_map<int, int>{{1, 2}}), "{1: 2}");
  EXPECT_EQ(repr(std::set<int>{2, 1}), "{1, 2}");
  EXPECT_EQ(repr(std::unordered_set<int>{7}), "{7}");
  EXPECT_EQ(repr(std::optional<int>()), "None");
  EXPECT_EQ(repr(std::optional(3)), "3");
}

TEST(Object, ReadsBackAsWhatItWasMadeFrom) {
  const auto same = [](const auto& value) {
    return Object(value).template as<std::remove_cvref_t<decltype(value)>>() == value;
  };
  EXPECT_TRUE(same(true));
  EXPECT_TRUE(same(-5));
  EXPECT_TRUE(same(std::numeric_limits<std::uint64_t>::max()));
  EXPECT_TRUE(same(std::numeric_limits<std::int64_t>::min()));
  EXPECT_TRUE(same(2.5));
  EXPECT_TRUE(same(std::complex(1.0, -2.0)));
  EXPECT_TRUE(same(std::string("text")));
  EXPECT_TRUE(same(std::vector<std::byte>{std::byte{1}, std::byte{255}}));
  EXPECT_TRUE(same(std::array<std::byte, 1>{std::byte{7}}));
  EXPECT_TRUE(same(std::vector<bool>{true, false}));
  EXPECT_TRUE(same(std::list<std::string>{"a", "b"}));
  EXPECT_TRUE(same(std::array<int, 3>{1, 2, 3}));
  EXPECT_TRUE(same(std::tuple(1, std::string("b"), 2.5)));
  EXPECT_TRUE(same(std::pair(1, std::optional<int>())));
  EXPECT_TRUE(same(std::map<std::string, std::vector<int>>{{"a", {1}}, {"b", {}}}));
  EXPECT_TRUE(same(std::unordered_map<int, std::string>{{1, "one"}}));
  EXPECT_TRUE(same(std::set<std::string>{"x", "y"}));
}

TEST(Object, ReadsOnlyWhatItHolds) {
  EXPECT_THROW(Object("1").as<int>(), TypeMismatch);
  EXPECT_THROW(Object(true).as<int>(), TypeMismatch);
  EXPECT_THROW(Object(1).as<bool>(), TypeMismatch);
  EXPECT_THROW(Object(1.0).as<int>(), TypeMismatch);
  EXPECT_THROW(Object(1).as<std::string>(), TypeMismatch);
  EXPECT_THROW(Object::bytes("a").as<std::string>(), TypeMismatch);
  EXPECT_THROW(Object().as<std::string>(), TypeMismatch);
  EXPECT_THROW(Object::set({1}).as<std::vector<int>>(), TypeMismatch);
  EXPECT_THROW(Object::list({1, "a"}).as<std::vector<int>>(), TypeMismatch);
  EXPECT_THROW((Object::list({}).as<std::map<int, int>>()), TypeMismatch);
  EXPECT_EQ(Object(1).as<double>(), 1.0);
  EXPECT_EQ(Object::tuple({1, 2}).as<std::vector<int>>(), (std::vector{1, 2}));
  try {
    static_cast<void>(Object::dict().as<int>());
    FAIL();
  } catch (const TypeMismatch& error) {
    EXPECT_EQ(error.expected(), "int");
    EXPECT_EQ(error.found(), "dict");
  }
}

TEST(Object, ChecksTheRangeOfNumbers) {
  EXPECT_EQ(Object(255).as<std::uint8_t>(), 255);
  EXPECT_THROW(Object(256).as<std::uint8_t>(), std::out_of_range);
  EXPECT_THROW(Object(-1).as<std::uint64_t>(), std::out_of_range);
  EXPECT_THROW(Object(-129).as<std::int8_t>(), std::out_of_range);
  EXPECT_THROW(Object(std::uint64_t{1} << 63).as<std::int64_t>(), std::out_of_range);
  EXPECT_THROW(Object::integer("18446744073709551616").as<std::uint64_t>(), std::out_of_range);
  EXPECT_THROW(Object::integer("1" + std::string(400, '0')).as<double>(), std::out_of_range);
  EXPECT_THROW((Object::list({1, 2}).as<std::array<int, 3>>()), std::out_of_range);
  EXPECT_THROW((Object::tuple({1, 2}).as<std::tuple<int>>()), std::out_of_range);
  try {
    static_cast<void>(Object(300).as<std::uint8_t>());
    FAIL();
  } catch (const std::out_of_range& error) {
    EXPECT_STREQ(error.what(), "300 does not fit into an unsigned integer of 8 bits");
  }
}

TEST(Object, TellsWhetherItCanBeRead) {
  EXPECT_TRUE(Object(5).is<int>());
  EXPECT_FALSE(Object(500).is<std::uint8_t>());
  EXPECT_FALSE(Object("5").is<int>());
  EXPECT_TRUE(Object::list({1, 2}).is<std::vector<int>>());
  EXPECT_FALSE(Object::list({1, "2"}).is<std::vector<int>>());
  EXPECT_TRUE(Object::list({1, "2"}).is<std::vector<Object>>());
}

TEST(Object, KeepsIntegersOfAnySize) {
  for (const auto* digits :
       {"0", "-1", "9223372036854775807", "-9223372036854775808", "9223372036854775808",
        "-9223372036854775809", "18446744073709551616", "1000000000000000000000000000000",
        "-340282366920938463463374607431768211456", "4294967296000000000000000001"}) {
    const auto object = Object::integer(std::string_view(digits));
    EXPECT_EQ(object.repr(), digits);
    EXPECT_EQ(Object::integer(object.twos_complement()), object);
  }
  EXPECT_EQ(Object::integer("+12"), 12);
  EXPECT_EQ(Object::integer("-0"), 0);
  EXPECT_THROW(Object::integer(""), std::invalid_argument);
  EXPECT_THROW(Object::integer("-"), std::invalid_argument);
  EXPECT_THROW(Object::integer("1x"), std::invalid_argument);
  EXPECT_EQ(Object::integer("1267650600228229401496703205376").as<double>(), std::ldexp(1.0, 100));
}

TEST(Object, RoundsLargeIntegersToTheNearestDouble) {
  // Halfway between two doubles: to the even one, unless a single bit far below says otherwise.
  EXPECT_EQ(Object::integer("36893488147419107328").as<double>(), 36893488147419103232.0);
  EXPECT_EQ(Object::integer("36893488147419107329").as<double>(), 36893488147419111424.0);
  EXPECT_EQ(Object::integer("-36893488147419107329").as<double>(), -36893488147419111424.0);
}

// ---- equality and hashes

TEST(Object, NumbersAreEqualAcrossTypes) {
  const auto equal = [](const Object& a, const Object& b) {
    EXPECT_EQ(a == b, b == a);
    if (a == b) {
      EXPECT_EQ(a.hash(), b.hash()) << a << " and " << b;
    }
    return a == b;
  };
  EXPECT_TRUE(equal(1, 1.0));
  EXPECT_TRUE(equal(1, true));
  EXPECT_TRUE(equal(0.0, -0.0));
  EXPECT_TRUE(equal(Object::complex(2, 0), 2));
  EXPECT_TRUE(equal(Object::integer("1267650600228229401496703205376"), std::ldexp(1.0, 100)));
  EXPECT_TRUE(equal(-std::ldexp(1.0, 63), std::numeric_limits<std::int64_t>::min()));
  EXPECT_TRUE(equal(std::ldexp(1.0, 63), std::uint64_t{1} << 63));
  EXPECT_TRUE(equal(-std::ldexp(1.0, 64), Object::integer("-18446744073709551616")));
  EXPECT_FALSE(equal(9007199254740993, 9007199254740992.0));  // what a double would round
  EXPECT_FALSE(equal(1, "1"));
  EXPECT_FALSE(equal(0, nullptr));
  EXPECT_FALSE(equal(Object::complex(2, 1), 2));
  EXPECT_FALSE(
      equal(Object::integer("99999999999999999999"), std::numeric_limits<double>::infinity()));
}

TEST(Object, ContainersAreEqualAsInPython) {
  EXPECT_EQ(Object::dict({{"a", 1}, {"b", 2}}), Object::dict({{"b", 2}, {"a", 1}}));
  EXPECT_NE(Object::dict({{"a", 1}}), Object::dict({{"a", 2}}));
  EXPECT_NE(Object::dict({{"a", 1}}), Object::dict({{"b", 1}}));
  EXPECT_EQ(Object::set({1, 2}), Object::frozenset({2, 1}));
  EXPECT_NE(Object::list({1}), Object::tuple({1}));
  EXPECT_NE(Object::list({1}), Object::list({1, 1}));
  EXPECT_EQ(Object::bytes("a"), Object::bytearray("a"));
  EXPECT_NE(Object::bytes("a"), Object("a"));
  EXPECT_EQ(Object::exception("KeyError", {"x"}), Object::exception("KeyError", {"x"}));
  EXPECT_NE(Object::exception("KeyError", {"x"}), Object::exception("ValueError", {"x"}));
}

TEST(Object, NanIsFoundButEqualsNothing) {
  const Object nan = std::nan("");
  EXPECT_NE(nan, nan);
  EXPECT_TRUE(Object::list({1, nan}).contains(nan));
  EXPECT_EQ(Object::tuple({nan}), Object::tuple({nan}));
  EXPECT_EQ(Object::dict({{nan, 1}, {std::nan("2"), 2}}).size(), 1U);
}

TEST(Object, OnlyWhatCannotChangeIsHashable) {
  for (const auto& object : {Object(), Object(1), Object("a"), Object::tuple({1, "b"}),
                             Object::frozenset({1}), Object::range(0, 3), Object::complex(1, 2)}) {
    EXPECT_TRUE(object.hashable()) << object;
  }
  for (const auto& object :
       {Object::list(), Object::dict(), Object::set({}), Object::tuple({Object::list()}),
        Object::bytearray("a"), Object::exception("KeyError"), Object::slice(1, 2)}) {
    EXPECT_FALSE(object.hashable()) << object;
    EXPECT_THROW(Object::set({object}), TypeMismatch);
  }
}

// ---- dicts, sets and lists

TEST(Object, DictsKeepTheOrderOfInsertion) {
  auto dict = Object::dict({{"b", 1}, {"a", 2}, {"b", 3}});
  EXPECT_EQ(dict.repr(), "{'b': 3, 'a': 2}");
  dict[1] = "one";
  dict[1.0] = "still one";  // the first key stays
  EXPECT_EQ(dict.repr(), "{'b': 3, 'a': 2, 1: 'still one'}");
  EXPECT_TRUE(dict.erase("b"));
  EXPECT_FALSE(dict.erase("b"));
  dict["b"] = nullptr;
  EXPECT_EQ(dict.repr(), "{'a': 2, 1: 'still one', 'b': None}");
  EXPECT_TRUE(dict.contains(true));
  EXPECT_EQ(dict.at("a"), 2);
  EXPECT_EQ(dict.find("nowhere"), nullptr);
  EXPECT_THROW(dict.at("nowhere"), KeyError);
}

TEST(Object, ADictAgreesWithAMapThroughManyChanges) {
  auto dict = Object::dict();
  std::map<int, int> map;
  std::uint32_t random = 1;
  for (int i = 0; i < 50'000; ++i) {
    random = random * 1664525 + 1013904223;
    const int key = static_cast<int>(random >> 16) % 300;
    if ((random >> 8) % 3 == 0) {
      EXPECT_EQ(dict.erase(key), map.erase(key) == 1);
    } else {
      dict[key] = i;
      map[key] = i;
    }
    ASSERT_EQ(dict.size(), map.size());
  }
  EXPECT_EQ((dict.as<std::map<int, int>>()), map);
  for (const auto& [key, value] : dict.items()) EXPECT_EQ(value, map.at(key.as<int>()));
}

// Both ends of the table, where erased places pile up.
TEST(Object, TakingTheFirstOrLastItemAgainAndAgainIsFine) {
  auto stack = Object::dict();
  auto queue = Object::dict();
  for (int i = 0; i < 20'000; ++i) {
    stack[i] = i;
    if (i % 2 == 1) {
      EXPECT_TRUE(stack.erase(i));
    }
    queue[i] = i;
    if (i >= 10) {
      EXPECT_TRUE(queue.erase(i - 10));
    }
  }
  EXPECT_EQ(stack.size(), 10'000U);
  EXPECT_EQ(queue.size(), 10U);
  EXPECT_EQ(*queue.begin(), 19'990);
}

TEST(Object, SetsHoldEveryElementOnce) {
  auto set = Object::set({1, 1.0, "a"});
  EXPECT_EQ(set.size(), 2U);
  EXPECT_FALSE(set.add("a"));
  EXPECT_TRUE(set.add("b"));
  EXPECT_TRUE(set.erase(true));
  EXPECT_EQ(set.repr(), "{'a', 'b'}");
  EXPECT_THROW(Object::frozenset({1}).add(2), TypeMismatch);
}

TEST(Object, ListsCountFromBothEnds) {
  auto list = Object::list({1, 2, 3});
  EXPECT_EQ(list[0], 1);
  EXPECT_EQ(list.at(-1), 3);
  EXPECT_THROW(list.at(3), IndexError);
  EXPECT_THROW(list.at(-4), IndexError);
  EXPECT_THROW(list.at("0"), TypeMismatch);
  list[-1] = "last";
  list.append(4);
  list.insert(0, 0);
  EXPECT_TRUE(list.erase(1));
  EXPECT_FALSE(list.erase(9));
  EXPECT_EQ(list.repr(), "[0, 2, 'last', 4]");
  EXPECT_TRUE(list.contains(2.0));
  list.clear();
  EXPECT_TRUE(list.empty());
  EXPECT_THROW(list.insert(1, 1), IndexError);
}

TEST(Object, TuplesCannotBeChanged) {
  auto tuple = Object::tuple({1, 2});
  EXPECT_EQ(tuple.at(1), 2);
  EXPECT_THROW(tuple[0] = 5, TypeMismatch);
  EXPECT_THROW(tuple.append(3), TypeMismatch);
  EXPECT_THROW(tuple.clear(), TypeMismatch);
}

TEST(Object, CopiesAreIndependent) {
  auto list = Object::list({1});
  const auto copy = list;
  list.append(2);
  EXPECT_EQ(copy, Object::list({1}));
  auto outer = Object::dict({{"list", list}});
  outer["list"].append(3);
  EXPECT_EQ(list, Object::list({1, 2}));
  EXPECT_EQ(outer.at("list"), Object::list({1, 2, 3}));
  outer["self"] = outer;  // a copy: nothing contains itself
  EXPECT_EQ(outer.repr(), "{'list': [1, 2, 3], 'self': {'list': [1, 2, 3]}}");
}

TEST(Object, WhatWasMovedFromIsNone) {
  auto list = Object::list({1});
  const auto other = std::move(list);
  EXPECT_TRUE(list.is_none());  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(other.size(), 1U);
}

TEST(Object, ThreadsMayUseCopiesOfTheSameContent) {
  const auto shared = Object::dict({{"a", Object::list({1, 2})}});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([copy = shared, t]() mutable {
      for (int i = 0; i < 1000; ++i) {
        auto mine = copy;
        mine["a"].append(t);
        EXPECT_EQ(mine.at("a").size(), 3U);
        EXPECT_EQ(mine.at("a").at(-1), t);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(shared.repr(), "{'a': [1, 2]}");
}

TEST(Object, DeepNestsAreFreedWithoutRecursion) {
  Object nest;
  for (int i = 0; i < 1'000'000; ++i) {
    nest = i % 3 == 0   ? Object::list({std::move(nest)})
           : i % 3 == 1 ? Object::dict({{"k", std::move(nest)}})
                        : Object::exception("ValueError", {std::move(nest)});
  }
  EXPECT_THROW(static_cast<void>(nest.repr()), SerializationError);
  const auto other = Object::list({nest});
  EXPECT_TRUE(other == Object::list({nest}));  // the same content
  nest = nullptr;
}

// ---- iterating

TEST(Object, IteratesAsPythonDoes) {
  const auto join = [](const Object& object) {
    std::string text;
    for (const auto& element : object) text += element.str() + ' ';
    return text;
  };
  EXPECT_EQ(join(Object::list({1, "b"})), "1 b ");
  EXPECT_EQ(join(Object::tuple({})), "");
  EXPECT_EQ(join(Object::dict({{"k", 1}, {"l", 2}})), "k l ");
  EXPECT_EQ(join(Object::set({3})), "3 ");
  EXPECT_THROW(join(5), TypeMismatch);
  auto dict = Object::dict({{1, 1}, {2, 2}, {3, 3}});
  dict.erase(1);
  EXPECT_EQ(join(dict), "2 3 ");
  EXPECT_THROW(Object::list().items(), TypeMismatch);
}

TEST(Object, ListsWhatIteratingWouldGive) {
  const auto list = [](const Object& object) { return object.to_list().repr(); };
  EXPECT_EQ(list(Object::range(0, 3)), "[0, 1, 2]");
  EXPECT_EQ(list(Object::range(10, 0, -4)), "[10, 6, 2]");
  EXPECT_EQ(list(Object::range(5, 5)), "[]");
  const auto min = std::numeric_limits<std::int64_t>::min();
  const auto max = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(list(Object::range(max - 1, max, 5)), "[9223372036854775806]");
  EXPECT_EQ(Object::range(min, max).size(), std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(list("h\u00e9"), "['h', '\u00e9']");
  EXPECT_EQ(list(Object::bytes("ab")), "[97, 98]");
  EXPECT_EQ(list(Object::dict({{"a", 1}})), "['a']");
  EXPECT_EQ(
      list(Object::instance({"array", "array", {Object::tuple({"B", Object::bytes("a")})}, {}})),
      "[97]");
  const auto iterator = [](const char* name, Object state) {
    return Object::instance({"builtins", name, Object::tuple({Object::list({1, 2, 3})}), state});
  };
  EXPECT_EQ(list(iterator("iter", 1)), "[2, 3]");
  EXPECT_EQ(list(iterator("iter", 9)), "[]");
  EXPECT_EQ(list(iterator("reversed", 1)), "[2, 1]");
  EXPECT_EQ(list(iterator("reversed", nullptr)), "[3, 2, 1]");
  EXPECT_EQ(list(iterator("reversed", -1)), "[]");
  EXPECT_EQ(
      list(Object::instance({"collections", "deque", Object::tuple({Object::list({1})}), {}})),
      "[1]");
  EXPECT_THROW(list(5), TypeMismatch);
  EXPECT_THROW(Object::range(0, 1'000'000'000'000).to_list(), std::length_error);
  EXPECT_THROW(Object::list({1, 2}).to_list(1), std::length_error);
}

// ---- printing

TEST(Object, PrintsAsPythonDoes) {
  const auto repr = [](const Object& object) { return object.repr(); };
  EXPECT_EQ(repr(Object::dict({{"a", 1}, {"b", Object::list({1, 2.5, nullptr, true})}})),
            "{'a': 1, 'b': [1, 2.5, None, True]}");
  EXPECT_EQ(repr(1e16), "1e+16");
  EXPECT_EQ(repr(123456789012345.0), "123456789012345.0");
  EXPECT_EQ(repr(0.0001), "0.0001");
  EXPECT_EQ(repr(0.00001), "1e-05");
  EXPECT_EQ(repr(-0.0), "-0.0");
  EXPECT_EQ(repr(Object::complex(0, 2)), "2j");
  EXPECT_EQ(repr(Object::complex(-0.0, -2.5)), "(-0-2.5j)");
  EXPECT_EQ(repr("it's"), "\"it's\"");
  EXPECT_EQ(repr("a\tb\x01\u00e9\u200b"), "'a\\tb\\x01\u00e9\\u200b'");
  EXPECT_EQ(repr(Object::bytes("a'\xff")), "b\"a'\\xff\"");
  EXPECT_EQ(repr(Object::set({})), "set()");
  EXPECT_EQ(repr(Object::frozenset({1})), "frozenset({1})");
  EXPECT_EQ(repr(Object::exception("KeyError", {"x"})), "KeyError('x')");
  EXPECT_EQ(repr(Object::range(0, 3)), "range(0, 3)");
  EXPECT_EQ(repr(Object::slice(1, nullptr)), "slice(1, None, None)");
  EXPECT_EQ(Object("text").str(), "text");
  std::ostringstream out;
  out << Object::tuple({1});
  EXPECT_EQ(out.str(), "(1,)");
}

TEST(Object, NamesItsTypeAsPythonDoes) {
  EXPECT_EQ(Object().type_name(), "NoneType");
  EXPECT_EQ(Object(1.5).type_name(), "float");
  EXPECT_EQ(Object::frozenset({}).type_name(), "frozenset");
  EXPECT_EQ(Object::exception("KeyError").type_name(), "KeyError");
  EXPECT_TRUE(Object::exception("KeyError").is_instance("builtins", "KeyError"));
  EXPECT_FALSE(Object::exception("KeyError").is_instance("app", "KeyError"));
}

}  // namespace
}  // namespace cohort::managers
