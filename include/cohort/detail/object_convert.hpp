// C++ values into managers::Object and back.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <ranges>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "cohort/error.hpp"
#include "cohort/object.hpp"

namespace cohort::detail {

// The parts that need to see inside. Defined in src/managers.
struct ObjectAccess {
  using Object = managers::Object;

  static Object boolean(bool value) noexcept;
  static Object integer(std::int64_t value) noexcept;
  static Object unsigned_integer(std::uint64_t value);
  static Object floating(double value) noexcept;
  static Object text(std::string value);
  static Object dict(std::vector<std::pair<Object, Object>> items);

  static bool read_boolean(const Object& object);
  static std::int64_t read_integer(const Object& object);
  static std::uint64_t read_unsigned(const Object& object);
  static double read_floating(const Object& object);
  static std::pair<double, double> read_complex(const Object& object);
  // Tuples and lists alike.
  static std::span<const Object> read_elements(const Object& object) { return object.elements(); }
  static void require_set(const Object& object);

  [[noreturn]] static void throw_integer_range(const Object& object, std::size_t bits,
                                               bool is_signed);
  [[noreturn]] static void throw_length(const Object& object, std::size_t expected);

  template <class Node>
  static Node& node(const Object& object) noexcept {
    return *static_cast<Node*>(object.content_.node);
  }
  template <class Node>
  static Object adopt(Object::Kind kind, Node* node) noexcept {
    node->kind = static_cast<std::uint8_t>(kind);
    Object::Content content;
    content.node = node;
    return Object({kind, true}, content);
  }
  static bool counted(const Object& object) noexcept { return object.tag_.counted; }
  static bool boolean_of(const Object& object) noexcept { return object.content_.boolean; }
  static std::int64_t integer_of(const Object& object) noexcept { return object.content_.integer; }
  static double floating_of(const Object& object) noexcept { return object.content_.floating; }
  static bool is_hole(const Object& object) noexcept { return object.is(Object::kHole); }
  static Object hole() noexcept { return Object({Object::kHole, false}, {}); }
  // Takes the node out without letting go of it: null when there is none.
  static ObjectNode* take(Object& object) noexcept {
    if (!object.tag_.counted) return nullptr;
    object.tag_ = {};
    return object.content_.node;
  }
};

template <class T>
decltype(auto) object_element(auto&& element) {
  if constexpr (std::same_as<T, bool>) {
    return static_cast<bool>(element);  // of vector<bool>
  } else {
    return std::forward<decltype(element)>(element);
  }
}

// The elements of an rvalue container may be moved from; those of a view belong to somebody else.
template <class T, class E>
managers::Object make_element(E&& element) {
  using Value = std::ranges::range_value_t<std::remove_cvref_t<T>>;
  if constexpr (std::is_rvalue_reference_v<T&&> && std::is_lvalue_reference_v<E> &&
                !std::ranges::view<std::remove_cvref_t<T>> &&
                !std::is_const_v<std::remove_reference_t<E>>) {
    return managers::Object(std::move(element));
  } else {
    return managers::Object(object_element<Value>(std::forward<E>(element)));
  }
}

template <class T>
std::vector<managers::Object> make_elements(T&& range) {
  std::vector<managers::Object> elements;
  if constexpr (std::ranges::sized_range<T>) {
    elements.reserve(static_cast<std::size_t>(std::ranges::size(range)));
  }
  for (auto&& element : range) {
    elements.push_back(make_element<T>(std::forward<decltype(element)>(element)));
  }
  return elements;
}

template <class T>
managers::Object make_object(T&& value) {
  using Object = managers::Object;
  using Plain = std::remove_cvref_t<T>;
  constexpr auto form = object_form<Plain>();
  if constexpr (form == ObjectForm::none || form == ObjectForm::no) {
    return Object();
  } else if constexpr (form == ObjectForm::boolean) {
    return ObjectAccess::boolean(value);
  } else if constexpr (form == ObjectForm::integer) {
    if constexpr (std::is_signed_v<Plain>) {
      return ObjectAccess::integer(value);
    } else {
      return ObjectAccess::unsigned_integer(value);
    }
  } else if constexpr (form == ObjectForm::floating) {
    return ObjectAccess::floating(static_cast<double>(value));
  } else if constexpr (form == ObjectForm::complex) {
    return Object::complex(static_cast<double>(value.real()), static_cast<double>(value.imag()));
  } else if constexpr (form == ObjectForm::text) {
    if constexpr (std::same_as<Plain, std::string>) {
      return ObjectAccess::text(std::forward<T>(value));
    } else {
      return ObjectAccess::text(std::string(static_cast<std::string_view>(value)));
    }
  } else if constexpr (form == ObjectForm::bytes) {
    return Object::bytes(
        std::span<const std::byte>(std::ranges::data(value), std::ranges::size(value)));
  } else if constexpr (form == ObjectForm::optional) {
    return value.has_value() ? Object(*std::forward<T>(value)) : Object();
  } else if constexpr (form == ObjectForm::dict) {
    std::vector<std::pair<Object, Object>> items;
    for (auto&& [key, mapped] : value) items.emplace_back(key, mapped);
    return ObjectAccess::dict(std::move(items));
  } else if constexpr (form == ObjectForm::set) {
    return Object::set(make_elements(std::forward<T>(value)));
  } else if constexpr (form == ObjectForm::list) {
    if constexpr (std::same_as<Plain, std::vector<Object>>) {
      return Object::list(std::forward<T>(value));
    } else {
      return Object::list(make_elements(std::forward<T>(value)));
    }
  } else {
    return std::apply(
        [](auto&&... element) {
          std::vector<Object> elements;
          elements.reserve(sizeof...(element));
          (elements.push_back(Object(std::forward<decltype(element)>(element))), ...);
          return Object::tuple(std::move(elements));
        },
        std::forward<T>(value));
  }
}

template <class T>
T read_integer(const managers::Object& object) {
  if constexpr (std::is_signed_v<T>) {
    const auto value = ObjectAccess::read_integer(object);
    if (std::in_range<T>(value)) return static_cast<T>(value);
  } else {
    const auto value = ObjectAccess::read_unsigned(object);
    if (std::in_range<T>(value)) return static_cast<T>(value);
  }
  ObjectAccess::throw_integer_range(object, 8 * sizeof(T), std::is_signed_v<T>);
}

template <class T, class Elements, class Read>
T read_range(const managers::Object& object, const Elements& elements, std::size_t size,
             Read&& read) {
  T result{};
  if constexpr (ObjectFixed<T>) {
    if (size != std::tuple_size_v<T>) {
      ObjectAccess::throw_length(object, std::tuple_size_v<T>);
    }
    auto at = result.begin();
    for (const auto& element : elements) *at++ = read(element);
  } else {
    if constexpr (requires { result.reserve(size); }) result.reserve(size);
    for (const auto& element : elements) result.insert(result.end(), read(element));
  }
  return result;
}

template <class T, std::size_t... I>
T read_tuple(const managers::Object& object, std::index_sequence<I...>) {
  const auto elements = ObjectAccess::read_elements(object);
  if (elements.size() != sizeof...(I)) ObjectAccess::throw_length(object, sizeof...(I));
  return T{elements[I].template as<std::tuple_element_t<I, T>>()...};
}

template <class T>
T read_object(const managers::Object& object) {
  constexpr auto form = object_form<T>();
  if constexpr (form == ObjectForm::object) {
    return object;
  } else if constexpr (form == ObjectForm::none) {
    if (!object.is_none()) throw TypeMismatch("NoneType", object.type_name());
    return nullptr;
  } else if constexpr (form == ObjectForm::boolean) {
    return ObjectAccess::read_boolean(object);
  } else if constexpr (form == ObjectForm::integer) {
    return read_integer<T>(object);
  } else if constexpr (form == ObjectForm::floating) {
    return static_cast<T>(ObjectAccess::read_floating(object));
  } else if constexpr (form == ObjectForm::complex) {
    using Part = typename T::value_type;
    const auto [real, imaginary] = ObjectAccess::read_complex(object);
    return T(static_cast<Part>(real), static_cast<Part>(imaginary));
  } else if constexpr (form == ObjectForm::text) {
    return T(object.text());
  } else if constexpr (form == ObjectForm::bytes) {
    const auto bytes = object.data();
    return read_range<T>(object, bytes, bytes.size(), [](std::byte byte) { return byte; });
  } else if constexpr (form == ObjectForm::optional) {
    if (object.is_none()) return T();
    return T(object.as<std::remove_cv_t<typename T::value_type>>());
  } else if constexpr (form == ObjectForm::dict) {
    T result{};
    for (const auto& [key, value] : object.items()) {
      result.emplace(key.template as<typename T::key_type>(),
                     value.template as<typename T::mapped_type>());
    }
    return result;
  } else if constexpr (form == ObjectForm::tuple) {
    return read_tuple<T>(object, std::make_index_sequence<std::tuple_size_v<T>>());
  } else {
    using Value = std::ranges::range_value_t<T>;
    const auto read = [](const managers::Object& element) { return element.template as<Value>(); };
    if constexpr (form == ObjectForm::set) {
      ObjectAccess::require_set(object);
      return read_range<T>(object, object, object.size(), read);
    } else {
      const auto elements = ObjectAccess::read_elements(object);
      return read_range<T>(object, elements, elements.size(), read);
    }
  }
}

}  // namespace cohort::detail

namespace cohort::managers {

template <ObjectReadable T>
T Object::as() const {
  return detail::read_object<std::remove_cv_t<T>>(*this);
}

template <ObjectReadable T>
bool Object::is() const {
  try {
    static_cast<void>(as<T>());
    return true;
  } catch (const TypeMismatch&) {
    return false;
  } catch (const std::out_of_range&) {
    return false;
  }
}

}  // namespace cohort::managers
