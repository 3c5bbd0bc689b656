// Which C++ types a managers::Object is made from and read as, and in what form.
#pragma once

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace cohort::managers {
class Object;
}

namespace cohort::detail {

// What copies of an Object share. Made and read in src/managers.
struct ObjectNode {
  std::atomic<std::uint32_t> holders{1};
  std::uint8_t kind = 0;  // of the objects that hold it
};
struct ObjectAccess;

enum class ObjectForm {
  no,
  object,
  none,
  boolean,
  integer,
  floating,
  complex,
  text,
  bytes,
  optional,
  list,
  tuple,
  dict,
  set
};

template <class T>
concept ObjectCharacter = std::same_as<T, char> || std::same_as<T, wchar_t> ||
    std::same_as<T, char8_t> || std::same_as<T, char16_t> || std::same_as<T, char32_t>;
template <class T>
concept ObjectComplex = requires(const T& value) {
  typename T::value_type;
  requires std::floating_point<typename T::value_type>;
  requires std::constructible_from<T, typename T::value_type, typename T::value_type>;
  { value.imag() } -> std::same_as<typename T::value_type>;
};
template <class T>
concept ObjectOptional = requires(const T& value) {
  typename T::value_type;
  { value.has_value() } -> std::same_as<bool>;
  *value;
  value.value_or(std::declval<typename T::value_type>());
};
template <class T>
concept ObjectMap = std::ranges::range<T> && requires {
  typename T::key_type;
  typename T::mapped_type;
};
template <class T>
concept ObjectSet = std::ranges::range<T> && requires {
  typename T::key_type;
};
// Ranges of themselves (filesystem::path) end nowhere.
template <class T>
concept ObjectRange =
    std::ranges::input_range<T> && !std::same_as<std::ranges::range_value_t<T>, T>;
template <class T>
concept ObjectTuple = requires {
  std::tuple_size<T>::value;
};
struct ObjectStranger {};
// What converts to a stranger converts to anything: no text in particular.
template <class T>
concept ObjectText = std::convertible_to<const T&, std::string_view> &&
    !std::convertible_to<const T&, ObjectStranger>;

// T without const and reference.
template <class T>
consteval ObjectForm object_form() {
  if constexpr (std::same_as<T, managers::Object>) {
    return ObjectForm::object;
  } else if constexpr (std::same_as<T, std::nullptr_t>) {
    return ObjectForm::none;
  } else if constexpr (std::same_as<T, bool>) {
    return ObjectForm::boolean;
  } else if constexpr (std::integral<T> && !ObjectCharacter<T> && sizeof(T) <= 8) {
    return ObjectForm::integer;
  } else if constexpr (std::floating_point<T>) {
    return ObjectForm::floating;
  } else if constexpr (ObjectText<T>) {
    return ObjectForm::text;
  } else if constexpr (std::is_array_v<T> && std::ranges::range<T>) {
    return ObjectForm::list;
  } else if constexpr (!std::is_class_v<T>) {
    return ObjectForm::no;
  } else if constexpr (ObjectComplex<T>) {
    return ObjectForm::complex;
  } else if constexpr (ObjectOptional<T>) {
    return ObjectForm::optional;
  } else if constexpr (ObjectMap<T>) {
    return ObjectForm::dict;
  } else if constexpr (ObjectSet<T>) {
    return ObjectForm::set;
  } else if constexpr (ObjectRange<T>) {
    if constexpr (std::ranges::contiguous_range<T> &&
                  std::same_as<std::ranges::range_value_t<T>, std::byte>) {
      return ObjectForm::bytes;
    } else {
      return ObjectForm::list;
    }
  } else if constexpr (ObjectTuple<T>) {
    return ObjectForm::tuple;
  } else {
    return ObjectForm::no;
  }
}

template <class T>
consteval bool makes_object();
template <class T>
consteval bool reads_object();

template <class T, std::size_t... I>
consteval bool elements_make_object(std::index_sequence<I...>) {
  return (makes_object<std::remove_cvref_t<std::tuple_element_t<I, T>>>() && ...);
}
template <class T, std::size_t... I>
consteval bool elements_read_object(std::index_sequence<I...>) {
  return (reads_object<std::tuple_element_t<I, T>>() && ...);
}

template <class T>
consteval bool makes_object() {
  constexpr auto form = object_form<T>();
  if constexpr (form == ObjectForm::no) {
    return std::same_as<T, std::nullopt_t>;
  } else if constexpr (form == ObjectForm::optional) {
    return makes_object<std::remove_cv_t<typename T::value_type>>();
  } else if constexpr (form == ObjectForm::dict) {
    return makes_object<typename T::key_type>() && makes_object<typename T::mapped_type>();
  } else if constexpr (form == ObjectForm::list || form == ObjectForm::set) {
    return makes_object<std::ranges::range_value_t<T>>();
  } else if constexpr (form == ObjectForm::tuple) {
    return elements_make_object<T>(std::make_index_sequence<std::tuple_size_v<T>>());
  } else {
    return true;
  }
}

template <class T>
concept ObjectGrows = std::default_initializable<T> &&
    requires(T container, std::ranges::range_value_t<T>&& element) {
  container.insert(container.end(), std::move(element));
};
// std::array and its like.
template <class T>
concept ObjectFixed = ObjectTuple<T> && std::ranges::range<T> && std::default_initializable<T>;

template <class T>
consteval bool reads_object() {
  constexpr auto form = object_form<T>();
  if constexpr (form == ObjectForm::no || std::is_array_v<T>) {
    return false;
  } else if constexpr (form == ObjectForm::text) {
    return std::same_as<T, std::string>;
  } else if constexpr (form == ObjectForm::bytes) {
    return ObjectGrows<T> || ObjectFixed<T>;
  } else if constexpr (form == ObjectForm::optional) {
    return reads_object<std::remove_cv_t<typename T::value_type>>();
  } else if constexpr (form == ObjectForm::dict) {
    return reads_object<typename T::key_type>() && reads_object<typename T::mapped_type>() &&
           std::default_initializable<T>;
  } else if constexpr (form == ObjectForm::list || form == ObjectForm::set) {
    if constexpr (ObjectGrows<T> || ObjectFixed<T>) {
      return reads_object<std::ranges::range_value_t<T>>();
    } else {
      return false;
    }
  } else if constexpr (form == ObjectForm::tuple) {
    return elements_read_object<T>(std::make_index_sequence<std::tuple_size_v<T>>());
  } else {
    return true;
  }
}

template <class T>
managers::Object make_object(T&& value);

}  // namespace cohort::detail
