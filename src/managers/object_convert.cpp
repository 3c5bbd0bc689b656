// C++ values from Objects, and the simple Objects.
#include "cohort/detail/object_convert.hpp"

#include <cmath>
#include <limits>
#include <stdexcept>

#include "managers/object_nodes.hpp"

namespace cohort::detail {

using managers::BigInteger;
using managers::Object;
using Kind = Object::Kind;

Object ObjectAccess::boolean(bool value) noexcept {
  Object::Content content;
  content.boolean = value;
  return Object({Kind::boolean, false}, content);
}

Object ObjectAccess::integer(std::int64_t value) noexcept {
  Object::Content content;
  content.integer = value;
  return Object({Kind::integer, false}, content);
}

Object ObjectAccess::unsigned_integer(std::uint64_t value) {
  if (std::in_range<std::int64_t>(value)) return integer(static_cast<std::int64_t>(value));
  return adopt(Kind::integer, new managers::IntegerNode(BigInteger::from_unsigned(value)));
}

Object ObjectAccess::floating(double value) noexcept {
  Object::Content content;
  content.floating = value;
  return Object({Kind::floating, false}, content);
}

Object ObjectAccess::text(std::string value) {
  return adopt(Kind::str, new managers::TextNode(std::move(value)));
}

Object ObjectAccess::dict(std::vector<std::pair<Object, Object>> items) {
  auto result = adopt(Kind::dict, new managers::TableNode(2));
  auto& table = managers::table_of(result).table;
  table.reserve(items.size());
  for (auto& [key, value] : items) *(table.insert(std::move(key)).first + 1) = std::move(value);
  return result;
}

bool ObjectAccess::read_boolean(const Object& object) {
  if (!object.is_bool()) throw TypeMismatch("bool", object.type_name());
  return boolean_of(object);
}

std::int64_t ObjectAccess::read_integer(const Object& object) {
  if (!object.is_int()) throw TypeMismatch("int", object.type_name());
  if (managers::is_big(object)) throw_integer_range(object, 64, true);
  return integer_of(object);
}

std::uint64_t ObjectAccess::read_unsigned(const Object& object) {
  if (!object.is_int()) throw TypeMismatch("int", object.type_name());
  if (managers::is_big(object)) {
    const auto value = managers::big_of(object).small_unsigned();
    if (!value) throw_integer_range(object, 64, false);
    return *value;
  }
  if (integer_of(object) < 0) throw_integer_range(object, 64, false);
  return static_cast<std::uint64_t>(integer_of(object));
}

double ObjectAccess::read_floating(const Object& object) {
  if (object.is_float()) return floating_of(object);
  if (!object.is_int()) throw TypeMismatch("float", object.type_name());
  if (!managers::is_big(object)) return static_cast<double>(integer_of(object));
  const double value = managers::big_of(object).to_double();
  if (std::isinf(value)) throw std::out_of_range("this int is too large for a float");
  return value;
}

std::pair<double, double> ObjectAccess::read_complex(const Object& object) {
  if (object.is(Kind::complex)) {
    const auto& value = managers::complex_of(object);
    return {value.real, value.imaginary};
  }
  if (!object.is_float() && !object.is_int()) throw TypeMismatch("complex", object.type_name());
  return {read_floating(object), 0.0};
}

void ObjectAccess::require_set(const Object& object) {
  if (!object.is_set() && !object.is(Kind::frozenset)) {
    throw TypeMismatch("set or frozenset", object.type_name());
  }
}

void ObjectAccess::throw_integer_range(const Object& object, std::size_t bits, bool is_signed) {
  auto digits = object.repr();
  if (digits.size() > 40) digits = "an int of " + std::to_string(digits.size()) + " digits";
  throw std::out_of_range(digits + " does not fit into " +
                          (is_signed ? "a signed" : "an unsigned") + " integer of " +
                          std::to_string(bits) + " bits");
}

void ObjectAccess::throw_length(const Object& object, std::size_t expected) {
  throw std::out_of_range("a " + std::string(object.type_name()) + " of " +
                          std::to_string(object.size()) + " elements where " +
                          std::to_string(expected) + " are expected");
}

}  // namespace cohort::detail
