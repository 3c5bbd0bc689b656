#include "wire/pickle.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cohort/serialize.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "pickle_vectors.hpp"

namespace cohort::wire {
namespace {

using managers::Object;
using Bytes = std::vector<std::byte>;

Bytes bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

// Of a literal that may have zeros in it.
template <std::size_t N>
Bytes raw(const char (&text)[N]) {
  return bytes_of({text, N - 1});
}

std::string from_hex(std::string_view hex) {
  std::string text;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    text.push_back(static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  }
  return text;
}

std::string to_hex(std::span<const std::byte> bytes) {
  std::string hex;
  for (const auto byte : bytes) {
    hex += "0123456789abcdef"[std::to_integer<unsigned>(byte) >> 4];
    hex += "0123456789abcdef"[std::to_integer<unsigned>(byte) & 15];
  }
  return hex;
}

template <class Visit>
void for_each_vector(Visit&& visit) {
  using pickle_vectors::kKnown;
  using pickle_vectors::kPlain;
  const auto visit_all = [&](const auto& vectors) {
    for (const auto& vector : vectors) {
      for (int i = 0; i < 4; ++i) {
        auto bytes = from_hex(vector.pickle[i]);
        if (bytes.empty()) {
          bytes = from_hex(vector.pickle[2]);
          bytes[1] = 5;
        }
        visit(from_hex(vector.text), bytes_of(bytes));
      }
    }
  };
  visit_all(kPlain);
  visit_all(kKnown);
}

void expect_refused(const Bytes& bytes, std::string_view reason = "") {
  try {
    const auto object = unpickle(bytes);
    ADD_FAILURE() << "was read as " << object.repr().substr(0, 200);
  } catch (const SerializationError& error) {
    EXPECT_NE(std::string_view(error.what()).find(reason), std::string_view::npos) << error.what();
  }
}

Bytes with_header(std::string_view body) { return bytes_of("\x80\x04" + std::string(body)); }

std::string repeated(std::string_view text, std::size_t times) {
  std::string result;
  for (std::size_t i = 0; i < times; ++i) result += text;
  return result;
}

// ---- what CPython writes

TEST(Pickle, ReadsWhatCPythonWrites) {
  for_each_vector([](const std::string& text, const Bytes& bytes) {
    try {
      EXPECT_EQ(unpickle(bytes).repr(), text) << to_hex(bytes);
    } catch (const std::exception& error) {
      ADD_FAILURE() << text << ": " << error.what();
    }
  });
}

TEST(Pickle, WritesWhatReadsAsTheSame) {
  for_each_vector([](const std::string& text, const Bytes& bytes) {
    const auto object = unpickle(bytes);
    for (const int protocol : {4, 5}) {
      const auto again = pickle(object, protocol);
      EXPECT_EQ(unpickle(again).repr(), text);
      EXPECT_EQ(pickle(unpickle(again), protocol), again) << text;
      EXPECT_EQ(std::to_integer<int>(again[1]), protocol);
    }
  });
}

TEST(Pickle, RefusesEveryTruncation) {
  for_each_vector([](const std::string& text, const Bytes& bytes) {
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      // Its own allocation, so that a read beyond the end is seen.
      const Bytes part(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
      EXPECT_THROW(unpickle(part), SerializationError) << text << " cut at " << size;
    }
  });
}

TEST(Pickle, SurvivesEveryChangedByte) {
  for_each_vector([](const std::string&, Bytes bytes) {
    for (auto& byte : bytes) {
      const auto before = byte;
      for (const int mask : {0x01, 0x80, 0xff}) {
        byte = before ^ std::byte(mask);
        try {
          static_cast<void>(unpickle(bytes));
        } catch (const SerializationError&) {
        }
      }
      byte = before;
    }
  });
}

TEST(Pickle, WritesTheSmallestForms) {
  const auto hex = [](const Object& object) { return to_hex(pickle(object)); };
  EXPECT_EQ(hex(nullptr), "80044e2e");
  EXPECT_EQ(hex(255), "80044bff2e");
  EXPECT_EQ(hex(256), "80044d00012e");
  EXPECT_EQ(hex(-1), "80044affffffff2e");
  EXPECT_EQ(hex(std::int64_t{1} << 31), "80048a0500000080002e");
  EXPECT_EQ(hex(1.0), "8004473ff00000000000002e");
  EXPECT_EQ(hex("hi"), "80048c0268692e");
  EXPECT_EQ(hex(Object::list({1})), "80045d284b01652e");
  EXPECT_EQ(hex(Object::tuple({1, 2})), "80044b014b02862e");
  EXPECT_EQ(hex(Object::dict({{"a", 1}})), "80047d288c01614b01752e");
}

TEST(Pickle, WritesOnlyProtocolsFourAndFive) {
  EXPECT_THROW(pickle(1, 3), std::invalid_argument);
  EXPECT_THROW(pickle(1, 6), std::invalid_argument);
}

// ---- other spellings

struct Spelling {
  const char* name;
  Bytes bytes;
  const char* text;
};

TEST(Pickle, ReadsOtherSpellings) {
  const Spelling spellings[] = {
      {"wide int", raw("\x80\x04J\x05\0\0\0."), "5"},
      {"wider int", raw("\x80\x04M\x05\0."), "5"},
      {"long for a small int", raw("\x80\x04\x8a\x02\x05\0."), "5"},
      {"long of no bytes", raw("\x80\x04\x8a\0."), "0"},
      {"long4", raw("\x80\x04\x8b\x01\0\0\0\xff."), "-1"},
      {"long str form", raw("\x80\x04X\x02\0\0\0hi."), "'hi'"},
      {"longest str form", raw("\x80\x04\x8d\x02\0\0\0\0\0\0\0hi."), "'hi'"},
      {"long bytes form",
       raw("\x80\x04"
           "B\x02\0\0\0hi."),
       "b'hi'"},
      {"longest bytes form", raw("\x80\x04\x8e\x02\0\0\0\0\0\0\0hi."), "b'hi'"},
      {"tuple with a mark", raw("\x80\x04(K\x01K\x02t."), "(1, 2)"},
      {"empty tuple with a mark", raw("\x80\x04(t."), "()"},
      {"list from a mark", raw("\x80\x04(K\x01K\x02l."), "[1, 2]"},
      {"dict from a mark",
       raw("\x80\x04(K\x01K\x02"
           "d."),
       "{1: 2}"},
      {"nothing appended", raw("\x80\x04](e."), "[]"},
      {"one by one",
       raw("\x80\x04]K\x01"
           "aK\x02"
           "a."),
       "[1, 2]"},
      {"items one by one", raw("\x80\x04}K\x01K\x02sK\x03K\x04s."), "{1: 2, 3: 4}"},
      {"a key twice", raw("\x80\x04}(K\x01K\x02K\x01K\x03u."), "{1: 3}"},
      {"equal keys", raw("\x80\x04}(K\x01K\x02G\x3f\xf0\0\0\0\0\0\0K\x03\x88K\x04u."), "{1: 4}"},
      {"memo of protocol 2",
       raw("\x80\x04]q\x00K\x01"
           "ah\x00\x86."),
       ""},
      {"long memo", raw("\x80\x04K\x07r\0\0\0\0j\0\0\0\0\x86."), "(7, 7)"},
      {"no header", raw("K\x05."), "5"},
      {"two frames", raw("\x80\x04\x95\x02\0\0\0\0\0\0\0K\x05\x95\x04\0\0\0\0\0\0\0K\x06\x86."),
       "(5, 6)"},
      {"outside of frames", raw("\x80\x04K\x05\x95\x04\0\0\0\0\0\0\0K\x06\x86."), "(5, 6)"},
      {"old global",
       raw("\x80\x04"
           "cbuiltins\nKeyError\n\x8c\x01k\x85R."),
       "KeyError('k')"},
      {"Python 2's module",
       raw("\x80\x02"
           "cexceptions\nKeyError\nX\x01\0\0\0k\x85R."),
       "KeyError('k')"},
      {"public Empty",
       raw("\x80\x04\x8c\x05queue\x8c\x05"
           "Empty\x93)R."),
       "Empty()"},
      {"private Empty",
       raw("\x80\x04\x8c\x06_queue\x8c\x05"
           "Empty\x93)R."),
       "Empty()"},
      {"called bytearray",
       raw("\x80\x04\x8c\x08"
           "builtins\x8c\tbytearray\x93"
           "C\x02"
           "ab\x85R."),
       "bytearray(b'ab')"},
      {"called set",
       raw("\x80\x03"
           "cbuiltins\nset\n](K\x01K\x02"
           "e\x85R."),
       "{1, 2}"},
      {"called Token",
       raw("\x80\x04\x8c\x18multiprocessing.managers\x8c\x05Token\x93"
           "\x8c\x01t\x8c\x01"
           "a\x8c\x01i\x87R."),
       "Token('t', 'a', 'i')"},
      {"two references to one list",
       raw("\x80\x04]\x94K\x01"
           "a0h\x00h\x00\x86."),
       "([1], [1])"},
      {"pop",
       raw("\x80\x04K\x01K\x02"
           "0."),
       "1"},
      {"pop to the mark",
       raw("\x80\x04K\x01(K\x02K\x03"
           "1."),
       "1"},
      {"an array that says its format, bytes swapped",
       raw("\x80\x04\x8c\x05"
           "array\x8c\x14_array_reconstructor\x93(\x8c\x05"
           "array\x8c\x05"
           "array\x93\x8c\x01iK\x09"
           "C\x04\x00\x00\x00\x05tR."),
       "array('i', [5])"},
  };
  for (const auto& [name, bytes, text] : spellings) {
    if (*text == 0) {
      EXPECT_EQ(unpickle(bytes).repr(), "([1], [1])") << name;
      continue;
    }
    try {
      EXPECT_EQ(unpickle(bytes).repr(), text) << name;
    } catch (const std::exception& error) {
      ADD_FAILURE() << name << ": " << error.what();
    }
  }
}

// ---- what is refused

TEST(Pickle, NamesTheClassThatItRefuses) {
  expect_refused(raw("\x80\x02"
                     "cos\nsystem\nX\x04\0\0\0true\x85R."),
                 "os.system");
  expect_refused(with_header("\x8c\x08"
                             "builtins\x8c\x04"
                             "eval\x93\x8c\x01 \x85R."),
                 "builtins.eval");
}

TEST(Pickle, RefusesNamesWithDots) {
  expect_refused(
      with_header("\x8c\x05queue\x8c\x0e"
                  "Empty.__init__\x93)R."));
  expect_refused(with_header("\x8c\x05queue\x8c\x13threading.sys.exit_\x93)R."));
}

TEST(Pickle, RefusesAClassAsAValue) {
  const std::string label =
      "\x8c\x08"
      "builtins\x8c\x05"
      "slice\x93";
  expect_refused(with_header(label + "."), "as a value");
  expect_refused(with_header(label + "\x85."), "as a value");
  expect_refused(with_header("]" + label + "a."), "as a value");
  expect_refused(with_header("}K\x01" + label + "s."), "as a value");
  expect_refused(with_header(label + label + "\x85R."), "as a value");
  expect_refused(with_header(label + ")R" + label + "b."));
}

TEST(Pickle, ChecksTheArgumentsOfEveryClass) {
  const auto call = [](std::string_view module, std::string_view name, std::string_view args) {
    std::string body = "\x8c";
    body += static_cast<char>(module.size());
    body += module;
    body += "\x8c";
    body += static_cast<char>(name.size());
    body += name;
    body += "\x93";
    body += args;
    return with_header(body + "R.");
  };
  expect_refused(call("builtins", "slice", "]\x85"), "slice of other than");
  expect_refused(call("builtins", "range", std::string_view("K\0K\1K\0\x87", 7)), "step not 0");
  expect_refused(call("builtins", "complex", "K\1K\1\x86"));
  expect_refused(call("builtins", "bytearray", "K\x7f\x85"));  // zeros in Python
  expect_refused(call("builtins", "set", "K\1\x85"));
  expect_refused(call("builtins", "list", "N\x85"));
  expect_refused(call("builtins", "bytes", "K\x7f\x85"));
  expect_refused(call("builtins", "iter", "N\x85"));
  expect_refused(call("array", "array",
                      "\x8c\x01i"
                      "C\x03"
                      "abc\x86"));
  expect_refused(call("array", "array",
                      "\x8c\x01x"
                      "C\x00\x86"));
  expect_refused(call("array", "_array_reconstructor", "NK\x01K\x01K\x01t"));
  expect_refused(call("collections", "OrderedDict", "}\x85"));
  expect_refused(call("collections", "deque", "](K\1e\x85"));
  expect_refused(call("collections", "Counter", "]\x85"));
  expect_refused(call("multiprocessing.managers", "Token", "K\1K\1K\1\x87"));
  expect_refused(call("multiprocessing.managers", "RebuildProxy", ")"));
  expect_refused(call("builtins", "KeyError", "K\1"), "no tuple");
}

TEST(Pickle, RefusesWhatMakesNoSense) {
  expect_refused({}, "ends too early");
  expect_refused(with_header("N"), "ends too early");
  expect_refused(with_header("."), "exactly one value");
  expect_refused(with_header("NN."), "exactly one value");
  expect_refused(with_header("(N."), "exactly one value");
  expect_refused(with_header("N.N"), "after the end");
  expect_refused(raw("\x80\x06N."), "protocol 6");
  expect_refused(raw("\x80\x00N."), "protocol 0");
  expect_refused(raw("\x80\x02I5\n."), "not for data");
  expect_refused(with_header("]K\1e."), "mark");
  expect_refused(with_header("}(K\1u."), "key without a value");
  expect_refused(with_header("K\1K\2"
                             "a."),
                 "added to a int");
  expect_refused(with_header("}]K\1s."), "hashable");
  expect_refused(with_header("}}K\1s."), "hashable");
  expect_refused(with_header("(]\x91."), "hashable");
  expect_refused(with_header("\x8f(]\x85\x90."), "hashable");
  expect_refused(with_header("h\x07."), "memo");
  expect_refused(with_header("}}b."), "state");
  expect_refused(with_header("\x8c\x01x)R."), "no class");
  expect_refused(with_header("\x8c\x02\xc3\x28."), "UTF-8");
  expect_refused(with_header("\x8c\x02\xc0\x80."), "UTF-8");
  expect_refused(with_header("\x8c\x04\xf4\x90\x80\x80."), "UTF-8");
  for (const auto* body :
       {"(K\1ibuiltins\nlist\n.", "(cbuiltins\nlist\no.", "\x82\1.", "K\1Q.", "\x97.", "\x98.",
        "K\1"
        "2\x86.",
        "\x92.", "P1\n.", "V1\n.", "g0\n."}) {
    expect_refused(with_header(body));
  }
}

TEST(Pickle, RefusesATokenWithoutItsState) {
  const std::string token = "\x8c\x18multiprocessing.managers\x8c\x05Token\x93)\x81";
  const std::string state = "\x8c\1t\x8c\1a\x8c\1i\x87";
  expect_refused(with_header(token + "."), "without its state");
  expect_refused(with_header(token + "K\1b."), "no tuple");
  expect_refused(with_header(token + state + "b" + state + "b."), "state");
  EXPECT_EQ(unpickle(with_header(token + state + "b.")).repr(), "Token('t', 'a', 'i')");
}

TEST(Pickle, RefusesWhatContainsItself) {
  expect_refused(raw("\x80\x04]\x94h\0a."), "contain itself");
  expect_refused(raw("\x80\x04}\x94K\x01h\0s."), "contain itself");
  expect_refused(raw("\x80\x04]\x94h\0\x85\x94"
                     "a0h\x01."),
                 "contain itself");
  expect_refused(raw("\x80\x04\x8f\x94(h\0\x90."));
}

TEST(Pickle, RefusesLengthsThatLie) {
  for (const auto& bytes :
       {raw("\x80\x04\x8c\xff"
            "ab."),
        raw("\x80\x04X\xff\xff\xff\x7f"
            "ab."),
        raw("\x80\x04\x8d\0\0\0\0\0\0\0\x80"
            "ab."),
        raw("\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff"
            "ab."),
        raw("\x80\x05\x96\0\0\0\0\0\x01\0\0"
            "ab."),
        raw("\x80\x04\x95\x20\0\0\0\0\0\0\0K\x01."),
        raw("\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xffK\x01."),
        raw("\x80\x04\x95\x01\0\0\0\0\0\0\0K\x05."),
        raw("\x80\x04\x95\x0a\0\0\0\0\0\0\0\x95\x01\0\0\0\0\0\0\0N."),
        raw("\x80\x04\x8b\xff\xff\xff\xff."), raw("\x80\x04\x8b\0\0\0\x10\x01."),
        raw("\x80\x02Nr\xff\xff\xff\x7f."), raw("\x80\x02Nq\x01.")}) {
    expect_refused(bytes);
  }
}

TEST(Pickle, RefusesWhatIsNestedTooDeeply) {
  const auto lists = repeated("]", 5000) + repeated("a", 4999) + ".";
  expect_refused(with_header(lists), "too deeply");
  expect_refused(with_header(")" + repeated("\x85", 5000) + "."), "too deeply");
  expect_refused(with_header(repeated("(", 100'000) + "N."), "open marks");
  const auto within = repeated("]", 1000) + repeated("a", 999) + ".";
  EXPECT_EQ(pickle(unpickle(with_header(within))).size(), 2 + 1000 + 2 * 999 + 1U);
}

TEST(Pickle, DeepestObjectsAreFreedComparedAndPrinted) {
  PickleLimits limits;
  limits.depth = 1'000'000;  // more than there is
  const auto body = ")" + repeated("\x85", kMaxDepth - 1) + ".";
  const auto object = unpickle(with_header(body), limits);
  EXPECT_EQ(object, unpickle(with_header(body), limits));
  EXPECT_EQ(object.repr().size(), kMaxDepth * 3 - 1);
  EXPECT_EQ(object.hash(), unpickle(with_header(body), limits).hash());
  EXPECT_THROW(pickle(object), SerializationError);
  const auto more = ")" + repeated("\x85", kMaxDepth) + ".";
  EXPECT_THROW(unpickle(with_header(more), limits), SerializationError);
}

// Ten levels of ten references each: few bytes, ten thousand million leaves.
TEST(Pickle, RefusesASmallMessageOfHugeContent) {
  std::string body = "]\x94(" + repeated("K\x01", 10) + "e";
  for (int level = 0; level < 9; ++level) {
    body += "]\x94(" + repeated(std::string("h") + static_cast<char>(level), 10) + "e";
  }
  expect_refused(with_header(body + "."));
  std::string tuples = "K\x01\x85\x94";
  for (int level = 0; level < 40; ++level) {
    const auto get = std::string("h") + static_cast<char>(level);
    tuples += get + get + "\x86\x94";
  }
  expect_refused(with_header(tuples + "."), "more values");
}

TEST(Pickle, CountsWhatSharedStringsWouldTake) {
  std::string body = "(X";
  const std::uint32_t size = 1 << 20;
  for (int shift = 0; shift < 32; shift += 8) body += static_cast<char>(size >> shift);
  body += std::string(size, 'x') + "\x94";
  expect_refused(with_header(body + repeated(std::string_view("h\0", 2), 2000) + "t."), "shared");
}

TEST(Pickle, LimitsWhatAMessageMayTake) {
  const auto million = with_header(repeated("]", 1'000'000) + ".");
  PickleLimits few;
  few.values = 1000;
  EXPECT_THROW(unpickle(million, few), SerializationError);
  PickleLimits small;
  small.memory = 1 << 20;
  EXPECT_THROW(unpickle(million, small), SerializationError);
  EXPECT_THROW(unpickle(pickle(std::string(2 << 20, 'x')), small), SerializationError);
  PickleLimits strings;
  strings.string_bytes = 10;
  EXPECT_THROW(unpickle(pickle("12345678901"), strings), SerializationError);
  EXPECT_EQ(unpickle(pickle("1234567890"), strings), "1234567890");
  PickleLimits memo;
  memo.memo = 2;
  EXPECT_THROW(unpickle(with_header("]\x94]\x94]\x94\x87."), memo), SerializationError);
  PickleLimits integers;
  integers.integer_bytes = 9;
  const auto big = Object::integer("100000000000000000000000");
  EXPECT_THROW(unpickle(pickle(big), integers), SerializationError);
}

// Equal large keys again and again, thrown away each time: every comparison must be paid for.
TEST(Pickle, BoundsTheWorkOfEqualKeys) {
  const auto tuple = "(" + repeated("K\x01", 1'000'000) + "t\x94";
  std::string body = tuple + tuple;
  for (int i = 0; i < 1000; ++i)
    body += std::string_view(
        "(h\0h\1\x91"
        "0",
        7);
  expect_refused(with_header(body + "00N."), "more values");
}

// ---- objects of unknown classes

TEST(Pickle, KeepsUnknownClassesWhereAsked) {
  PickleLimits limits;
  limits.unknown_classes = true;
  const auto body = with_header(
      "\x8c\x03"
      "app\x8c\x07MyError\x93\x8c\x04mine\x85R}\x8c\1aK\1sb.");
  expect_refused(body, "app.MyError");
  const auto object = unpickle(body, limits);
  ASSERT_TRUE(object.is_instance("app", "MyError"));
  EXPECT_EQ(object.instance().args, Object::tuple({"mine"}));
  EXPECT_EQ(object.instance().state, Object::dict({{"a", 1}}));
  EXPECT_EQ(object.repr(), "MyError('mine')");
  EXPECT_THROW(pickle(object), SerializationError);
  EXPECT_THROW(pickle(Object::list({object})), SerializationError);
}

TEST(Pickle, WritesNoInstanceThatItWouldNotRead) {
  EXPECT_THROW(pickle(Object::instance({"os", "system", Object::tuple({"true"}), {}})),
               SerializationError);
  EXPECT_THROW(pickle(Object::instance({"builtins", "bytearray", Object::tuple({1}), {}})),
               SerializationError);
  EXPECT_THROW(pickle(Object::exception("eval", {"1"})), SerializationError);
  EXPECT_THROW(pickle(Object("\xff")), SerializationError);
  EXPECT_EQ(unpickle(pickle(Object::exception("KeyError", {"x"}))),
            Object::exception("KeyError", {"x"}));
}

TEST(Pickle, LongContainersSurvive) {
  auto list = Object::list();
  auto dict = Object::dict();
  auto set = Object::set({});
  for (int i = 0; i < 5000; ++i) {
    list.append(i);
    dict[i] = std::to_string(i);
    set.add(i);
  }
  for (const auto& object : {list, dict, set}) EXPECT_EQ(unpickle(pickle(object)), object);
}

TEST(Pickle, ObjectsTravelAsAnySerializableType) {
  struct Message {
    int id;
    Object content;
  };
  const Message message{7, Object::dict({{"a", Object::list({1, 2.5, nullptr})}})};
  detail::HeapWriter writer;
  detail::encode(writer, message);
  detail::Reader reader(writer.bytes());
  const auto copy = detail::decode<Message>(reader);
  EXPECT_EQ(copy.id, 7);
  EXPECT_EQ(copy.content, message.content);
}

// ---- CPython of this machine

class CPython : public testing::Test {
 protected:
  void SetUp() override {
    if (std::system("python3 -c '' 2> /dev/null") != 0) {
      GTEST_SKIP() << "there is no python3 on this machine";
    }
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // What the peer prints, given the lines.
  std::string run(const std::string& mode, const std::string& lines = "") {
    const auto input = folder_ / "input";
    std::ofstream(input) << lines;
    const auto script = std::filesystem::path(__FILE__).parent_path() / "../interop/pickle_peer.py";
    const auto command = "python3 '" + script.string() + "' " + mode + " < '" + input.string() +
                         "' > '" + (folder_ / "output").string() + "'";
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
    std::ostringstream output;
    output << std::ifstream(folder_ / "output").rdbuf();
    return output.str();
  }

 private:
  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("cohort-pickle-" + std::to_string(::getpid()));
};

TEST_F(CPython, ReadsBackWhatWasReadFromIt) {
  std::istringstream dumped(run("dump"));
  std::string index;
  std::string protocol;
  std::string text;
  std::string hex;
  std::string lines;
  std::size_t count = 0;
  while (dumped >> index >> protocol >> text >> hex) {
    try {
      const auto object = unpickle(bytes_of(from_hex(hex)));
      EXPECT_EQ(object.repr(), from_hex(text)) << "value " << index << " protocol " << protocol;
      lines += index + "\t" + to_hex(pickle(object, protocol == "5" ? 5 : 4)) + "\n";
      ++count;
    } catch (const std::exception& error) {
      ADD_FAILURE() << "value " << index << " protocol " << protocol << ": " << error.what();
    }
  }
  ASSERT_GT(count, 2000U);
  EXPECT_EQ(run("check", lines), "read " + std::to_string(count) + ", wrong 0\n");
}

TEST_F(CPython, ReadsObjectsMadeHere) {
  const std::vector<Object> objects = {
      std::map<std::string, std::vector<int>>{{"a", {1, 2}}, {"b", {}}},
      std::tuple(1, "two", 3.0, std::optional<int>()),
      Object::exception("ValueError", {"v", 1}),
      Object::range(0, 10),
      Object::slice(nullptr, 5),
      Object::instance({"array", "array", Object::tuple({"h", Object::bytes("\1\2")}), {}}),
      Object::instance({"collections", "deque", Object::tuple({Object::list({1}), 4}), {}}),
      Object::bytearray("bytes"),
      Object::integer("-123456789012345678901234567890"),
      1e300,
      Object::complex(1, -2),
      std::uint64_t{1} << 63,
  };
  std::string lines;
  for (const auto& object : objects) {
    for (const int protocol : {4, 5}) {
      lines += to_hex(bytes_of(object.repr())) + "\t" + to_hex(pickle(object, protocol)) + "\n";
    }
  }
  EXPECT_EQ(run("read", lines), "read " + std::to_string(2 * objects.size()) + ", wrong 0\n");
}

}  // namespace
}  // namespace cohort::wire
