// What stands behind an Object that does not fit into it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "cohort/object.hpp"
#include "managers/big_integer.hpp"
#include "managers/object_table.hpp"

namespace cohort::managers {

using detail::ObjectAccess;

// Only what cannot change keeps its hash; 0 is none.
struct HashedNode : detail::ObjectNode {
  std::atomic<std::size_t> hash{0};
};

struct TextNode : HashedNode {  // str, bytes, bytearray
  explicit TextNode(std::string text) noexcept : content(std::move(text)) {}
  std::string content;
};

struct IntegerNode : detail::ObjectNode {
  explicit IntegerNode(BigInteger integer) noexcept : value(std::move(integer)) {}
  BigInteger value;  // never one that fits into 64 bits
};

struct ComplexNode : detail::ObjectNode {
  ComplexNode(double re, double im) noexcept : real(re), imaginary(im) {}
  double real;
  double imaginary;
};

struct SequenceNode : HashedNode {  // tuple, list
  explicit SequenceNode(std::vector<Object> objects) noexcept : elements(std::move(objects)) {}
  std::vector<Object> elements;
};

struct TableNode : HashedNode {  // dict, set, frozenset
  explicit TableNode(std::size_t stride) noexcept : table(stride) {}
  TableNode(const TableNode& other) : table(other.table) {}
  ObjectTable table;
};

struct InstanceNode : HashedNode {
  explicit InstanceNode(Object::Instance record) noexcept : instance(std::move(record)) {}
  Object::Instance instance;
};

// The node of an object of a kind that has one.
inline TextNode& text_of(const Object& object) noexcept {
  return ObjectAccess::node<TextNode>(object);
}
inline SequenceNode& sequence_of(const Object& object) noexcept {
  return ObjectAccess::node<SequenceNode>(object);
}
inline TableNode& table_of(const Object& object) noexcept {
  return ObjectAccess::node<TableNode>(object);
}
inline ComplexNode& complex_of(const Object& object) noexcept {
  return ObjectAccess::node<ComplexNode>(object);
}
inline InstanceNode& instance_of(const Object& object) noexcept {
  return ObjectAccess::node<InstanceNode>(object);
}
inline bool is_big(const Object& object) noexcept {
  return object.is_int() && ObjectAccess::counted(object);
}
inline const BigInteger& big_of(const Object& object) noexcept {
  return ObjectAccess::node<IntegerNode>(object).value;
}

// Equal, or the same NaN: how containers compare their elements. Deeper than kMaxNesting throws.
bool same_element(const Object& a, const Object& b, std::size_t depth = 0);
std::size_t hash_at(const Object& object, std::size_t depth);

// Objects nested deeper than this are kept and freed, but neither compared, hashed nor printed.
inline constexpr std::size_t kMaxNesting = 2000;
void check_nesting(std::size_t depth);

}  // namespace cohort::managers
