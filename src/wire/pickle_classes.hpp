// The classes that a pickle may name, and what their objects are made from. Everything here is
// data: naming a class runs nothing.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "cohort/object.hpp"

namespace cohort::wire {

enum class ClassKind : std::uint8_t {
  unknown,
  exception,
  complex,
  bytes,
  bytearray,
  list,
  set,
  frozenset,
  slice,
  range,
  iterator,  // iter, reversed
  token,     // multiprocessing.managers.Token
  array,
  array_reconstructor,
  ordered_dict,
  deque,
  counter,
  encode,  // _codecs.encode, by which protocol 2 sends bytes
};

struct ClassName {
  std::string module;
  std::string name;
};

// By the name that Python 3 has for it: protocol 2 writes those of Python 2.
ClassName modern_name(std::string module, std::string name);
ClassKind class_kind(const ClassName& name) noexcept;

// Identifiers of ASCII, joined by dots in a module, without dots in a name.
bool is_plain_name(const ClassName& name) noexcept;

// Why an instance cannot be made from these arguments; null when it can.
const char* fault_of(ClassKind kind, std::span<const managers::Object> args) noexcept;
// The same for the state that follows the arguments.
const char* state_fault(ClassKind kind, const managers::Object& state) noexcept;

}  // namespace cohort::wire
