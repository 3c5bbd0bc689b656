#include "wire/pickle_reduce.hpp"

#include <string>

#include "cohort/error.hpp"
#include "managers/object_array.hpp"
#include "managers/utf8.hpp"

namespace cohort::wire {

namespace {

using managers::Object;

// Code points as bytes, as the codec latin-1 has it.
Object encode_latin1(std::span<const Object> args) {
  const bool fits = args.size() == 2 && args[0].is_str() && args[1].is_str() &&
                    (args[1].text() == "latin1" || args[1].text() == "latin-1");
  if (!fits) throw SerializationError("encode of other than a str as latin-1");
  const auto text = args[0].text();
  std::string bytes;
  for (std::size_t at = 0; at < text.size();) {
    const auto code = managers::next_code_point(text, at);
    if (!code || *code > 0xff) throw SerializationError("a str that is not latin-1");
    bytes.push_back(static_cast<char>(*code));
  }
  return Object::bytes(bytes);
}

// (None in the class's place, type code, format, bytes)
Object rebuild_array(std::span<const Object> args) {
  const bool fits = args.size() == 4 && args[1].is_str() && args[1].text().size() == 1 &&
                    args[2].is<std::int64_t>() && args[3].is_bytes();
  if (!fits) throw SerializationError("an array that is made from other than its parts");
  const auto bytes = args[3].data();
  auto content =
      managers::array_content(args[1].text()[0], args[2].as<std::int64_t>(),
                              {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  if (!content) throw SerializationError("an array of a format that does not fit its type code");
  return Object::instance({"array", "array", Object::tuple({args[1], *std::move(content)}), {}});
}

// These are called with less than what they keep.
Object start_container(ClassKind kind, const ClassName& name, std::span<const Object> args) {
  if (kind == ClassKind::ordered_dict) {
    if (!args.empty()) throw SerializationError("an OrderedDict made from something");
    return Object::instance({name.module, name.name, Object::tuple({Object::dict()}), {}});
  }
  if (args.empty()) {
    return Object::instance({name.module, name.name, Object::tuple({Object::list()}), {}});
  }
  if (args.size() != 2 || args[0] != Object::tuple({}) || !args[1].is<std::size_t>()) {
    throw SerializationError("a deque made from something");
  }
  return Object::instance({name.module, name.name, Object::tuple({Object::list(), args[1]}), {}});
}

}  // namespace

Object call_class(ClassKind kind, const ClassName& name, const Object& args) {
  const auto parts = args.elements();
  switch (kind) {
    case ClassKind::encode:
      return encode_latin1(parts);
    case ClassKind::array_reconstructor:
      return rebuild_array(parts);
    case ClassKind::ordered_dict:
    case ClassKind::deque:
      return start_container(kind, name, parts);
    default:
      break;
  }
  if (const auto* fault = fault_of(kind, parts)) throw SerializationError(fault);
  switch (kind) {
    case ClassKind::complex:
      return Object::complex(parts[0].as<double>(), parts[1].as<double>());
    case ClassKind::bytes:
      return Object::bytes(std::string_view());
    case ClassKind::bytearray:
      return parts.empty() ? Object::bytearray(std::string_view())
                           : Object::bytearray(parts[0].data());
    case ClassKind::list:
      return parts[0];
    case ClassKind::set:
      return Object::set(parts[0].as<std::vector<Object>>());
    case ClassKind::frozenset:
      return Object::frozenset(parts[0].as<std::vector<Object>>());
    default:
      return Object::instance({name.module, name.name, args, {}});
  }
}

}  // namespace cohort::wire
