// Messages of every type and size, and those that cannot be written or read.
#include <array>
#include <chrono>
#include <cohort/queue.hpp>
#include <complex>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "serialize_types.hpp"
#include "sync_fixture.hpp"

namespace {

using namespace test;
using namespace serialize_types;
using cohort::Queue;
using cohort::SerializationError;

using QueueTypesTest = SyncTest;
class QueueTypes : public EachMethodSync {};
INSTANTIATE_TEST_SUITE_P(Methods, QueueTypes, every_method(), method_name);

// Through every way in and out.
template <class T>
void expect_passes(const T& object) {
  const Queue<T> queue;
  queue.put(object);
  ASSERT_TRUE(queue.get() == object);
  ASSERT_TRUE(queue.try_put(object));
  auto tried = queue.try_get();
  ASSERT_TRUE(tried.has_value());
  ASSERT_TRUE(*tried == object);
  std::vector<T> some;
  for (int i = 0; i < 5; ++i) some.push_back(object);
  queue.put_many(some);
  ASSERT_EQ(queue.size(), 5U);
  std::vector<T> got;
  while (queue.try_get_many(got, 2) != 0) {
  }
  ASSERT_TRUE(got == some);
}

struct Mixed {
  char c = 0;
  double d = 0;
  bool flag = false;
  std::string text;
  std::optional<std::vector<int>> list;
  bool operator==(const Mixed&) const = default;
};
struct Padded {
  char c = 0;
  std::int64_t n = 0;
  bool operator==(const Padded&) const = default;
};
struct alignas(64) Aligned {
  int n = 0;
  bool operator==(const Aligned&) const = default;
};

TEST_F(QueueTypesTest, RawTypesPass) {
  expect_passes(true);
  expect_passes('c');
  expect_passes(std::byte{7});
  expect_passes(std::numeric_limits<std::uint64_t>::max());
  expect_passes(1.5F);
  expect_passes(1.5L);
  expect_passes(Color::green);
  expect_passes(Point{1, 2});
  expect_passes(Flags{true, 3, {false, true}});
  expect_passes(Padded{'a', 5});
  expect_passes(Aligned{5});
  expect_passes(std::complex<double>(1, 2));
  expect_passes(std::array<int, 3>{1, 2, 3});
  expect_passes(std::chrono::milliseconds(5));
}

TEST_F(QueueTypesTest, EmptyTypesPass) {
  expect_passes(Empty());
  expect_passes(std::monostate());
  expect_passes(std::tuple<>());
  expect_passes(std::array<int, 0>());
  expect_passes(std::vector<Empty>(3));
  const Queue<Empty> bounded(2);
  bounded.put({});
  bounded.put({});
  EXPECT_FALSE(bounded.try_put({}));
  bounded.get();
  EXPECT_EQ(bounded.size(), 1U);
}

TEST_F(QueueTypesTest, TypesOfTheStandardLibraryPass) {
  expect_passes(std::string("text"));
  expect_passes(std::string());
  expect_passes(std::string("with\0zero", 9));
  expect_passes(std::u16string(u"text"));
  expect_passes(std::vector<std::string>{"a", ""});
  expect_passes(std::vector<bool>{true, false});
  expect_passes(std::list<std::pair<int, std::string>>{{1, "a"}});
  expect_passes(std::map<std::string, std::vector<double>>{{"a", {1, 2}}, {"b", {}}});
  expect_passes(std::optional<std::string>());
  expect_passes(std::optional<int>(4));
  expect_passes(std::variant<int, std::string>("b"));
  expect_passes(std::tuple<int, std::string, Point>(1, "a", {2, 3}));
  expect_passes(std::array<std::string, 2>{"a", "b"});
  expect_passes(std::filesystem::path("/a/b"));
}

TEST_F(QueueTypesTest, StructsWithAnythingInThemPass) {
  expect_passes(Mixed{'c', 1.5, true, "text", std::vector{1, 2, 3}});
  expect_passes(Mixed());
  expect_passes(Tree{"root", {{"a", {}}, {"b", {{"c", {}}}}}});
  expect_passes(Account("me", 5));
}

TEST_F(QueueTypesTest, ObjectsThatCannotBeCopiedArePutFromWhereTheyAre) {
  const Queue<Node> queue;
  Node node{1, std::make_unique<Node>(Node{2, nullptr})};
  queue.put(node);
  queue.put({3, nullptr});
  EXPECT_EQ(node.next->value, 2);  // it is still ours
  const Node got = queue.get();
  EXPECT_EQ(got.next->value, 2);
  EXPECT_EQ(queue.try_get()->value, 3);
  std::vector<Node> some(2);
  some[1].value = 4;
  queue.put_many(some);
  std::deque<Node> all;
  EXPECT_EQ(queue.get_many(all, 5), 2U);
  EXPECT_EQ(all[1].value, 4);
  queue.put_many(some);
  queue.shutdown();
  int count = 0;
  for (const Node& one : queue.drain()) count += one.next ? 0 : 1;
  EXPECT_EQ(count, 2);
  const Queue<std::unique_ptr<int>> pointers;
  pointers.put(std::make_unique<int>(7));
  pointers.put(nullptr);
  EXPECT_EQ(*pointers.get(), 7);
  EXPECT_EQ(pointers.get(), nullptr);
}

class NoDefault {
 public:
  explicit NoDefault(std::string text) : text_(std::move(text)) {}
  NoDefault(cohort::detail::Restore, cohort::detail::InArchive& archive) { archive(text_); }
  template <class Archive>
  void save(Archive& archive) const {
    archive(text_);
  }
  bool operator==(const NoDefault&) const = default;

 private:
  std::string text_;
};

TEST_F(QueueTypesTest, TypesWithoutADefaultConstructorPass) {
  expect_passes(NoDefault("text"));
  expect_passes(std::make_pair(NoDefault("a"), 1));
  expect_passes(std::map<int, NoDefault>{{1, NoDefault("b")}});
}

// What get answers is the receiver's own, and nothing of it stays behind.
struct Counted {
  static inline int alive = 0;
  Counted() { ++alive; }
  Counted(const Counted& other) : number(other.number) { ++alive; }
  Counted& operator=(const Counted&) = default;
  ~Counted() { --alive; }
  template <class Archive>
  void serialize(Archive& archive) {
    archive(number);
  }
  int number = 0;
};

TEST_F(QueueTypesTest, AQueueKeepsNoObjects) {
  const Queue<Counted> queue;
  {
    Counted one;
    one.number = 5;
    queue.put(one);
    queue.put_many(std::vector<Counted>(3, one));
  }
  EXPECT_EQ(Counted::alive, 0);
  EXPECT_EQ(queue.get().number, 5);
  EXPECT_EQ(queue.try_get()->number, 5);
  EXPECT_EQ(Counted::alive, 0);
  std::vector<Counted> got;
  queue.get_many(got, 5);
  EXPECT_EQ(Counted::alive, 2);
}

// ---- sizes

std::string text_of_size(std::size_t size) {
  std::string text(size, 'x');
  for (std::size_t i = 0; i < size; i += 4093) text[i] = static_cast<char>('a' + i % 23);
  return text;
}

constexpr std::size_t kSizes[] = {0,
                                  1,
                                  7,
                                  8,
                                  9,
                                  63,
                                  4096,
                                  8191,
                                  8192,
                                  16'370,
                                  16'376,
                                  16'377,
                                  16'384,
                                  16'385,
                                  20'479,
                                  20'480,
                                  20'481,
                                  65'535,
                                  65'536,
                                  1'000'000,
                                  1 << 20,
                                  (1 << 20) + 1,
                                  std::size_t{64} << 20};

TEST_F(QueueTypesTest, StringsOfAnySizePass) {
  const Queue<std::string> queue;
  for (std::size_t size : kSizes) {
    const std::string text = text_of_size(size);
    queue.put(text);
    queue.put(text);
    ASSERT_TRUE(queue.get() == text) << size;
    ASSERT_TRUE(queue.get() == text) << size;
  }
}

TEST_F(QueueTypesTest, VectorsOfAnySizePass) {
  const Queue<std::vector<double>> queue(2);
  for (std::size_t size : kSizes) {
    std::vector<double> list(size / sizeof(double), 1);
    for (std::size_t i = 0; i < list.size(); i += 511) list[i] = static_cast<double>(i);
    queue.put(list);
    ASSERT_TRUE(queue.get() == list) << size;
  }
}

TEST_F(QueueTypesTest, StructsOfManyPartsOfAnySizePass) {
  const Queue<std::vector<Mixed>> queue;
  for (std::size_t count : {0, 1, 100, 1000, 100'000}) {
    std::vector<Mixed> list(count);
    for (std::size_t i = 0; i < count; ++i) list[i].text = text_of_size(i % 100);
    queue.put(list);
    ASSERT_TRUE(queue.get() == list) << count;
  }
}

TEST_P(QueueTypes, MessagesOfAllSizesCrossAndComeBack) {
  const Queue<std::string> there(3), back(3);
  Children children(GetParam());
  children.add(
      [](const Queue<std::string>& in, const Queue<std::string>& out) {
        for (const std::string& text : in.drain()) out.put(text);
        out.shutdown();
      },
      there, back);
  for (std::size_t size : kSizes) {
    const std::string text = text_of_size(size);
    there.put(text);
    ASSERT_TRUE(back.get() == text) << size;
  }
  there.shutdown();
  EXPECT_THROW(back.get(), cohort::QueueShutDown);
  children.join();
}

TEST_P(QueueTypes, ObjectsOfAllKindsCross) {
  using Message = std::tuple<Mixed, Tree, NoDefault, std::variant<int, std::string>, Point>;
  const Message message{
      {'c', 1.5, true, "text", std::vector{1}}, {"a", {{"b", {}}}}, NoDefault("n"), "v", {1, 2}};
  const Queue<Message> there, back;
  Children children(GetParam());
  children.add([](const Queue<Message>& in, const Queue<Message>& out) { out.put(in.get()); },
               there, back);
  there.put(message);
  EXPECT_TRUE(back.get() == message);
  children.join();
}

// ---- what cannot be written or read

// Writes half of itself, then throws when told to.
struct Stubborn {
  bool at_save = false;
  bool at_load = false;
  std::string text{};

  template <class Archive>
  void save(Archive& archive) const {
    archive(at_load, text);
    if (at_save) throw std::domain_error("it will not be written");
    archive(text);
  }
  template <class Archive>
  void load(Archive& archive) {
    archive(at_load, text);
    if (at_load) throw std::domain_error("it will not be read");
    archive(text);
  }
};

Stubborn good(const std::string& text) { return {false, false, text}; }
Stubborn no_save(std::size_t size = 3) { return {true, false, std::string(size, 's')}; }
Stubborn no_load(std::size_t size = 3) { return {false, true, std::string(size, 'l')}; }

TEST_F(QueueTypesTest, AnObjectThatCannotBeWrittenIsNotPut) {
  for (std::size_t size : {3, 1000, 30'000, 1'000'000}) {
    const Queue<Stubborn> queue;
    queue.put(good("a"));
    EXPECT_THROW(queue.put(no_save(size)), std::domain_error);
    EXPECT_THROW(queue.try_put(no_save(size)), std::domain_error);
    EXPECT_EQ(queue.size(), 1U);
    queue.put(good("b"));
    EXPECT_EQ(queue.get().text, "a");
    EXPECT_EQ(queue.get().text, "b");
    EXPECT_TRUE(queue.empty());
  }
}

TEST_F(QueueTypesTest, AnObjectThatIsNestedTooDeepIsNotPut) {
  const Queue<Node> queue;
  Node deep{0, nullptr};
  for (int i = 1; i < 5000; ++i) deep = Node{i, std::make_unique<Node>(std::move(deep))};
  EXPECT_THROW(queue.put(deep), SerializationError);
  EXPECT_TRUE(queue.empty());
  queue.put({7, nullptr});
  EXPECT_EQ(queue.get().value, 7);
}

TEST_F(QueueTypesTest, AnUnwritableObjectInABatchPutsNothingOfItselfAndNothingBehindIt) {
  const Queue<Stubborn> queue;
  std::vector<Stubborn> batch{good("a"), good("b"), no_save(), good("c")};
  EXPECT_THROW(queue.put_many(batch), std::domain_error);
  queue.put(good("d"));
  std::string got;
  while (auto one = queue.try_get()) got += one->text;
  EXPECT_TRUE(got == "d" || got == "ad" || got == "abd") << got;
}

TEST_F(QueueTypesTest, AnObjectThatCannotBeReadIsGoneAndTheNextComes) {
  for (std::size_t size : {3, 1000, 30'000, 1'000'000}) {
    const Queue<Stubborn> queue;
    queue.put(no_load(size));
    queue.put(good("b"));
    queue.put(no_load(size));
    queue.put(good("c"));
    EXPECT_THROW(queue.get(), std::domain_error);
    EXPECT_EQ(queue.size(), 3U);
    EXPECT_EQ(queue.get().text, "b");
    EXPECT_THROW(queue.try_get(), std::domain_error);
    EXPECT_EQ(queue.get_for(1s)->text, "c");
    EXPECT_TRUE(queue.empty());
  }
}

TEST_F(QueueTypesTest, GetManyHandsOutTheOthersThanThoseThatCannotBeRead) {
  const Queue<Stubborn> queue;
  queue.put_many(std::vector<Stubborn>{good("a"), no_load(), good("b"), no_load(), good("c")});
  std::vector<Stubborn> got;
  EXPECT_THROW(queue.get_many(got, 10), std::domain_error);
  std::string text;
  for (const auto& one : got) text += one.text;
  EXPECT_EQ(text, "abc");
  EXPECT_TRUE(queue.empty());
  queue.put(good("d"));
  EXPECT_EQ(queue.get_many(got, 10), 1U);
}

TEST_F(QueueTypesTest, ADestinationThatThrowsLeavesTheQueueUsable) {
  struct Refusing {
    void push_back(std::string&&) { throw std::domain_error("no room"); }
  } refusing;
  const Queue<std::string> queue;
  queue.put("a");
  EXPECT_THROW(queue.get_many(refusing, 1), std::domain_error);
  queue.put("b");
  EXPECT_EQ(queue.get(), "b");
}

// An object may itself put and get while it is written or read.
struct Chatty {
  static inline const Queue<std::string>* side = nullptr;
  std::string text{};
  template <class Archive>
  void save(Archive& archive) const {
    archive(text);
    side->put("saved " + text);
    archive(text);
  }
  template <class Archive>
  void load(Archive& archive) {
    archive(text);
    side->put("loaded " + text);
    archive(text);
  }
};

TEST_F(QueueTypesTest, PutMayBeCalledWithinPutAndGet) {
  const Queue<std::string> side;
  Chatty::side = &side;
  const Queue<Chatty> queue;
  queue.put({"a"});
  queue.put_many(std::vector<Chatty>{{"b"}, {std::string(30'000, 'c')}});
  EXPECT_EQ(queue.get().text, "a");
  EXPECT_EQ(queue.get().text, "b");
  EXPECT_EQ(queue.get().text, std::string(30'000, 'c'));
  EXPECT_EQ(side.get(), "saved a");
  EXPECT_EQ(side.get(), "saved b");
  EXPECT_EQ(side.get().size(), 30'006U);
}

}  // namespace
