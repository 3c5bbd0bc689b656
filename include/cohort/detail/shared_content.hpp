// What may be in an object in shared memory that allocates: see SharedObject.
#pragma once

#include <concepts>
#include <string_view>
#include <type_traits>
#include <utility>

#include "cohort/detail/handle.hpp"
#include "cohort/detail/shared_type.hpp"
#include "cohort/detail/type_name.hpp"

namespace cohort {

template <class T>
class SharedAllocator;

namespace detail {

template <class A>
inline constexpr bool is_shared_allocator = false;
template <class T>
inline constexpr bool is_shared_allocator<SharedAllocator<T>> = true;

template <class T>
concept Allocates = requires {
  typename T::allocator_type;
};

template <class C, class Default>
struct AllocatorFor {
  using Type = Default;
};
template <Allocates C, class Default>
struct AllocatorFor<C, Default> {
  using Type = typename C::allocator_type;
};
template <class C, class Default>
using AllocatorOf = typename AllocatorFor<C, Default>::Type;

template <class T>
inline constexpr bool is_pair_type = false;
template <class A, class B>
inline constexpr bool is_pair_type<std::pair<A, B>> = true;

// The standard library's containers but std::vector: they have pointers other than their
// allocator's.
template <class T>
consteval bool keeps_addresses() {
  const std::string_view name = type_name<T>();
  return name.starts_with("std::") &&
         (!name.starts_with("std::vector<") || name.starts_with("std::vector<bool"));
}

// std::unique_ptr, std::shared_ptr and their like.
template <class T>
concept SmartPointer = requires {
  typename T::deleter_type;
}
|| requires(const T& t) { t.use_count(); };

// Fails to compile, saying why, where a T may not be in a SharedObject.
template <class T>
consteval bool check_shared_content() {
  if constexpr (std::is_pointer_v<T> || SmartPointer<T>) {
    static_assert(!sizeof(T),
                  "a pointer means nothing in another process: use cohort::OffsetPtr, or keep the "
                  "object itself in the container");
  } else if constexpr (std::derived_from<T, Handle>) {
    static_assert(!sizeof(T),
                  "a handle of cohort belongs to a process, and cannot lie in shared memory: pass "
                  "it as an argument or through a queue");
  } else if constexpr (std::is_polymorphic_v<T>) {
    static_assert(!sizeof(T),
                  "virtual functions mean nothing in another process, where the program's code may "
                  "lie elsewhere");
  } else if constexpr (is_pair_type<T>) {
    check_shared_content<std::remove_cv_t<typename T::first_type>>();
    check_shared_content<std::remove_cv_t<typename T::second_type>>();
  } else if constexpr (Allocates<T>) {
    static_assert(is_shared_allocator<typename T::allocator_type>,
                  "this type allocates memory of one process: give it cohort::SharedAllocator");
    if constexpr (requires { typename T::value_type; }) {
      static_assert(!keeps_addresses<T>(),
                    "this container of the standard library keeps addresses of one process: use "
                    "std::vector, or those of Boost.Container");
      check_shared_content<std::remove_cv_t<typename T::value_type>>();
    }
  }
  return true;
}

}  // namespace detail
}  // namespace cohort
