// The types that the serialization tests and the fuzzer share.
#pragma once

#include <array>
#include <bitset>
#include <chrono>
#include <complex>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <forward_list>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>

namespace serialize_types {

enum class Color : unsigned char { red, green };

struct Point {
  int x = 0;
  int y = 0;
  bool operator==(const Point&) const = default;
};

struct Flags {
  bool a = false;
  int n = 0;
  bool b[2] = {};
  bool operator==(const Flags&) const = default;
};

struct Empty {
  bool operator==(const Empty&) const = default;
};

struct Node {
  int value = 0;
  std::unique_ptr<Node> next;
};

struct Tree {
  std::string name;
  std::vector<Tree> children;
  bool operator==(const Tree&) const = default;
};

// Written for cereal.
class Account {
 public:
  Account() = default;
  Account(std::string owner, int cents) : owner_(std::move(owner)), cents_(cents) {}
  bool operator==(const Account&) const = default;
  template <class Archive>
  void serialize(Archive& ar) {
    ar(owner_, cents_);
  }

 private:
  std::string owner_;
  int cents_ = 0;
};

// All of it in one message.
struct Rich {
  int i = 0;
  double d = 0;
  bool flag = false;
  Color color = Color::red;
  std::string s;
  std::wstring w;
  std::vector<double> doubles;
  std::vector<std::string> strings;
  std::vector<bool> bits;
  std::vector<Flags> flags;
  std::array<std::string, 2> pair_of_strings;
  std::deque<int> deque;
  std::list<Point> list;
  std::forward_list<int> forward;
  std::map<std::string, std::vector<int>> map;
  std::multimap<int, int> multimap;
  std::set<int> set;
  std::unordered_map<std::string, Point> hash;
  std::unordered_set<std::string> names;
  std::optional<std::string> maybe;
  std::variant<std::monostate, int, std::string> choice;
  std::tuple<int, std::string, Empty> tuple;
  std::chrono::milliseconds wait{};
  std::complex<double> z;
  std::filesystem::path path;
  std::bitset<9> bitset;
  std::unique_ptr<Point> owned;
  std::vector<std::shared_ptr<Tree>> shared;
  Tree tree;
  Node chain;
  std::vector<Account> accounts;
  std::string names_of[2];
};

inline Rich rich() {
  Rich r;
  r.i = 7;
  r.d = 2.5;
  r.flag = true;
  r.color = Color::green;
  r.s = "hello";
  r.w = L"wide";
  r.doubles = {1, 2, 3};
  r.strings = {"a", "", std::string(300, 'x')};
  r.bits = {true, false, true};
  r.flags = {{true, 1, {true, false}}, {false, 2, {false, true}}};
  r.pair_of_strings = {"p", "q"};
  r.deque = {1, 2};
  r.list = {{1, 2}, {3, 4}};
  r.forward = {5, 6};
  r.map = {{"k", {1, 2}}, {"l", {}}};
  r.multimap = {{1, 2}, {1, 3}};
  r.set = {3, 1};
  r.hash = {{"o", {0, 0}}};
  r.names = {"n"};
  r.maybe = "yes";
  r.choice = std::string("third");
  r.tuple = {1, "t", {}};
  r.wait = std::chrono::milliseconds(12);
  r.z = {1, -1};
  r.path = "/tmp/x";
  r.bitset = 0x155;
  r.owned = std::make_unique<Point>(Point{8, 9});
  const auto leaf = std::make_shared<Tree>(Tree{"leaf", {}});
  r.shared = {leaf, nullptr, leaf};
  r.tree = {"root", {{"a", {{"b", {}}}}, {"c", {}}}};
  r.chain = {1, std::make_unique<Node>(Node{2, nullptr})};
  r.accounts = {{"ann", 100}, {"bob", 5}};
  r.names_of[0] = "zero";
  r.names_of[1] = "one";
  return r;
}

}  // namespace serialize_types
