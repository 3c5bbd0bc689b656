#include <gtest/gtest.h>

#include <cohort/process.hpp>
#include <cohort/serialize.hpp>
#include <cohort/shareable_list.hpp>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <list>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "processes.hpp"
#include "shared_names.hpp"

namespace {

using cohort::ShareableList;
using cohort::SharedMemory;
using Item = ShareableList::Item;
using Bytes = std::vector<std::byte>;

Bytes bytes_of(std::string_view text) {
  auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

class ShareableListTest : public test::Watched {
 protected:
  test::SharedNames name;
};

TEST_F(ShareableListTest, LiesInMemoryAsPythonLaysItOut) {
  ShareableList list({std::int64_t{-2}, "abc", true, std::monostate()}, name("layout"));
  auto bytes = list.shm().bytes();
  ASSERT_EQ(bytes.size(), 8U + 5 * 8 + 4 * 8 + 4 * 8 + 4);
  std::int64_t words[10];
  std::memcpy(words, bytes.data(), sizeof words);
  EXPECT_EQ(std::vector<std::int64_t>(words, words + 7),
            (std::vector<std::int64_t>{4, 0, 8, 16, 24, 32, -2}));
  std::string rest(reinterpret_cast<const char*>(bytes.data()) + 56, bytes.size() - 56);
  EXPECT_EQ(rest, std::string("abc\0\0\0\0\0"
                              "\0\0\0\0\0\0\0\1"
                              "\0\0\0\0\0\0\0\0"
                              "q\0\0\0\0\0\0\0"
                              "8s\0\0\0\0\0\0"
                              "xxxxxxx?"
                              "xxxxxx?x"
                              "\0\1\0\3",
                              60));
}

TEST_F(ShareableListTest, RoomGrowsInStepsOfEightWithOneByteToSpareAtLeast) {
  for (auto [length, format] :
       {std::pair{0, "8s"}, {7, "8s"}, {8, "16s"}, {15, "16s"}, {16, "24s"}}) {
    std::string text(static_cast<std::size_t>(length), 'x');
    ShareableList list({Item(text)}, name(std::to_string(length)));
    EXPECT_EQ(list.format(), format);
    EXPECT_EQ(list.get<std::string>(0), text);
  }
}

TEST_F(ShareableListTest, KeepsTheExtremesOfEachKind) {
  std::vector<Item> items{std::numeric_limits<std::int64_t>::min(),
                          std::numeric_limits<std::int64_t>::max(),
                          -0.0,
                          std::numeric_limits<double>::infinity(),
                          std::numeric_limits<double>::denorm_min(),
                          "",
                          Bytes(),
                          false,
                          std::string(100'000, 'y'),
                          "inner\0nul" + std::string("\0x", 2)};
  ShareableList list(items, name("extremes"));
  EXPECT_EQ(std::vector<Item>(list.begin(), list.end()), items);
}

TEST_F(ShareableListTest, IsMadeFromAnyRange) {
  std::list<int> numbers{1, 2, 3};
  ShareableList ints(numbers, name("ints"));
  EXPECT_EQ(ints.get<std::int64_t>(2), 3);
  std::vector<std::string> words{"one", "two"};
  ShareableList texts(words);
  EXPECT_EQ(texts[1], Item("two"));
  EXPECT_TRUE(texts.shm().name().starts_with("psm_"));
  texts.shm().unlink();
  ShareableList empty;
  EXPECT_TRUE(empty.empty());
  EXPECT_EQ(empty.shm().size(), 16U);
  empty.shm().unlink();
}

TEST_F(ShareableListTest, AnotherKindChangesTheFormatAsPythonDoes) {
  ShareableList list({"a text of some length", 7, 2.5}, name("kinds"));
  list.set(0, 42);
  EXPECT_EQ(list.format(0), "q");
  EXPECT_EQ(list[0], Item(42));
  list.set(0, "still as much room");
  EXPECT_EQ(list.format(0), "24s");
  EXPECT_EQ(list[0], Item("still as much room"));
  list.set(1, bytes_of("12345678"));
  EXPECT_EQ(list.format(1), "8s");
  EXPECT_EQ(list[1], Item(bytes_of("12345678")));
  list.set(1, std::monostate());
  EXPECT_EQ(list.format(1), "xxxxxx?x");
  EXPECT_EQ(list[1], Item(std::monostate()));
  list.set(1, true);
  EXPECT_EQ(list[1], Item(true));
  EXPECT_EQ(list[2], Item(2.5));
}

TEST_F(ShareableListTest, ReadingAsAnotherTypeNamesBoth) {
  ShareableList list({1, "text"}, name("types"));
  EXPECT_EQ(list.get<std::int64_t>(0), 1);
  try {
    list.get<double>(1);
    FAIL() << "a text was read as a number";
  } catch (const cohort::TypeMismatch& error) {
    EXPECT_EQ(error.expected(), "double");
    EXPECT_EQ(error.found(), "std::string");
  }
}

TEST_F(ShareableListTest, ShowsItselfAsPythonDoes) {
  ShareableList list({1, 2.5, "it's", true, std::monostate(), bytes_of("b\x01")}, name("shown"));
  std::ostringstream text;
  text << list;
  EXPECT_EQ(text.str(), "ShareableList([1, 2.5, 'it\\'s', True, None, b'b\\x01'], name='" +
                            name("shown") + "')");
}

TEST_F(ShareableListTest, ACopyKeepsTheRoomOfShortenedText) {
  ShareableList list({"a text of some length"}, name("long"));
  list.set(0, "short");
  ShareableList copy = list.copy(name("copy"));
  EXPECT_EQ(copy.format(), "24s");
  copy.set(0, "a text of such a length");
  EXPECT_EQ(list[0], Item("short"));
}

TEST_F(ShareableListTest, RefusesTextThatNoFormatCanDescribe) {
  EXPECT_THROW(ShareableList({Item(std::string(10'000'000, 'x'))}, name("huge")),
               std::invalid_argument);
  EXPECT_FALSE(test::in_dev_shm(name("huge")));
  EXPECT_THROW(ShareableList({1}, "a/b"), std::invalid_argument);
}

// ---- blocks that are no lists

class HostileBlock : public ShareableListTest {
 protected:
  SharedMemory block_ = SharedMemory::create(name("hostile"), 200);
  void put(std::size_t word, std::int64_t value) {
    std::memcpy(block_.bytes().data() + 8 * word, &value, 8);
  }
  ShareableList open() { return ShareableList::open(name("hostile")); }
};

TEST_F(HostileBlock, AWrongLengthIsRefused) {
  for (std::int64_t length :
       {std::int64_t{-1}, std::numeric_limits<std::int64_t>::min(),
        std::numeric_limits<std::int64_t>::max(), std::int64_t{8}, std::int64_t{1} << 61}) {
    put(0, length);
    EXPECT_THROW(open(), cohort::Error) << length;
  }
  SharedMemory::create(name("tiny"), 15);
  EXPECT_THROW(ShareableList::open(name("tiny")), cohort::Error);
}

TEST_F(HostileBlock, OffsetsOutsideOfTheBlockAreRefused) {
  put(0, 2);
  using Offsets = std::array<std::int64_t, 3>;
  for (Offsets offsets : {Offsets{0, -8, 8}, Offsets{0, 8, 1 << 30}, Offsets{0, 8, 192},
                          Offsets{8, 16, 24}, Offsets{0, 16, 8}, Offsets{0, 0, 8},
                          Offsets{0, std::numeric_limits<std::int64_t>::max(), 8}}) {
    for (std::size_t i = 0; i < 3; ++i) put(1 + i, offsets[i]);
    EXPECT_THROW(open(), cohort::Error) << offsets[1] << " " << offsets[2];
  }
}

TEST_F(HostileBlock, FormatsThatReadOutOfTheSlotAreRefused) {
  ShareableList list({"text", 5}, name("formats"));
  auto bytes = list.shm().bytes();
  std::size_t formats = 8 + 3 * 8 + 2 * 8;
  for (const char* format :
       {"99s\0\0\0\0", "9999999s", "-1s\0\0\0\0", "s\0\0\0\0\0\0", "\0\0\0\0\0\0\0",
        "q\0\0\0\0\0\0", "8sxxxxxx", "zzzzzzzz", "9s\0\0\0\0\0"}) {
    std::memcpy(bytes.data() + formats, format, 8);
    EXPECT_THROW(list.get(0), cohort::Error) << format;
    EXPECT_EQ(list[1], Item(5));
  }
  bytes[formats + 16] = std::byte{9};  // what to make of it
  EXPECT_THROW(list.get(0), cohort::Error);
  list.set(0, "whole");  // writing mends it
  EXPECT_EQ(list[0], Item("whole"));
}

TEST_F(HostileBlock, RandomBytesAreReadWithoutHarm) {
  std::mt19937 random(1);
  std::uniform_int_distribution<int> byte(0, 255);
  std::uniform_int_distribution<std::size_t> place(0, 150);
  int opened = 0;
  for (int round = 0; round < 20'000; ++round) {
    ShareableList good({"text", 5, 2.5}, name("good" + std::to_string(round % 2)));
    auto bytes = good.shm().bytes();
    for (int i = 0; i < 3; ++i)
      bytes[place(random) % bytes.size()] = static_cast<std::byte>(byte(random));
    good.shm().unlink();
    try {
      std::memset(block_.bytes().data(), 0, 200);
      std::memcpy(block_.bytes().data(), bytes.data(), bytes.size());
      ShareableList list = open();
      for (std::size_t i = 0; i < list.size(); ++i) list.get(static_cast<std::int64_t>(i));
      ++opened;
    } catch (const cohort::Error&) {
      // As it should.
    }
  }
  EXPECT_GT(opened, 0);
}

// ---- CPython

class WithPython : public ShareableListTest {
 protected:
  void SetUp() override {
    ShareableListTest::SetUp();
    if (std::system("python3 -c 'import multiprocessing.shared_memory' 2>/dev/null") != 0)
      GTEST_SKIP() << "no python3 with multiprocessing.shared_memory";
  }
  // Python before 3.13 destroys at its end what it has only opened, unless told not to.
  static constexpr const char* kPrelude =
      "from multiprocessing import shared_memory as s, resource_tracker as t\n"
      "import sys\n"
      "name = sys.argv[1]\n"
      "def mine(m): t.unregister(m._name, 'shared_memory')\n";
  test::Outcome python(const std::string& code, const std::string& its_name) {
    return test::run_file("/usr/bin/env", {"python3", "-c", kPrelude + code, its_name});
  }
};

TEST_F(WithPython, PythonReadsAndWritesOurList) {
  ShareableList list({"hello \xc3\xa9", 42, -1.5, true, std::monostate(), bytes_of("raw\xff")},
                     name("ours"));
  auto outcome = python(
      "l = s.ShareableList(name=name)\n"
      "mine(l.shm)\n"
      "assert list(l) == ['hello é', 42, -1.5, True, None, b'raw\\xff'], list(l)\n"
      "l[0] = 'from python'\n"
      "l[1] = None\n"
      "l[4] = 'text'\n"
      "print(l.format, l.shm.size)\n",
      name("ours"));
  ASSERT_EQ(outcome.code, 0) << outcome;
  EXPECT_EQ(outcome.out, list.format() + " " + std::to_string(list.shm().size()) + "\n");
  EXPECT_EQ(std::vector<Item>(list.begin(), list.end()),
            (std::vector<Item>{"from python", std::monostate(), -1.5, true, "text",
                               bytes_of("raw\xff")}));
}

TEST_F(WithPython, WeReadAndWritePythonsList) {
  auto outcome = python(
      "l = s.ShareableList(['hello', 1 << 62, 0.25, False, None, b'xyz', ''], name=name)\n"
      "mine(l.shm)\n",
      name("theirs"));
  ASSERT_EQ(outcome.code, 0) << outcome;
  auto list = ShareableList::open(name("theirs"));
  EXPECT_EQ(std::vector<Item>(list.begin(), list.end()),
            (std::vector<Item>{"hello", std::int64_t{1} << 62, 0.25, false, std::monostate(),
                               bytes_of("xyz"), ""}));
  list.set(0, "world");
  list.set(3, 17);
  list.set(6, std::monostate());
  outcome = python(
      "l = s.ShareableList(name=name)\n"
      "assert list(l) == ['world', 1 << 62, 0.25, 17, None, b'xyz', None], list(l)\n"
      "l.shm.unlink()\n",
      name("theirs"));
  EXPECT_EQ(outcome.code, 0) << outcome;
  EXPECT_FALSE(test::in_dev_shm(name("theirs")));
}

TEST_F(WithPython, BothLayTheSameItemsOutByteForByte) {
  std::vector<Item> items{"hello", 7, 2.5, true, false, std::monostate(), bytes_of("12345678"), ""};
  ShareableList ours(items, name("ours"));
  auto outcome = python(
      "l = s.ShareableList(['hello', 7, 2.5, True, False, None, b'12345678', ''], name=name)\n"
      "mine(l.shm)\n",
      name("theirs"));
  ASSERT_EQ(outcome.code, 0) << outcome;
  EXPECT_EQ(test::content_of("/dev/shm/" + name("ours")),
            test::content_of("/dev/shm/" + name("theirs")));
}

TEST_F(WithPython, BlocksAreSharedByName) {
  auto memory = SharedMemory::create(name("block"), 5000);
  memory.bytes()[4999] = std::byte{3};
  auto outcome = python(
      "m = s.SharedMemory(name)\n"
      "mine(m)\n"
      "assert m.size == 5000 and m.buf[4999] == 3\n"
      "m.buf[0] = 77\n",
      name("block"));
  ASSERT_EQ(outcome.code, 0) << outcome;
  EXPECT_EQ(memory.bytes()[0], std::byte{77});
}

}  // namespace
