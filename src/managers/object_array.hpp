// Python's array.array as it travels: a type code and raw bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "cohort/object.hpp"

namespace cohort::managers {

// Bytes of one item; 0 for what is no type code.
std::size_t item_size(char typecode) noexcept;

// What array.array(typecode, bytes) is made from: the code is known, the bytes are whole items.
bool is_array_args(std::span<const Object> args) noexcept;
bool is_array(const Object& object) noexcept;
std::size_t array_size(const Object& array);
Object array_item(const Object& array, std::size_t index);

// The content of an array that says itself in what format it is (array._array_reconstructor), in
// this machine's; nothing when the format does not fit the type code.
std::optional<Object> array_content(char typecode, std::int64_t format, std::string_view bytes);

}  // namespace cohort::managers
