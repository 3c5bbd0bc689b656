// Equality and hashes, as Python has them.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "managers/object_nodes.hpp"
#include "managers/sip_hash.hpp"

namespace cohort::managers {

namespace {

using Kind = Object::Kind;

constexpr double kTwoTo63 = 9223372036854775808.0;

enum class Nan { unequal, same };  // in containers a NaN is found as itself

bool is_number(const Object& object) {
  return object.is_bool() || object.is_int() || object.is_float() || object.is(Kind::complex);
}

std::int64_t small_of(const Object& object) {
  return object.is_bool() ? ObjectAccess::boolean_of(object) : ObjectAccess::integer_of(object);
}

bool fits_small(double value) { return value >= -kTwoTo63 && value < kTwoTo63; }

bool equal_floats(double a, double b, Nan nan) {
  return a == b || (nan == Nan::same && std::isnan(a) && std::isnan(b));
}

bool equals_float(const Object& whole, double value) {
  if (std::trunc(value) != value || std::isinf(value)) return false;  // NaN, too
  if (is_big(whole)) {
    return !fits_small(value) && BigInteger::from_double(value) == big_of(whole);
  }
  return fits_small(value) && static_cast<std::int64_t>(value) == small_of(whole);
}

bool equal_reals(const Object& a, const Object& b, Nan nan) {
  if (a.is_float() && b.is_float()) {
    return equal_floats(ObjectAccess::floating_of(a), ObjectAccess::floating_of(b), nan);
  }
  if (a.is_float()) return equals_float(b, ObjectAccess::floating_of(a));
  if (b.is_float()) return equals_float(a, ObjectAccess::floating_of(b));
  if (is_big(a) || is_big(b)) return is_big(a) && is_big(b) && big_of(a) == big_of(b);
  return small_of(a) == small_of(b);
}

bool equal_numbers(const Object& a, const Object& b, Nan nan) {
  if (!a.is(Kind::complex)) {
    return b.is(Kind::complex) ? equal_numbers(b, a, nan) : equal_reals(a, b, nan);
  }
  const auto& left = complex_of(a);
  if (b.is(Kind::complex)) {
    const auto& right = complex_of(b);
    return equal_floats(left.real, right.real, nan) &&
           equal_floats(left.imaginary, right.imaginary, nan);
  }
  return left.imaginary == 0 && equal_reals(Object(left.real), b, nan);
}

bool equal_tables(const ObjectTable& a, const ObjectTable& b, std::size_t depth) {
  if (a.size() != b.size()) return false;
  const auto& cells = a.cells();
  for (std::size_t i = 0; i < cells.size(); i += a.stride()) {
    if (ObjectAccess::is_hole(cells[i])) continue;
    const auto* found = b.find(cells[i]);
    if (!found) return false;
    if (a.stride() == 2 && !same_element(cells[i + 1], *(found + 1), depth)) return false;
  }
  return true;
}

bool equal_sequences(const Object& a, const Object& b, std::size_t depth) {
  const auto& left = sequence_of(a).elements;
  const auto& right = sequence_of(b).elements;
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [depth](const auto& x, const auto& y) { return same_element(x, y, depth); });
}

bool equal_instances(const Object& a, const Object& b, std::size_t depth) {
  const auto& left = instance_of(a).instance;
  const auto& right = instance_of(b).instance;
  return left.module == right.module && left.name == right.name &&
         same_element(left.args, right.args, depth) && same_element(left.state, right.state, depth);
}

// Kinds whose objects may equal each other share a class.
Kind kind_class(Kind kind) {
  switch (kind) {
    case Kind::boolean:
    case Kind::floating:
    case Kind::complex:
      return Kind::integer;
    case Kind::bytearray:
      return Kind::bytes;
    case Kind::frozenset:
      return Kind::set;
    default:
      return kind;
  }
}

bool equal(const Object& a, const Object& b, Nan nan, std::size_t depth) {
  if (is_number(a) && is_number(b)) return equal_numbers(a, b, nan);
  if (kind_class(a.kind()) != kind_class(b.kind())) return false;
  if (a.is_none()) return true;
  if (&ObjectAccess::node<detail::ObjectNode>(a) == &ObjectAccess::node<detail::ObjectNode>(b)) {
    return true;
  }
  check_nesting(depth);
  switch (kind_class(a.kind())) {
    case Kind::str:
    case Kind::bytes:
      return text_of(a).content == text_of(b).content;
    case Kind::tuple:
    case Kind::list:
      return equal_sequences(a, b, depth + 1);
    case Kind::dict:
    case Kind::set:
      return equal_tables(table_of(a).table, table_of(b).table, depth + 1);
    default:
      return equal_instances(a, b, depth + 1);
  }
}

const SipHash::Key& hash_key() {
  static const SipHash::Key key = [] {
    std::random_device device;
    const auto word = [&] { return std::uint64_t{device()} << 32 | device(); };
    return SipHash::Key{word(), word()};
  }();
  return key;
}

std::uint64_t hash_words(Kind kind, std::initializer_list<std::uint64_t> words) {
  SipHash hash(hash_key());
  hash.word(static_cast<std::uint64_t>(kind));
  for (const auto word : words) hash.word(word);
  return hash.finish();
}

std::uint64_t hash_text(Kind kind, std::string_view text) {
  SipHash hash(hash_key());
  hash.word(static_cast<std::uint64_t>(kind));
  hash.bytes(text);
  return hash.finish();
}

std::uint64_t hash_big(const BigInteger& value) {
  const auto bytes = value.bytes();
  return hash_text(Kind::integer, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

// Whole numbers as the int that they equal.
std::uint64_t hash_float(double value) {
  if (std::isnan(value)) return hash_words(Kind::floating, {1});
  if (std::trunc(value) != value || std::isinf(value)) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    return hash_words(Kind::floating, {bits, 0});
  }
  if (!fits_small(value)) return hash_big(BigInteger::from_double(value));
  return hash_words(Kind::integer, {static_cast<std::uint64_t>(static_cast<std::int64_t>(value))});
}

std::uint64_t hash_number(const Object& object) {
  if (object.is_float()) return hash_float(ObjectAccess::floating_of(object));
  if (object.is(Kind::complex)) {
    const auto& value = complex_of(object);
    if (value.imaginary == 0) return hash_float(value.real);
    return hash_words(Kind::complex, {hash_float(value.real), hash_float(value.imaginary)});
  }
  if (is_big(object)) return hash_big(big_of(object));
  return hash_words(Kind::integer, {static_cast<std::uint64_t>(small_of(object))});
}

std::uint64_t hash_elements(std::span<const Object> elements, std::size_t depth) {
  SipHash hash(hash_key());
  hash.word(static_cast<std::uint64_t>(Kind::tuple));
  for (const auto& element : elements) hash.word(hash_at(element, depth));
  return hash.finish();
}

// Of any order.
std::uint64_t hash_set(const ObjectTable& table, std::size_t depth) {
  std::uint64_t sum = 0;
  for (const auto& element : table.cells()) {
    if (!ObjectAccess::is_hole(element)) {
      sum += hash_words(Kind::set, {hash_at(element, depth)});
    }
  }
  return hash_words(Kind::frozenset, {sum, table.size()});
}

[[noreturn]] void throw_unhashable(const Object& object) {
  throw TypeMismatch("a hashable object", object.type_name());
}

std::uint64_t hash_content(const Object& object, std::size_t depth) {
  switch (object.kind()) {
    case Kind::str:
    case Kind::bytes:
      return hash_text(object.kind(), text_of(object).content);
    case Kind::tuple:
      return hash_elements(sequence_of(object).elements, depth + 1);
    case Kind::frozenset:
      return hash_set(table_of(object).table, depth + 1);
    case Kind::instance:
      if (!object.is_instance("builtins", "range")) throw_unhashable(object);
      return hash_elements(instance_of(object).instance.args.elements(), depth + 1);
    default:
      throw_unhashable(object);
  }
}

}  // namespace

void check_nesting(std::size_t depth) {
  if (depth > kMaxNesting) throw SerializationError("an object is nested too deeply");
}

bool same_element(const Object& a, const Object& b, std::size_t depth) {
  return equal(a, b, Nan::same, depth);
}

bool Object::equals(const Object& other) const { return equal(*this, other, Nan::unequal, 0); }

std::size_t hash_at(const Object& object, std::size_t depth) {
  check_nesting(depth);
  if (object.is_none()) return hash_words(Kind::none, {});
  if (is_number(object)) return hash_number(object);
  if (object.is(Kind::list) || object.is(Kind::dict) || object.is(Kind::set) ||
      object.is(Kind::bytearray)) {
    throw_unhashable(object);
  }
  auto& cached = ObjectAccess::node<HashedNode>(object).hash;
  if (const auto known = cached.load(std::memory_order_relaxed); known != 0) return known;
  const auto hash = hash_content(object, depth);
  cached.store(hash, std::memory_order_relaxed);
  return hash;
}

std::size_t Object::hash() const { return hash_at(*this, 0); }

bool Object::hashable() const noexcept {
  try {
    hash();
    return true;
  } catch (...) {
    return false;
  }
}

}  // namespace cohort::managers
