// What can be called in another process, and with what.
#include <chrono>
#include <cohort/async.hpp>
#include <cohort/process.hpp>
#include <complex>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "processes.hpp"

namespace {

using namespace test;
using cohort::async;

// async starts by the default method.
class Targets : public EachMethod {
 protected:
  void SetUp() override {
    EachMethod::SetUp();
    cohort::set_start_method(GetParam());
  }
  void TearDown() override {
    cohort::set_start_method(StartMethod::forkserver);
    EachMethod::TearDown();
  }
};
class OneTarget : public Watched {};

INSTANTIATE_TEST_SUITE_P(Methods, Targets, every_method(), method_name);

// ---- callables

int twice(int x) { return 2 * x; }
int twice_noexcept(int x) noexcept { return 2 * x; }
double twice(double x) { return 2 * x; }
template <class T>
T thrice(T x) {
  return x + x + x;
}
int nothing_given() { return 9; }

struct Scale {
  int factor = 0;
  int operator()(int x) const { return factor * x; }
};

struct Counter {
  int count = 0;
  int operator()(int by) { return count += by; }  // not const
};

class Account {
 public:
  Account() = default;
  explicit Account(int balance) : balance_(balance) {}
  int plus(int x) { return balance_ += x; }
  int balance() const noexcept { return balance_; }
  int sum(int a, int b) const& { return balance_ + a + b; }
  template <class Archive>
  void serialize(Archive& archive) {
    archive(balance_);
  }

 private:
  int balance_ = 0;
};

struct Shape {
  virtual ~Shape() = default;
  virtual std::string name() const { return "shape"; }
  virtual int corners(int more) const { return more; }
};
struct Square final : Shape {
  std::string label = "none";
  std::string name() const override { return "square " + label; }
  int corners(int more) const override { return 4 + more; }
  template <class Archive>
  void serialize(Archive& archive) {
    archive(label);
  }
};
struct Left {
  int left = 1;
  int of_left(int x) const { return left + x; }
};
struct Right {
  int right = 2;
  int of_right(int x) const { return right * x; }
};
struct Both : Left, Right {  // a pointer to Right's member adjusts the object's address
  int own = 3;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(left, right, own);
  }
};

TEST_P(Targets, FunctionsAreCalled) {
  EXPECT_EQ(async(thrice<int>, 5).get(), 15);
  EXPECT_EQ(async(&thrice<int>, 5).get(), 15);
  EXPECT_EQ(async(twice_noexcept, 5).get(), 10);
  EXPECT_EQ(async(nothing_given).get(), 9);
}

TEST_P(Targets, AnOverloadIsChosenByACast) {
  EXPECT_EQ(async(static_cast<int (*)(int)>(twice), 4).get(), 8);
  EXPECT_EQ(async(static_cast<double (*)(double)>(twice), 0.25).get(), 0.5);
  int (*chosen)(int) = twice;
  EXPECT_EQ(async(chosen, 6).get(), 12);
}

TEST_P(Targets, CapturelessLambdasAreCalled) {
  EXPECT_EQ(async([](int x) { return x + 1; }, 1).get(), 2);
  EXPECT_EQ(async([](auto x) { return x + x; }, std::string("ab")).get(), "abab");
  EXPECT_EQ(async([](int x) mutable noexcept { return ++x; }, 1).get(), 2);
}

TEST_P(Targets, FunctionObjectsCarryTheirState) {
  EXPECT_EQ(async(Scale{7}, 6).get(), 42);
  EXPECT_EQ(async(Counter{10}, 5).get(), 15);
  Counter counter{1};
  EXPECT_EQ(async(counter, 1).get(), 2);
  EXPECT_EQ(counter.count, 1);  // a copy was called
  EXPECT_EQ(async(std::plus<>(), 20, 22).get(), 42);
}

TEST_P(Targets, BoundCallsCarryTheirArguments) {
  EXPECT_EQ(async(cohort::bind(thrice<int>, 5)).get(), 15);
  EXPECT_EQ(async(cohort::bind(std::minus<>(), 50), 8).get(), 42);
  auto nested = cohort::bind(cohort::bind(std::minus<>(), 50), 8);
  EXPECT_EQ(async(nested).get(), 42);
  EXPECT_EQ(async(cohort::bind(&Account::plus, Account(40)), 2).get(), 42);
  EXPECT_EQ(async(cohort::bind([](const std::string& a, const std::string& b) { return a + b; },
                               "a literal"),
                  " and more")
                .get(),
            "a literal and more");
}

TEST_P(Targets, MembersAreCalledOnACopyOfTheObject) {
  Account account(40);
  EXPECT_EQ(async(&Account::plus, account, 2).get(), 42);
  EXPECT_EQ(account.balance(), 40);
  EXPECT_EQ(async(&Account::balance, account).get(), 40);
  EXPECT_EQ(async(&Account::sum, account, 1, 1).get(), 42);
  EXPECT_EQ(async(&Account::balance, std::make_shared<Account>(3)).get(), 3);
  EXPECT_EQ(async(&Account::balance, std::make_unique<Account>(4)).get(), 4);
}

TEST_P(Targets, DataMembersAreRead) { EXPECT_EQ(async(&Scale::factor, Scale{31}).get(), 31); }

TEST_P(Targets, VirtualMembersAreFoundByTheObject) {
  Square square;
  square.label = "one";
  EXPECT_EQ(async(&Shape::name, square).get(), "square one");
  EXPECT_EQ(async(&Shape::corners, square, 1).get(), 5);
  EXPECT_EQ(async(&Square::name, square).get(), "square one");
}

TEST_P(Targets, MembersOfASecondBaseAreCalledOnThatBase) {
  EXPECT_EQ(async(&Right::of_right, Both(), 21).get(), 42);
  EXPECT_EQ(async(&Left::of_left, Both(), 41).get(), 42);
  int (Both::*member)(int) const = &Right::of_right;
  EXPECT_EQ(async(member, Both(), 21).get(), 42);
}

TEST_F(OneTarget, AForkedProcessTakesAnyCallable) {
  auto channel = Channel::make();
  int captured = 5;
  auto resource = std::make_unique<int>(6);
  int* pointer = &captured;
  auto child = Process::forked([&captured, channel, pointer, resource = std::move(resource)] {
    channel.send(captured + *pointer + *resource);
  });
  EXPECT_EQ(child.start_method(), StartMethod::fork);
  child.start();
  EXPECT_EQ(channel.receive<int>(), 16);
  child.join();
  std::function<void()> function = [channel] { channel.send(1); };
  auto another = Process::forked({.name = "named"}, function);
  EXPECT_EQ(another.name(), "named");
  another.start();
  EXPECT_EQ(channel.receive<int>(), 1);
  another.join();
}

TEST_F(OneTarget, WhatCanOnlyBeForkedRefusesAnotherMethodAtOnce) {
  for (auto method : {StartMethod::forkserver, StartMethod::spawn}) {
    try {
      auto child = Process::forked({.start_method = method}, [] {});
      FAIL();
    } catch (const cohort::Error& error) {
      EXPECT_NE(std::string(error.what()).find("always forked"), std::string::npos) << error.what();
    }
  }
}

// ---- arguments

TEST_P(Targets, TextArrivesByValue) {
  const char* pointer = "a pointer";
  char array[] = "an array";
  const std::string text = "a view of this and more";
  auto join = [](const std::string& a, std::string_view b, const std::string& c,
                 const std::string& d) { return a + "|" + std::string(b) + "|" + c + "|" + d; };
  EXPECT_EQ(async(join, "a literal", pointer, array, std::string_view(text).substr(0, 6)).get(),
            "a literal|a pointer|an array|a view");
}

struct Handles {
  Channel answers;
  std::vector<Channel> more;
  std::map<std::string, Channel> named;
  std::optional<cohort::ring::Ring> raw;
};

TEST_P(Targets, HandlesTravelInsideStructsAndContainers) {
  Handles handles{Channel::make(), {Channel::make(), Channel::make()}, {}, {}};
  handles.named["x"] = Channel::make();
  handles.raw = cohort::ring::Ring(4096);
  Process child(
      with(),
      [](const Handles& h) {
        h.answers.send(0);
        h.more.at(0).send(1);
        h.more.at(1).send(2);
        h.named.at("x").send(3);
        h.raw->put(std::as_bytes(std::span("raw", 3)));
      },
      handles);
  child.start();
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
  EXPECT_EQ(handles.answers.receive<int>(), 0);
  EXPECT_EQ(handles.more[0].receive<int>(), 1);
  EXPECT_EQ(handles.more[1].receive<int>(), 2);
  EXPECT_EQ(handles.named["x"].receive<int>(), 3);
  EXPECT_EQ(handles.raw->take(soon())->bytes().size(), 3U);
}

TEST_P(Targets, AHandleMayBeTakenByValueByReferenceAndByConstReference) {
  auto channel = Channel::make();
  EXPECT_NO_THROW(async([](Channel c) { c.send(1); }, channel).get());
  EXPECT_NO_THROW(async([](Channel& c) { c.send(2); }, channel).get());
  EXPECT_NO_THROW(async([](const Channel& c) { c.send(3); }, channel).get());
  for (int i = 1; i <= 3; ++i) EXPECT_EQ(channel.receive<int>(), i);
}

TEST_P(Targets, AHandleOutlivesTheCallersCopy) {
  auto gate = Channel::make();
  auto answer = Channel::make();
  std::optional<Channel> passed = Channel::make();
  passed->send(std::string("left inside"));
  Process child(
      with(),
      [](Channel& g, Channel& a, Channel& p) {
        g.receive<int>();
        a.send(p.receive<std::string>());
      },
      gate, answer, *passed);
  passed.reset();  // before the start: the Process holds it
  child.start();
  gate.send(1);
  EXPECT_EQ(answer.receive<std::string>(), "left inside");
  child.join();
}

TEST_P(Targets, MoveOnlyArgumentsAreMovedInAndArrive) {
  auto number = std::make_unique<int>(41);
  std::vector<std::unique_ptr<std::string>> texts;
  texts.push_back(std::make_unique<std::string>("x"));
  texts.push_back(nullptr);
  auto sum = [](std::unique_ptr<int>& n, const std::vector<std::unique_ptr<std::string>>& t) {
    return *n + static_cast<int>(t.at(0)->size()) + (t.at(1) ? 100 : 0);
  };
  EXPECT_EQ(async(sum, std::move(number), std::move(texts)).get(), 42);
}

TEST_P(Targets, ManyKindsOfArgumentsArriveAsTheyWere) {
  using Variant = std::variant<int, std::string>;
  enum class Colour { red, green };
  auto check = [](Colour colour, const Variant& variant, std::chrono::milliseconds time,
                  const std::filesystem::path& path, std::complex<double> z, bool yes, char letter,
                  const std::optional<int>& none) {
    return colour == Colour::green && std::get<std::string>(variant) == "v" &&
           time == std::chrono::milliseconds(1500) && path == "/a/b" &&
           z == std::complex<double>(1, -1) && yes && letter == 'x' && !none;
  };
  EXPECT_TRUE(async(check, Colour::green, Variant("v"), std::chrono::milliseconds(1500),
                    std::filesystem::path("/a/b"), std::complex<double>(1, -1), true, 'x',
                    std::optional<int>())
                  .get());
}

TEST_P(Targets, AnArgumentOfAHundredMegabytesArrives) {
  std::vector<char> large(100'000'000, 'a');
  large[99'999'999] = 'z';
  auto check = [](const std::vector<char>& v) {
    return v.size() == 100'000'000 && v.front() == 'a' && v.back() == 'z';
  };
  EXPECT_TRUE(async(check, std::move(large)).get());
}

TEST_P(Targets, TheTargetGetsLvaluesThatItMayChange) {
  auto change = [](std::string& text, int& number) {
    text += "!";
    ++number;
    return text + std::to_string(number);
  };
  std::string text = "mine";
  EXPECT_EQ(async(change, text, 1).get(), "mine!2");
  EXPECT_EQ(text, "mine");
}

// A class that counts how often it is made from bytes.
struct Decoded {
  int times = 0;
  template <class Archive>
  void save(Archive& archive) const {
    archive(times);
  }
  template <class Archive>
  void load(Archive& archive) {
    archive(times);
    ++times;
  }
};

TEST_P(Targets, ArgumentsAreSerializedOnceAndUnderForkNever) {
  EXPECT_EQ(async([](const Decoded& d) { return d.times; }, Decoded()).get(),
            GetParam() == StartMethod::fork ? 0 : 1);
}

struct Unreadable {
  template <class Archive>
  void save(Archive& archive) const {
    archive(1);
  }
  template <class Archive>
  void load(Archive&) {
    throw std::runtime_error("cannot be read back");
  }
};

TEST_F(OneTarget, AnArgumentThatCannotBeReadBackFailsTheStartOfASpawnAndTheForkServersChild) {
  Process spawned(
      {.start_method = StartMethod::spawn}, [](Unreadable&) {}, Unreadable());
  EXPECT_THROW(spawned.start(), std::exception);
  EXPECT_TRUE(cohort::active_children().empty());
  Process served(
      {.start_method = StartMethod::forkserver}, [](const Unreadable&) {}, Unreadable());
  served.start();
  served.join();
  EXPECT_EQ(served.exitcode(), 1);
}

}  // namespace
