// How many elements an Object has, and what iterating over it gives.
#include <algorithm>
#include <stdexcept>

#include "managers/object_array.hpp"
#include "managers/object_nodes.hpp"
#include "managers/utf8.hpp"

namespace cohort::managers {

namespace {

using Kind = Object::Kind;

bool is_range(const Object& object) {
  if (!object.is_instance("builtins", "range")) return false;
  const auto args = object.instance().args.elements();
  return args.size() == 3 && args[0].is_int() && args[1].is_int() && args[2].is_int();
}

// std::out_of_range for a range with numbers beyond 64 bits.
std::uint64_t range_size(const Object& range) {
  const auto args = range.instance().args.elements();
  const auto start = args[0].as<std::int64_t>();
  const auto stop = args[1].as<std::int64_t>();
  const auto step = args[2].as<std::int64_t>();
  if (step == 0) throw std::invalid_argument("a range with a step of 0");
  if (step > 0 ? start >= stop : start <= stop) return 0;
  // Unsigned: differences of 64-bit numbers may need all 64 bits.
  const auto low = static_cast<std::uint64_t>(step > 0 ? start : stop);
  const auto high = static_cast<std::uint64_t>(step > 0 ? stop : start);
  const auto stride = step > 0 ? static_cast<std::uint64_t>(step)
                               : std::uint64_t{0} - static_cast<std::uint64_t>(step);
  return (high - low - 1) / stride + 1;
}

std::size_t count_code_points(std::string_view text) {
  std::size_t count = 0;
  for (const char byte : text) count += (static_cast<unsigned char>(byte) & 0xc0) != 0x80 ? 1 : 0;
  return count;
}

bool is_bytes_like(const Object& object) { return object.is_bytes() || object.is(Kind::bytearray); }

std::vector<Object> characters(std::string_view text) {
  std::vector<Object> result;
  for (std::size_t at = 0; at < text.size();) {
    const auto before = at;
    if (!next_code_point(text, at)) throw SerializationError("a str is not UTF-8");
    result.emplace_back(text.substr(before, at - before));
  }
  return result;
}

std::vector<Object> range_elements(const Object& range, std::size_t size) {
  const auto args = range.instance().args.elements();
  auto at = static_cast<std::uint64_t>(args[0].as<std::int64_t>());
  const auto step = static_cast<std::uint64_t>(args[2].as<std::int64_t>());
  std::vector<Object> result;
  result.reserve(size);
  for (std::size_t i = 0; i < size; ++i, at += step) {
    result.emplace_back(static_cast<std::int64_t>(at));
  }
  return result;
}

// From the position on that the iterator is at.
std::vector<Object> iterator_elements(const Object::Instance& iterator) {
  const auto all = iterator.args[0].elements();
  const auto size = static_cast<std::int64_t>(all.size());
  if (iterator.name == "reversed") {
    // The position is that of the next element; -1: none is left.
    const auto at = iterator.state.is_none() ? size - 1 : iterator.state.as<std::int64_t>();
    const auto left =
        static_cast<std::size_t>(std::max<std::int64_t>(std::min(at, size - 1) + 1, 0));
    const auto rest = all.first(left);
    return {rest.rbegin(), rest.rend()};
  }
  const auto at = iterator.state.is_none() ? 0 : iterator.state.as<std::int64_t>();
  const auto rest =
      all.subspan(static_cast<std::size_t>(std::min(std::max<std::int64_t>(at, 0), size)));
  return {rest.begin(), rest.end()};
}

bool is_iterator(const Object& object) {
  if (!object.is_instance("builtins", "iter") && !object.is_instance("builtins", "reversed")) {
    return false;
  }
  const auto args = object.instance().args.elements();
  return args.size() == 1 && (args[0].is_list() || args[0].is_tuple());
}

// What a deque, OrderedDict or Counter was made from.
const Object* content_of(const Object& object) {
  if (!object.is_instance() || object.instance().module != "collections") return nullptr;
  const auto args = object.instance().args.elements();
  return args.empty() ? nullptr : args.data();
}

void check_size(std::uint64_t size, std::size_t limit) {
  if (size > limit) {
    throw std::length_error(std::to_string(size) + " elements are more than the limit of " +
                            std::to_string(limit));
  }
}

}  // namespace

std::size_t Object::size() const {
  switch (kind()) {
    case Kind::str:
      return count_code_points(text());
    case Kind::bytes:
    case Kind::bytearray:
      return data().size();
    case Kind::tuple:
    case Kind::list:
      return sequence_of(*this).elements.size();
    case Kind::dict:
    case Kind::set:
    case Kind::frozenset:
      return table_of(*this).table.size();
    default:
      if (is_range(*this)) return range_size(*this);
      if (is_array(*this)) return array_size(*this);
      throw TypeMismatch("an object that has a size", type_name());
  }
}

Object Object::to_list(std::size_t limit) const {
  if (is_list() && size() <= limit) return *this;
  if (is_iterator(*this)) {
    check_size(instance().args[0].size(), limit);
    return list(iterator_elements(instance()));
  }
  if (const auto* content = content_of(*this)) return content->to_list(limit);
  if (is_none() || is_bool() || is_int() || is_float() || is(Kind::complex)) {
    throw TypeMismatch("an iterable object", type_name());
  }
  const auto count = size();
  check_size(count, limit);
  if (is_str()) return list(characters(text()));
  if (is_range(*this)) return list(range_elements(*this, count));
  std::vector<Object> elements;
  elements.reserve(count);
  if (is_bytes_like(*this)) {
    for (const auto byte : data()) elements.emplace_back(std::to_integer<unsigned>(byte));
  } else if (is_array(*this)) {
    for (std::size_t i = 0; i < count; ++i) elements.push_back(array_item(*this, i));
  } else {
    elements.assign(begin(), end());
  }
  return list(std::move(elements));
}

}  // namespace cohort::managers
