// How many fields an aggregate has, C arrays and empty bases included; no macro, no registration.
#pragma once

#include <cohort/detail/visit_fields.hpp>
#include <cstddef>
#include <type_traits>
#include <utility>

namespace cohort::detail {

template <class... T>
struct TypeList {};

// Stands for an initializer of any type. By value, so that fields which cannot move count too; not
// copyable, so that no std::any or std::function takes it for its content.
template <class Object>
struct AnyValue {
  AnyValue() = delete;
  AnyValue(const AnyValue&) = delete;
  template <class U>
  requires(!std::is_same_v<std::remove_cv_t<U>, Object>) operator U() const noexcept {
    __builtin_trap();  // never called: only asked whether it could be
  }
};

// Converts only to a base class of Object.
template <class Object, bool Empty>
struct AnyBase {
  AnyBase() = delete;
  AnyBase(const AnyBase&) = delete;
  template <class U>
  requires(std::is_base_of_v<U, Object> && !std::is_same_v<U, Object> &&
           (!Empty || std::is_empty_v<U>))
  operator U() const noexcept {
    __builtin_trap();
  }
};

template <class T, std::size_t>
using AnyAt = AnyValue<T>;

template <class T, bool Empty, std::size_t>
using AnyBaseAt = AnyBase<T, Empty>;

template <class T, class... Inits>
concept BraceInit = requires {
  T{std::declval<Inits>()...};
};

template <class T, std::size_t... I>
consteval bool takes(std::index_sequence<I...>) {
  return BraceInit<T, AnyAt<T, I>...>;
}

// T{any * N}: C arrays take one initializer per element here, since braces may be left out.
template <class T, std::size_t N>
concept Takes = takes<T>(std::make_index_sequence<N>());

template <class T, std::size_t... L, std::size_t... M, std::size_t... R>
consteval bool takes_nested(std::index_sequence<L...>, std::index_sequence<M...>,
                            std::index_sequence<R...>) {
  return requires {
    T{std::declval<AnyAt<T, L>>()...,
      {std::declval<AnyAt<T, M>>()...},
      std::declval<AnyAt<T, R>>()...};
  };
}

// T{any * Left, {any * Middle}, any * Right}
template <class T, std::size_t Left, std::size_t Middle, std::size_t Right>
concept TakesNested = takes_nested<T>(std::make_index_sequence<Left>(),
                                      std::make_index_sequence<Middle>(),
                                      std::make_index_sequence<Right>());

inline constexpr std::size_t kNoFields = static_cast<std::size_t>(-1);
inline constexpr std::size_t kMaxInitializers = 256;

// The most initializers that T takes; kNoFields if there is no such number.
template <class T, std::size_t N = 0, bool Found = false>
consteval std::size_t count_initializers() {
  if constexpr (N > kMaxInitializers || N > sizeof(T) * 8 + kMaxFields) {
    return kNoFields;
  } else if constexpr (Takes<T, N>) {
    return count_initializers<T, N + 1, true>();
  } else if constexpr (Found) {
    return N - 1;
  } else if constexpr (N > kMaxFields) {
    return kNoFields;
  } else {
    return count_initializers<T, N + 1, false>();
  }
}

// How many initializers the field at position At takes: its extent if it is a C array.
template <class T, std::size_t Total, std::size_t At, std::size_t Size>
consteval std::size_t array_extent() {
  if constexpr (Size < 2) {
    return 1;
  } else if constexpr (TakesNested<T, At, Size, Total - At - Size> &&
                       !TakesNested<T, At, Size, Total - At - Size + 1>) {
    return Size;
  } else {
    return array_extent<T, Total, At, Size - 1>();
  }
}

template <class T, std::size_t Total, std::size_t At = 0>
consteval std::size_t count_from() {
  if constexpr (At >= Total) {
    return 0;
  } else if constexpr (TakesNested<T, At, 1, Total - At - 1>) {
    return 1 + count_from<T, Total, At + 1>();  // {any} alone fills the place: not an array
  } else {
    return 1 + count_from<T, Total, At + array_extent<T, Total, At, Total - At>()>();
  }
}

template <class T, bool Empty, std::size_t... B, std::size_t... R>
consteval bool takes_bases(std::index_sequence<B...>, std::index_sequence<R...>) {
  return BraceInit<T, AnyBaseAt<T, Empty, B>..., AnyAt<T, R>...>;
}

template <class T, bool Empty, std::size_t Total, std::size_t N = 0>
consteval std::size_t count_bases() {
  if constexpr (N < Total) {
    if constexpr (takes_bases<T, Empty>(std::make_index_sequence<N + 1>(),
                                        std::make_index_sequence<Total - N - 1>())) {
      return count_bases<T, Empty, Total, N + 1>();
    } else {
      return N;
    }
  } else {
    return N;
  }
}

// The number of fields of aggregate T, kNoFields if they cannot be listed: reference members, more
// than kMaxFields of them, C arrays of more than kMaxInitializers elements, bases with fields.
template <class T>
consteval std::size_t count_fields() {
  if constexpr (!std::is_aggregate_v<T> || std::is_union_v<T> || !std::is_class_v<T>) {
    return kNoFields;
  } else {
    constexpr std::size_t total = count_initializers<T>();
    if constexpr (total == kNoFields) {
      return kNoFields;
    } else {
      constexpr std::size_t bases = count_bases<T, false, total>();
      if constexpr (bases != count_bases<T, true, total>()) {
        return kNoFields;
      } else {
        constexpr std::size_t fields = count_from<T, total>() - bases;
        if constexpr (fields > kMaxFields || (fields == 0 && !std::is_empty_v<T>)) {
          return kNoFields;
        } else {
          return fields;
        }
      }
    }
  }
}

template <class T>
inline constexpr std::size_t field_count = count_fields<T>();

struct ListTypes {
  template <class... F>
  TypeList<std::remove_cvref_t<F>...> operator()(const F&...) const {
    return {};
  }
};

// The types of T's fields, without const.
template <class T>
using FieldTypes = decltype(visit_fields<field_count<T>>(std::declval<const T&>(), ListTypes()));

}  // namespace cohort::detail
