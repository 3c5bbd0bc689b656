// What may lie in shared memory: plain bytes that mean the same in every process.
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

#include "cohort/detail/block_ref.hpp"
#include "cohort/detail/fields.hpp"

namespace cohort::detail {

inline constexpr std::size_t kCellAlignment = 64;        // of every block of the arena
inline constexpr std::size_t kLargestAlignment = 4'096;  // of the arena's place in a process

// Converts to pointers, and to nothing else.
struct AnyPointer {
  template <class U>
  operator U*() const noexcept {
    __builtin_trap();  // never called: only asked whether it could be
  }
};

template <class T, std::size_t... Before, std::size_t... After>
consteval bool takes_pointer(std::index_sequence<Before...>, std::index_sequence<After...>) {
  return BraceInit<T, AnyAt<T, Before>..., AnyPointer, AnyAt<T, After>...>;
}

template <class T, std::size_t Total, std::size_t... I>
consteval bool takes_pointer_at(std::index_sequence<I...>) {
  return (
      takes_pointer<T>(std::make_index_sequence<I>(), std::make_index_sequence<Total - I - 1>()) ||
      ...);
}

// Whether some field of an aggregate is a pointer; false where its fields cannot be listed.
template <class T>
consteval bool has_pointer_field() {
  if constexpr (!std::is_aggregate_v<T> || !std::is_class_v<T>) {
    return false;
  } else {
    constexpr std::size_t total = count_initializers<T>();
    if constexpr (total == kNoFields || total > kMaxFields) {
      return false;
    } else {
      return takes_pointer_at<T, total>(std::make_index_sequence<total>());
    }
  }
}

// Fails to compile, saying why, where T may not be the type of a Value or of an Array's elements.
template <class T>
consteval bool check_shared_type() {
  using Plain = std::remove_cvref_t<T>;
  if constexpr (!std::is_same_v<T, Plain>) {
    static_assert(std::is_same_v<T, Plain>,
                  "the type of a shared value has no const, volatile or reference: leave it out");
  } else if constexpr (std::is_pointer_v<T> || std::is_member_pointer_v<T> ||
                       std::is_null_pointer_v<T>) {
    static_assert(!sizeof(T),
                  "a pointer means nothing in another process: share the object itself, or an "
                  "index into a cohort::Array");
  } else if constexpr (!std::is_object_v<T> || std::is_array_v<T>) {
    static_assert(std::is_object_v<T> && !std::is_array_v<T>,
                  "this is no type of a shared value: use cohort::Array or std::array for arrays");
  } else if constexpr (!std::is_trivially_copyable_v<T>) {
    static_assert(std::is_trivially_copyable_v<T>,
                  "a type in shared memory must be trivially copyable, and this one owns memory or "
                  "has a copy constructor of its own: use cohort::SharedObject with "
                  "cohort::SharedAllocator, a queue or a manager");
  } else if constexpr (has_pointer_field<T>()) {
    static_assert(
        !has_pointer_field<T>(),
        "this struct has a pointer, which means nothing in another process: share what it "
        "points to, or an index into a cohort::Array");
  } else {
    static_assert(alignof(T) <= kLargestAlignment,
                  "shared memory is aligned to pages of 4096 bytes at most");
  }
  return true;
}

// A new block of zeroes.
BlockRef make_plain_block(std::size_t bytes);

}  // namespace cohort::detail
