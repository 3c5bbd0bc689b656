#include <cohort/serialize.hpp>

// Also cereal's own loaders: they must not become ambiguous with ours.
#include <gtest/gtest.h>

#include <cereal/types/map.hpp>
#include <cereal/types/string.hpp>
#include <cereal/types/vector.hpp>
#include <cstring>
#include <functional>
#include <limits>
#include <mutex>
#include <random>
#include <thread>

#include "serialize_types.hpp"

namespace cohort::detail {
namespace {

using namespace serialize_types;

template <class T>
T copy(const T& object) {
  HeapWriter writer;
  encode(writer, object);
  Reader reader(writer.bytes());
  T result = decode<T>(reader);
  EXPECT_EQ(reader.remaining(), 0U);
  return result;
}

template <class T>
void expect_same(const T& object) {
  EXPECT_EQ(copy(object), object);
  HeapWriter writer;
  encode(writer, object);
  Reader reader(writer.bytes());
  T other{};
  decode_into(reader, other);
  EXPECT_EQ(other, object);
}

std::vector<std::byte> bytes_of(const auto& object) {
  HeapWriter writer;
  encode(writer, object);
  return {writer.bytes().begin(), writer.bytes().end()};
}

template <class T>
T from(const std::vector<std::byte>& bytes) {
  Reader reader(bytes);
  return decode<T>(reader);
}

TEST(Serialize, ScalarsSurvive) {
  expect_same(42);
  expect_same(-1L);
  expect_same('c');
  expect_same(true);
  expect_same(false);
  expect_same(1.5f);
  expect_same(std::numeric_limits<double>::infinity());
  expect_same(static_cast<long double>(1) / 3);
  expect_same(Color::green);
  expect_same(std::byte{7});
  expect_same(u'x');
}

TEST(Serialize, StringsSurvive) {
  expect_same(std::string());
  expect_same(std::string("a\0b", 3));
  for (const std::size_t n : {253U, 254U, 255U, 256U, 100000U}) expect_same(std::string(n, 'x'));
  expect_same(std::wstring(L"wide"));
  expect_same(std::u16string(u"sixteen"));
}

TEST(Serialize, AViewIsReadBackAsAString) {
  HeapWriter writer;
  encode(writer, std::string_view("view"));
  Reader reader(writer.bytes());
  EXPECT_EQ(decode<std::string>(reader), "view");
}

TEST(Serialize, ContainersSurvive) {
  expect_same(std::vector<int>{});
  expect_same(std::vector<int>{1, 2, 3});
  expect_same(std::vector<int>(1000, 5));
  expect_same(std::vector<std::string>{"a", "bb"});
  expect_same(std::vector<std::vector<Point>>{{}, {{1, 2}}});
  expect_same(std::vector<bool>{true, false, true});
  expect_same(std::vector<Flags>{{true, 5, {false, true}}});
  expect_same(std::vector<Empty>(10));
  expect_same(std::vector<std::tuple<>>(10));
  expect_same(std::vector<std::monostate>(3));
  expect_same(std::array<int, 3>{1, 2, 3});
  expect_same(std::array<std::string, 2>{"a", "b"});
  expect_same(std::array<int, 0>{});
  expect_same(std::deque<std::string>{"a"});
  expect_same(std::list<int>{1, 2});
  expect_same(std::forward_list<int>{1, 2, 3});
  expect_same(std::map<std::string, std::map<int, double>>{{"a", {{1, 2.0}}}});
  expect_same(std::multimap<int, std::string>{{1, "a"}, {1, "b"}});
  expect_same(std::set<std::string>{"b", "a"});
  expect_same(std::multiset<int>{1, 1, 2});
  expect_same(std::unordered_map<int, std::string>{{1, "a"}, {2, "b"}});
  expect_same(std::unordered_multimap<int, int>{{1, 1}, {1, 1}});
  expect_same(std::unordered_set<int>{1, 2});
  expect_same(std::unordered_multiset<int>{1, 1});
  expect_same(std::vector<std::map<std::string, int>>(3, {{"x", 1}}));
}

TEST(Serialize, SumsAndProductsSurvive) {
  expect_same(std::optional<int>());
  expect_same(std::optional<std::string>("x"));
  expect_same(std::optional<std::optional<int>>(std::optional<int>()));
  using Variant = std::variant<std::monostate, int, std::string, std::vector<int>>;
  expect_same(Variant());
  expect_same(Variant(3));
  expect_same(Variant("x"));
  expect_same(Variant(std::vector<int>{1}));
  expect_same(std::variant<int, int>(std::in_place_index<1>, 4));
  expect_same(std::tuple<int, std::string, double>{1, "x", 2.0});
  expect_same(std::tuple<>{});
  expect_same(std::pair<int, std::string>{1, "x"});
  expect_same(std::vector<std::pair<const int, std::string>>{{1, "x"}}.front());
}

TEST(Serialize, ClocksNumbersPathsAndBitsSurvive) {
  using namespace std::chrono_literals;
  expect_same(5s);
  expect_same(std::chrono::duration<double>(0.5));
  expect_same(std::chrono::system_clock::now());
  expect_same(std::chrono::steady_clock::now());
  expect_same(std::complex<float>(1, 2));
  expect_same(std::vector<std::complex<double>>{{1, 2}});
  expect_same(std::filesystem::path("/a/b"));
  expect_same(std::bitset<70>("1011"));
}

TEST(Serialize, ExtraBitsOfABitsetAreCleared) {
  auto bytes = bytes_of(std::bitset<9>());
  for (auto& b : bytes) b = std::byte{0xFF};
  EXPECT_EQ(from<std::bitset<9>>(bytes).count(), 9U);
}

struct Arrays {
  int a[3] = {};
  std::string s[2];
  double m[2][2] = {};
  char text[16] = {};
};
struct Outer {
  Point p;
  Empty e;
  std::vector<Point> more;
};
struct WithBase : Empty {
  int x = 0;
  std::string s;
};
struct Bits {
  unsigned a : 3;
  bool b : 1;
};
struct Constant {
  const int x;
  const std::string s;
};
struct ConstantRaw {
  const int x;
};

TEST(Serialize, AggregatesNeedNothingWritten) {
  expect_same(Point{1, 2});
  expect_same(Flags{true, 1, {true, true}});
  expect_same(Tree{"a", {{"b", {}}, {"c", {{"d", {}}}}}});
  const Outer outer = copy(Outer{{1, 2}, {}, {{3, 4}}});
  EXPECT_EQ(outer.p, (Point{1, 2}));
  EXPECT_EQ(outer.more, (std::vector<Point>{{3, 4}}));
  const Arrays arrays = copy(Arrays{{1, 2, 3}, {"x", "y"}, {{1, 2}, {3, 4}}, "text"});
  EXPECT_EQ(arrays.a[2], 3);
  EXPECT_EQ(arrays.s[1], "y");
  EXPECT_EQ(arrays.m[1][0], 3);
  EXPECT_STREQ(arrays.text, "text");
  WithBase with_base;
  with_base.x = 4;
  with_base.s = "s";
  EXPECT_EQ(copy(with_base).s, "s");
  EXPECT_EQ(copy(Bits{5, true}).a, 5U);
  EXPECT_EQ(copy(Constant{3, "c"}).s, "c");
  EXPECT_EQ(copy(ConstantRaw{3}).x, 3);
  EXPECT_EQ(copy(std::vector<ConstantRaw>{{3}, {4}})[1].x, 4);
}

TEST(Serialize, RawAggregatesAreOneCopy) {
  static_assert(Raw<Point> && Raw<Flags> && Raw<std::array<Point, 3>> && !Raw<Tree>);
  EXPECT_EQ(bytes_of(Point{1, 2}).size(), sizeof(Point));
  EXPECT_EQ(bytes_of(std::vector<Point>(5)).size(), 1 + 5 * sizeof(Point));
  EXPECT_LE(bytes_of(std::vector<Point>(100)).size(), 1 + 1 + 3 + 100 * sizeof(Point));
}

TEST(Serialize, PointersKeepTheirShape) {
  EXPECT_EQ(copy(std::unique_ptr<int>()), nullptr);
  EXPECT_EQ(*copy(std::make_unique<std::string>("x")), "x");
  EXPECT_EQ(*copy(std::unique_ptr<const int>(new int(3))), 3);
  EXPECT_EQ(copy(std::shared_ptr<int>()), nullptr);

  const auto shared = std::make_shared<std::string>("s");
  const auto copies = copy(std::vector<std::shared_ptr<std::string>>{
      shared, shared, nullptr, std::make_shared<std::string>("s")});
  EXPECT_EQ(copies[0], copies[1]);
  EXPECT_EQ(*copies[0], "s");
  EXPECT_EQ(copies[2], nullptr);
  EXPECT_NE(copies[3], copies[0]);

  using Mixed = std::tuple<std::shared_ptr<std::string>, std::weak_ptr<std::string>>;
  const Mixed mixed = copy(Mixed{shared, shared});
  EXPECT_EQ(std::get<0>(mixed), std::get<1>(mixed).lock());
  EXPECT_EQ(copy(std::make_shared<Constant>(Constant{1, "x"}))->s, "x");
}

struct First {
  int inner = 0;
};
TEST(Serialize, AStructAndItsFirstMemberAreNotTheSameObject) {
  const auto whole = std::make_shared<First>(First{3});
  const std::shared_ptr<int> part(whole, &whole->inner);
  using Both = std::tuple<std::shared_ptr<First>, std::shared_ptr<int>>;
  const Both both = copy(Both{whole, part});
  EXPECT_EQ(std::get<0>(both)->inner, 3);
  EXPECT_EQ(*std::get<1>(both), 3);
}

struct Ring {
  int value = 0;
  std::shared_ptr<Ring> next;
};
TEST(Serialize, CyclesOfSharedPointersSurvive) {
  const auto ring = std::make_shared<Ring>(Ring{1, nullptr});
  ring->next = std::make_shared<Ring>(Ring{2, ring});
  const auto result = copy(ring);
  EXPECT_EQ(result->next->value, 2);
  EXPECT_EQ(result->next->next, result);
  ring->next.reset();
  result->next.reset();
}

// ---- types written for cereal

class FreeSerialize {
 public:
  int a = 0;
  explicit FreeSerialize(int x = 0) : a(x), hidden_(x) {}
  int hidden() const { return hidden_; }
  template <class Archive>
  friend void serialize(Archive& ar, FreeSerialize& f) {
    ar(cereal::make_nvp("a", f.a), CEREAL_NVP(f.hidden_));
  }

 private:
  int hidden_;
};

class SaveLoad {
 public:
  std::map<std::string, int> m;
  SaveLoad() {}
  template <class Archive>
  void save(Archive& ar) const {
    ar(cereal::make_size_tag(static_cast<cereal::size_type>(m.size())));
    for (const auto& [k, v] : m) ar(k, v);
  }
  template <class Archive>
  void load(Archive& ar) {
    cereal::size_type n;
    ar(cereal::make_size_tag(n));
    while (n-- != 0) {
      std::string k;
      ar(k);
      ar(m[k]);
    }
  }
};

class Minimal {
 public:
  std::string text;
  Minimal() {}
  template <class Archive>
  std::string save_minimal(const Archive&) const {
    return text;
  }
  template <class Archive>
  void load_minimal(const Archive&, const std::string& value) {
    text = value;
  }
};

struct Versioned {
  int x = 0;
  std::uint32_t seen = 0;
  Versioned() {}
  template <class Archive>
  void serialize(Archive& ar, const std::uint32_t version) {
    ar(x);
    seen = version;
  }
};

struct AsBinary {
  int data[4] = {};
  AsBinary() {}
  template <class Archive>
  void serialize(Archive& ar) {
    ar(cereal::binary_data(data, sizeof data));
    ar& data[0];
  }
};

struct Shape {
  virtual ~Shape() = default;
  virtual double area() const = 0;
  int id = 0;
  template <class Archive>
  void serialize(Archive& ar) {
    ar(id);
  }
};
struct Square : Shape {
  double side = 0;
  double area() const override { return side * side; }
  template <class Archive>
  void serialize(Archive& ar) {
    ar(cereal::base_class<Shape>(this), side);
  }
};

class Made {
 public:
  explicit Made(int x) : x_(x) {}
  int x() const { return x_; }
  template <class Archive>
  void serialize(Archive& ar) {
    ar(x_);
  }
  template <class Archive>
  static void load_and_construct(Archive& ar, cereal::construct<Made>& construct) {
    int x = 0;
    ar(x);
    construct(x);
  }

 private:
  int x_;
};

struct Deferred {
  std::shared_ptr<int> p;
  int after = 0;
  Deferred() {}
  template <class Archive>
  void serialize(Archive& ar) {
    ar(cereal::defer(p), after);
    ar.serializeDeferments();
  }
};

}  // namespace
}  // namespace cohort::detail

CEREAL_CLASS_VERSION(cohort::detail::Versioned, 7)
CEREAL_REGISTER_TYPE(cohort::detail::Square)

namespace cohort::detail {
namespace {

TEST(SerializeCereal, TypesWrittenForCerealWorkAsTheyAre) {
  expect_same(Account("ann", 3));
  expect_same(std::vector<Account>{{"ann", 3}, {"bob", 4}});
  expect_same(std::map<std::string, Account>{{"a", {"ann", 3}}});
  EXPECT_EQ(copy(FreeSerialize(5)).hidden(), 5);
  SaveLoad save_load;
  save_load.m = {{"a", 1}, {"b", 2}};
  EXPECT_EQ(copy(save_load).m, save_load.m);
  Minimal minimal;
  minimal.text = "m";
  EXPECT_EQ(copy(minimal).text, "m");
  EXPECT_EQ(copy(std::vector<Versioned>(3))[2].seen, 7U);
  EXPECT_EQ(bytes_of(std::vector<Versioned>(3)).size(), 1 + 4 + 3 * (4 + 1));
  AsBinary binary;
  binary.data[3] = 9;
  EXPECT_EQ(copy(binary).data[3], 9);
  Deferred deferred;
  deferred.p = std::make_shared<int>(4);
  EXPECT_EQ(*copy(deferred).p, 4);
}

TEST(SerializeCereal, PolymorphicPointersArriveAsTheirDynamicType) {
  auto square = std::make_shared<Square>();
  square->side = 3;
  square->id = 8;
  const auto copies = copy(std::vector<std::shared_ptr<Shape>>{square, square});
  EXPECT_EQ(copies[0]->area(), 9);
  EXPECT_EQ(copies[0]->id, 8);
  EXPECT_EQ(copies[0], copies[1]);
  std::unique_ptr<Shape> owned = std::make_unique<Square>(*square);
  EXPECT_EQ(copy(owned)->area(), 9);
}

TEST(SerializeCereal, AnUnregisteredPolymorphicTypeIsASerializationError) {
  struct Circle : Square {};
  HeapWriter writer;
  const std::shared_ptr<Shape> circle = std::make_shared<Circle>();
  EXPECT_THROW(encode(writer, circle), SerializationError);
}

TEST(SerializeCereal, LoadAndConstructIsUsed) {
  EXPECT_EQ(copy(std::make_unique<Made>(5))->x(), 5);
  const auto made = std::make_shared<Made>(6);
  const auto copies = copy(std::vector<std::shared_ptr<Made>>{made, made});
  EXPECT_EQ(copies[1]->x(), 6);
  EXPECT_EQ(copies[0], copies[1]);
}

// ---- handles

class Handle {
 public:
  static inline int made_new = 0;
  Handle() { ++made_new; }
  Handle(Restore, InArchive& ar) {
    ar(block_);
    ar.reader().adopt(block_);
  }
  explicit Handle(std::uint64_t block) : block_(block) {}
  template <class Archive>
  void save(Archive& ar) const {
    ar(block_);
    ar.writer().attach(block_);
  }
  std::uint64_t block() const { return block_; }

 private:
  std::uint64_t block_ = 0;
};

class HandleReader final : public Reader {
 public:
  using Reader::Reader;
  std::vector<std::uint64_t> adopted;
  void adopt(std::uint64_t block) override { adopted.push_back(block); }
};

class HandleWriter final : public Writer {
 public:
  std::vector<std::uint64_t> attached;
  void attach(std::uint64_t block) override { attached.push_back(block); }
  std::span<const std::byte> bytes() const { return {begin_, size()}; }
  HandleWriter() {
    begin_ = cursor_ = memory_;
    end_ = memory_ + sizeof memory_;
  }

 private:
  void grow(std::size_t) override { throw std::bad_alloc(); }
  std::byte memory_[1024];
};

struct Holder {
  std::string name;
  Handle handle;
};

TEST(SerializeHandles, AreMadeFromTheMessageAndNamed) {
  static_assert(Serializable<Handle> && Serializable<Holder> && Serializable<std::vector<Holder>>);
  Handle::made_new = 0;
  HandleWriter writer;
  using All = std::tuple<Holder, std::vector<Handle>, std::optional<Handle>, std::map<int, Handle>,
                         std::variant<int, Handle>, std::pair<int, Handle>>;
  encode(writer, All(Holder{"h", Handle(1)}, {Handle(2), Handle(3)}, Handle(4), {{1, Handle(5)}},
                     Handle(6), {1, Handle(7)}));
  EXPECT_EQ(writer.attached, (std::vector<std::uint64_t>{1, 2, 3, 4, 5, 6, 7}));
  HandleReader reader(writer.bytes());
  const All all = decode<All>(reader);
  EXPECT_EQ(reader.adopted, writer.attached);
  EXPECT_EQ(std::get<1>(all)[1].block(), 3U);
  EXPECT_EQ(std::get<3>(all).at(1).block(), 5U);
  EXPECT_EQ(Handle::made_new, 0);
}

TEST(SerializeHandles, AreRefusedByWritersThatCannotCarryThem) {
  HeapWriter writer;
  EXPECT_THROW(encode(writer, Handle(1)), SerializationError);
}

// ---- what is not serializable

struct HasPointer {
  int* p;
};
struct HasReference {
  int& r;
};
class Private {
  int x_ = 0;

 public:
  int x() const { return x_; }
};
class NoDefault {
 public:
  explicit NoDefault(int);
  template <class Archive>
  void serialize(Archive&) {}
};
struct HasMutex {
  int x;
  std::mutex m;
};

TEST(Serialize, TheConceptSaysWhatCompiles) {
  static_assert(Serializable<int> && Serializable<Rich> && Serializable<Tree> &&
                Serializable<Node>);
  static_assert(Serializable<Account> && Serializable<std::vector<Account>>);
  static_assert(Serializable<std::unique_ptr<Shape>>);
  static_assert(!Serializable<int*> && !Serializable<int&> && !Serializable<const char*>);
  static_assert(!Serializable<HasPointer> && !Serializable<HasReference> && !Serializable<Private>);
  static_assert(!Serializable<std::vector<int*>> && !Serializable<std::map<int, HasPointer>>);
  static_assert(!Serializable<std::function<void()>> && !Serializable<std::thread>);
  static_assert(!Serializable<std::mutex> && !Serializable<HasMutex>);
  static_assert(!Serializable<std::string_view> && !Serializable<void> && !Serializable<int()>);
  static_assert(!Serializable<void (*)()> && !Serializable<int Point::*>);
  static_assert(!Serializable<std::unique_ptr<int[]>> && !Serializable<std::optional<int*>>);
  static_assert(!Serializable<NoDefault>);
  int captured = 0;
  const auto lambda = [&captured] { return captured; };
  static_assert(!Serializable<decltype(lambda)>);
  lambda();
}

// ---- fingerprints

struct A1 {
  int x;
};
namespace other {
struct A1 {
  long x;
};
}  // namespace other

TEST(Serialize, FingerprintsTellTypesApart) {
  static_assert(fingerprint<int>() == fingerprint<const int&>());
  static_assert(fingerprint<int>() != fingerprint<long>());
  static_assert(fingerprint<int>() != fingerprint<unsigned>());
  static_assert(fingerprint<int>() != fingerprint<float>());
  static_assert(fingerprint<long>() != fingerprint<long long>());
  static_assert(fingerprint<A1>() != fingerprint<other::A1>());
  static_assert(fingerprint<std::vector<A1>>() != fingerprint<std::vector<other::A1>>());
  static_assert(fingerprint<std::vector<int>>() != fingerprint<std::list<int>>());
  static_assert(fingerprint<std::chrono::seconds>() != fingerprint<std::chrono::milliseconds>());
  static_assert(fingerprint<Tree>() != fingerprint<Node>());
  static_assert(fingerprint<std::array<int, 2>>() != fingerprint<std::array<int, 3>>());
}

TEST(Serialize, AnotherTypeIsNamedInTheMismatch) {
  HeapWriter writer;
  encode_checked(writer, std::vector<int>{1});
  Reader right(writer.bytes());
  EXPECT_EQ(decode_checked<std::vector<int>>(right), std::vector<int>{1});
  Reader wrong(writer.bytes());
  try {
    decode_checked<Point>(wrong);
    FAIL();
  } catch (const TypeMismatch& error) {
    EXPECT_NE(error.expected().find("Point"), std::string::npos) << error.what();
    EXPECT_NE(error.found().find("vector<int"), std::string::npos) << error.what();
  }
}

// ---- broken bytes

// Any outcome but a crash: a value, or SerializationError.
template <class T>
bool survives(std::span<const std::byte> bytes) {
  Reader reader(bytes);
  try {
    [[maybe_unused]] const T value = decode<T>(reader);
    return true;
  } catch (const SerializationError&) {
    return false;
  }
}

TEST(SerializeBroken, EveryTruncationIsAnError) {
  const auto bytes = bytes_of(rich());
  ASSERT_TRUE(survives<Rich>(bytes));
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    const std::vector<std::byte> part(bytes.begin(), bytes.begin() + static_cast<long>(n));
    EXPECT_FALSE(survives<Rich>(part)) << n;
  }
}

TEST(SerializeBroken, NoFlippedByteCrashes) {
  const auto bytes = bytes_of(rich());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (const unsigned flip : {0x01U, 0x80U, 0xFFU}) {
      auto broken = bytes;
      broken[i] ^= static_cast<std::byte>(flip);
      survives<Rich>(broken);
    }
  }
}

TEST(SerializeBroken, RandomBytesNeverCrash) {
  std::mt19937_64 random(20240601);
  const auto good = bytes_of(rich());
  for (int i = 0; i < 100000; ++i) {
    std::vector<std::byte> bytes;
    if (i % 2 == 0) {
      bytes.resize(random() % 200);
      for (auto& b : bytes) b = static_cast<std::byte>(random() % (i % 3 == 0 ? 4 : 256));
    } else {
      bytes = good;
      for (auto n = random() % 8; n != 0; --n) {
        bytes[random() % bytes.size()] = static_cast<std::byte>(random());
      }
    }
    survives<Rich>(bytes);
  }
}

template <class T>
void expect_hostile_size_refused() {
  for (const std::uint64_t n :
       {std::uint64_t{1} << 20, std::uint64_t{1} << 60, ~std::uint64_t{0}}) {
    std::vector<std::byte> bytes(64);
    bytes[0] = std::byte{0xFF};
    std::memcpy(&bytes[1], &n, 8);
    EXPECT_FALSE(survives<T>(bytes)) << type_name<T>();
  }
}

TEST(SerializeBroken, HostileSizesAreRefusedBeforeAllocating) {
  expect_hostile_size_refused<std::string>();
  expect_hostile_size_refused<std::wstring>();
  expect_hostile_size_refused<std::vector<int>>();
  expect_hostile_size_refused<std::vector<std::string>>();
  expect_hostile_size_refused<std::vector<bool>>();
  expect_hostile_size_refused<std::vector<Empty>>();
  expect_hostile_size_refused<std::vector<std::tuple<>>>();
  expect_hostile_size_refused<std::vector<Account>>();
  expect_hostile_size_refused<std::vector<std::array<std::string, 100>>>();
  expect_hostile_size_refused<std::list<std::monostate>>();
  expect_hostile_size_refused<std::deque<int>>();
  expect_hostile_size_refused<std::forward_list<int>>();
  expect_hostile_size_refused<std::map<int, int>>();
  expect_hostile_size_refused<std::unordered_map<int, int>>();
  expect_hostile_size_refused<std::set<std::tuple<>>>();
  expect_hostile_size_refused<std::unordered_set<int>>();
  expect_hostile_size_refused<std::filesystem::path>();
}

TEST(SerializeBroken, ASizeTagIsCheckedToo) {
  std::vector<std::byte> bytes(64, std::byte{0x7F});
  EXPECT_FALSE(survives<SaveLoad>(bytes));
}

TEST(SerializeBroken, BoolsIndicesAndFlagsAreChecked) {
  const std::vector<std::byte> two(64, std::byte{2});
  EXPECT_FALSE(survives<bool>(two));
  EXPECT_FALSE(survives<Flags>(two));
  EXPECT_FALSE((survives<std::array<bool, 3>>(two)));
  EXPECT_FALSE(survives<std::vector<Flags>>(two));
  EXPECT_FALSE(survives<std::vector<bool>>(two));
  EXPECT_FALSE(survives<std::optional<int>>(two));
  EXPECT_FALSE(survives<std::unique_ptr<int>>(two));
  EXPECT_FALSE((survives<std::variant<int, std::string>>(two)));
  EXPECT_FALSE(survives<std::shared_ptr<int>>(two));
}

TEST(SerializeBroken, ASharedPointerCannotBeReadAsAnotherType) {
  using Ints = std::tuple<std::shared_ptr<int>, std::shared_ptr<int>>;
  using Mixed = std::tuple<std::shared_ptr<int>, std::shared_ptr<std::string>>;
  const auto p = std::make_shared<int>(1);
  EXPECT_FALSE(survives<Mixed>(bytes_of(Ints{p, p})));
  using Polymorphic = std::tuple<std::shared_ptr<int>, std::shared_ptr<Made>>;
  EXPECT_FALSE(survives<Polymorphic>(bytes_of(Ints{p, p})));
}

Node chain(int length) {
  Node head;
  for (int i = 0; i < length; ++i) {
    head = Node{i, std::make_unique<Node>(std::move(head))};
  }
  return head;
}

TEST(SerializeBroken, NestingIsLimited) {
  int length = 0;
  for (const Node copied = copy(chain(2500)); const auto& n : {&copied}) {
    for (const Node* at = n; at->next; at = at->next.get()) ++length;
  }
  EXPECT_EQ(length, 2500);
  HeapWriter writer;
  EXPECT_THROW(encode(writer, chain(4000)), SerializationError);

  std::vector<std::byte> deep;  // value, "not null", value, ...
  for (int i = 0; i < 100000; ++i) {
    deep.insert(deep.end(), 4, std::byte{0});
    deep.push_back(std::byte{1});
  }
  EXPECT_FALSE(survives<Node>(deep));
  EXPECT_FALSE(survives<Tree>(std::vector<std::byte>(100000, std::byte{1})));
}

TEST(SerializeMemory, AWriterGrowsAndGivesItsBytesAway) {
  HeapWriter writer(16);
  const std::vector<int> big(100000, 3);
  encode(writer, big);
  EXPECT_GT(writer.size(), 400000U);
  const HeapBytes bytes = writer.take();
  EXPECT_EQ(writer.size(), 0U);
  Reader reader(bytes);
  EXPECT_EQ(decode<std::vector<int>>(reader), big);
}

TEST(SerializeMemory, UnalignedBulkDataIsReadToo) {
  for (std::size_t shift = 0; shift < 9; ++shift) {
    HeapWriter writer;
    writer.reserve(shift);
    encode(writer, std::vector<double>{1, 2, 3});
    encode(writer, std::vector<double>(100, 4));
    std::vector<std::byte> moved(writer.size() + 1);
    std::memcpy(moved.data() + 1, writer.bytes().data(), writer.size());
    Reader reader{std::span(moved).subspan(shift + 1)};
    EXPECT_EQ(decode<std::vector<double>>(reader), (std::vector<double>{1, 2, 3}));
    EXPECT_EQ(decode<std::vector<double>>(reader), std::vector<double>(100, 4));
  }
}

}  // namespace
}  // namespace cohort::detail
