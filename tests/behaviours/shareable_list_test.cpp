// The behaviours of lists in shared memory.
#include <cohort/process.hpp>
#include <cohort/serialize.hpp>
#include <cohort/shareable_list.hpp>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "processes.hpp"
#include "shared_names.hpp"

namespace {

using namespace test;
using cohort::ShareableList;
using Item = ShareableList::Item;

std::vector<std::byte> bytes_of(std::string_view text) {
  auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

std::vector<Item> items_of(const ShareableList& list) { return {list.begin(), list.end()}; }

cohort::detail::HeapBytes serialized(const ShareableList& list) {
  cohort::detail::HeapWriter writer;
  cohort::detail::encode(writer, list);
  return writer.take();
}
ShareableList restored(std::span<const std::byte> bytes) {
  cohort::detail::Reader reader(bytes);
  return cohort::detail::decode<ShareableList>(reader);
}

class ShareableListBehaviour : public Watched {
 protected:
  SharedNames name;
  const std::vector<Item> mixed_{"howdy", bytes_of("HoWdY"), -273.154, 100, std::monostate(), true,
                                 42};
};

// behaviour: ShareableList/mixed-types
TEST_F(ShareableListBehaviour, ItemsOfAllKindsAreReadBackWithValueAndType) {
  ShareableList list(mixed_, name("one"));
  ASSERT_EQ(list.size(), mixed_.size());
  for (std::size_t i = 0; i < mixed_.size(); ++i)
    EXPECT_EQ(list[static_cast<std::int64_t>(i)], mixed_[i]) << i;
  EXPECT_EQ(items_of(list), mixed_);
  EXPECT_EQ(list.get<std::string>(0), "howdy");
  EXPECT_EQ(list.get<double>(2), -273.154);
  EXPECT_EQ(list.get<std::int64_t>(3), 100);
  EXPECT_TRUE(list.get<bool>(5));
}

// behaviour: ShareableList/index-range
TEST_F(ShareableListBehaviour, AnIndexPastTheEndIsAnIndexError) {
  ShareableList list(mixed_, name("one"));
  for (std::int64_t index :
       {std::int64_t{7}, std::int64_t{8}, std::int64_t{-8}, INT64_MAX, INT64_MIN}) {
    EXPECT_THROW(list.get(index), cohort::IndexError) << index;
    EXPECT_THROW(list.set(index, 1), cohort::IndexError) << index;
    EXPECT_THROW(list.format(index), cohort::IndexError) << index;
  }
}

// behaviour: ShareableList/negative-index
TEST_F(ShareableListBehaviour, NegativeIndicesCountFromTheEnd) {
  ShareableList list(mixed_, name("one"));
  EXPECT_EQ(list[-1], Item(42));
  EXPECT_EQ(list[-7], Item("howdy"));
  list.set(-2, false);
  EXPECT_EQ(list[5], Item(false));
}

// behaviour: ShareableList/packing-format
TEST_F(ShareableListBehaviour, TheLayoutOfEachSlotCanBeSeen) {
  ShareableList list(mixed_, name("one"));
  EXPECT_EQ(list.format(), "8s8sdqxxxxxx?xxxxxxxx?q");
  EXPECT_EQ(list.format(0), "8s");
  list.set(0, "kind");
  EXPECT_EQ(list.format(0), "8s");
  list.set(3, 200);
  EXPECT_EQ(list.format(3), "q");
  EXPECT_EQ(list.format(), "8s8sdqxxxxxx?xxxxxxxx?q");
  ShareableList longer({Item(std::string(16, 'x'))}, name("longer"));
  EXPECT_EQ(longer.format(), "24s");
}

// behaviour: ShareableList/too-long-refused
TEST_F(ShareableListBehaviour, WhatIsTooLongIsRefusedAndChangesNothing) {
  ShareableList list(mixed_, name("one"));
  EXPECT_THROW(list.set(0, "exceeds available storage"), std::invalid_argument);
  EXPECT_THROW(list.set(1, bytes_of("123456789")), std::invalid_argument);
  EXPECT_THROW(list.set(3, "123456789"), std::invalid_argument);
  EXPECT_EQ(items_of(list), mixed_);
  EXPECT_EQ(list.format(), "8s8sdqxxxxxx?xxxxxxxx?q");
}

// behaviour: ShareableList/length-counts-bytes
TEST_F(ShareableListBehaviour, TheLimitCountsEncodedBytes) {
  ShareableList list({"12345", 1}, name("one"));
  list.set(0, "1234\xc3\xa4\xc3\xb6");  // 6 characters in 8 bytes
  EXPECT_EQ(list[0], Item("1234\xc3\xa4\xc3\xb6"));
  EXPECT_THROW(list.set(0, "12345\xc3\xa4\xc3\xb6"), std::invalid_argument);  // 7 in 9
  EXPECT_EQ(list[0], Item("1234\xc3\xa4\xc3\xb6"));
  EXPECT_EQ(list[1], Item(1));
}

// behaviour: ShareableList/search
TEST_F(ShareableListBehaviour, IndexFindsTheFirstAndCountCountsAll) {
  ShareableList list({"a", 42, "b", 42, "a"}, name("one"));
  EXPECT_EQ(list.index(42), 1U);
  EXPECT_EQ(list.index("a"), 0U);
  EXPECT_EQ(list.count(42), 2U);
  EXPECT_EQ(list.count("b"), 1U);
  EXPECT_EQ(list.count("c"), 0U);
  EXPECT_THROW(list.index("c"), std::invalid_argument);
}

// behaviour: ShareableList/copy-to-new-name
TEST_F(ShareableListBehaviour, ACopyUnderAnotherNameIsIndependent) {
  ShareableList list(mixed_, name("one"));
  ShareableList copy(list, name("two"));
  EXPECT_EQ(copy.shm().name(), name("two"));
  EXPECT_EQ(items_of(copy), mixed_);
  EXPECT_EQ(copy.format(), list.format());
  copy.set(-1, 5);
  EXPECT_EQ(list[-1], Item(42));
  EXPECT_EQ(copy[-1], Item(5));
}

// behaviour: ShareableList/second-handle
TEST_F(ShareableListBehaviour, AttachingByNameIsASecondHandleOnTheSameItems) {
  ShareableList list(mixed_, name("one"));
  auto second = ShareableList::open(name("one"));
  EXPECT_EQ(second.size(), list.size());
  second.set(0, "changed");
  EXPECT_EQ(list[0], Item("changed"));
  second.shm().close();
  EXPECT_EQ(list[0], Item("changed"));
  EXPECT_THROW(second.get(0), cohort::InvalidStateError);
}

// behaviour: ShareableList/empty
TEST_F(ShareableListBehaviour, AnEmptyListCountsAndFindsNothing) {
  ShareableList list(std::vector<Item>(), name("empty"));
  EXPECT_EQ(list.size(), 0U);
  EXPECT_EQ(list.format(), "");
  EXPECT_EQ(list.count(std::monostate()), 0U);
  EXPECT_THROW(list.index(0), std::invalid_argument);
  EXPECT_THROW(list.get(0), cohort::IndexError);
  EXPECT_THROW(list.get(-1), cohort::IndexError);
  EXPECT_TRUE(items_of(ShareableList::open(name("empty"))).empty());
}

// behaviour: ShareableList/serialized-by-reference
TEST_F(ShareableListBehaviour, WhatIsSentIsAReference) {
  ShareableList small(mixed_, name("one"));
  ShareableList large(std::vector<Item>(10'000, Item(7)), name("two"));
  EXPECT_EQ(serialized(small).size(), serialized(large).size());
  auto again = restored(serialized(small));
  again.set(-1, 5);
  EXPECT_EQ(small[-1], Item(5));
  small.set(0, "x");
  EXPECT_EQ(again[0], Item("x"));
}

// behaviour: ShareableList/serialized-dead
TEST_F(ShareableListBehaviour, RestoringADeadListIsTheNotFoundError) {
  ShareableList list(mixed_, name("one"));
  auto bytes = serialized(list);
  list.shm().unlink();
  try {
    restored(bytes);
    FAIL() << "a dead list was restored";
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code(), std::errc::no_such_file_or_directory);
  }
}

class ShareableListInChildren : public EachMethod {
 protected:
  SharedNames name;
};
INSTANTIATE_TEST_SUITE_P(Methods, ShareableListInChildren, every_method(), method_name);

TEST_P(ShareableListInChildren, AChildChangesWhatItsCreatorSees) {
  ShareableList list({1, "text", 2.5}, name("one"));
  Process child(
      with(),
      [](ShareableList& its) {
        its.set(0, its.get<std::int64_t>(0) + 1);
        its.set(1, "other");
      },
      list);
  child.start();
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
  EXPECT_EQ(items_of(list), (std::vector<Item>{2, "other", 2.5}));
}

}  // namespace
