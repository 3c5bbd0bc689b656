#include "managers/object_array.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string>

#include "managers/object_nodes.hpp"
#include "managers/utf8.hpp"

namespace cohort::managers {

namespace {

enum class Item { none, is_signed, is_unsigned, floating, character };

Item item_of(char typecode) noexcept {
  switch (typecode) {
    case 'b':
    case 'h':
    case 'i':
    case 'l':
    case 'q':
      return Item::is_signed;
    case 'B':
    case 'H':
    case 'I':
    case 'L':
    case 'Q':
      return Item::is_unsigned;
    case 'f':
    case 'd':
      return Item::floating;
    case 'u':
    case 'w':
      return Item::character;
    default:
      return Item::none;
  }
}

struct Format {
  Item item;
  std::size_t size;
};

// Even codes are little-endian from 2 on, odd ones big-endian.
Format format_of(std::int64_t code) noexcept {
  constexpr Format formats[] = {
      {Item::is_unsigned, 1}, {Item::is_unsigned, 2}, {Item::is_signed, 2}, {Item::is_unsigned, 4},
      {Item::is_signed, 4},   {Item::is_unsigned, 8}, {Item::is_signed, 8}, {Item::floating, 4},
      {Item::floating, 8},    {Item::none, 2},        {Item::character, 4},
  };
  if (code == 1) return {Item::is_signed, 1};
  if (code < 0 || code > 21) return {Item::none, 0};
  return formats[code / 2];
}

template <class T>
T load(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <class One, class Two, class Four, class Eight>
Object load_integer(const char* from, std::size_t size) {
  switch (size) {
    case 1:
      return load<One>(from);
    case 2:
      return load<Two>(from);
    case 4:
      return load<Four>(from);
    default:
      return load<Eight>(from);
  }
}

Object load_character(const char* from) {
  const auto code = load<std::uint32_t>(from);
  if (code > 0x10ffff) throw SerializationError("an array has a character beyond Unicode");
  std::string text;
  append_utf8(text, code);
  return text;
}

char typecode_of(const Object& array) { return array.instance().args[0].text()[0]; }

}  // namespace

std::size_t item_size(char typecode) noexcept {
  switch (typecode) {
    case 'b':
    case 'B':
      return 1;
    case 'h':
    case 'H':
      return 2;
    case 'i':
    case 'I':
    case 'f':
    case 'u':
    case 'w':
      return 4;
    case 'l':
    case 'L':
      return sizeof(long);
    case 'q':
    case 'Q':
    case 'd':
      return 8;
    default:
      return 0;
  }
}

bool is_array(const Object& object) noexcept {
  return object.is_instance("array", "array") && is_array_args(object.instance().args.elements());
}

bool is_array_args(std::span<const Object> args) noexcept {
  if (args.size() != 2 || !args[0].is_str() || !args[1].is_bytes()) return false;
  const auto code = args[0].text();
  const auto size = code.size() == 1 ? item_size(code[0]) : 0;
  return size != 0 && args[1].data().size() % size == 0;
}

std::size_t array_size(const Object& array) {
  return array.instance().args[1].data().size() / item_size(typecode_of(array));
}

Object array_item(const Object& array, std::size_t index) {
  const char code = typecode_of(array);
  const auto size = item_size(code);
  const auto bytes = array.instance().args[1].data();
  const auto* from = reinterpret_cast<const char*>(bytes.data()) + index * size;
  switch (item_of(code)) {
    case Item::is_signed:
      return load_integer<std::int8_t, std::int16_t, std::int32_t, std::int64_t>(from, size);
    case Item::is_unsigned:
      return load_integer<std::uint8_t, std::uint16_t, std::uint32_t, std::uint64_t>(from, size);
    case Item::floating:
      return size == 4 ? Object(load<float>(from)) : Object(load<double>(from));
    default:
      return load_character(from);
  }
}

std::optional<Object> array_content(char typecode, std::int64_t format, std::string_view bytes) {
  const auto [item, size] = format_of(format);
  if (item == Item::none || item != item_of(typecode) || size != item_size(typecode) ||
      bytes.size() % size != 0) {
    return std::nullopt;
  }
  std::string content(bytes);
  const bool big_endian = format >= 2 && format % 2 != 0;
  if (big_endian != (std::endian::native == std::endian::big)) {
    for (std::size_t i = 0; i < content.size(); i += size) {
      std::reverse(content.data() + i, content.data() + i + size);
    }
  }
  return Object::bytes(content);
}

}  // namespace cohort::managers
