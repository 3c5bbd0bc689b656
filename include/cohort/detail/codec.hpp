// How each type is turned into bytes and back: which way is taken, and the ways that need no std
// header.
#pragma once

#include <bit>
#include <cohort/detail/archive.hpp>
#include <cohort/detail/fields.hpp>
#include <concepts>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

namespace cohort::detail {

// Specialized for the types of the standard library (codec_std.hpp):
//   using Elements = TypeList<...>;         what must be serializable too
//   static constexpr std::size_t kMinSize;  no value takes fewer bytes
//   static void put(Encoder&, const T&);
//   static void get(Decoder&, T&);          and/or static T make(Decoder&);
// or `static constexpr bool kRaw = true` alone, for types that are copied as they lie.
template <class T>
struct Codec;

template <class T>
concept HasCodec = requires {
  sizeof(Codec<T>);
};
template <class T>
concept RawCodec = requires {
  requires Codec<T>::kRaw;
};
template <class T>
concept CodecMakes = requires(Decoder& d) {
  Codec<T>::make(d);
};
template <class T>
concept CodecGets = requires(Decoder& d, T& t) {
  Codec<T>::get(d, t);
};

__extension__ typedef __int128 Int128;
__extension__ typedef unsigned __int128 Uint128;

template <class T>
concept Scalar = std::is_arithmetic_v<T> || std::is_enum_v<T> || std::same_as<T, Int128> ||
    std::same_as<T, Uint128>;
template <class T>
concept Restorable = std::is_constructible_v<T, Restore, InArchive&>;
template <class T>
concept SavesItself = cereal::traits::is_output_serializable<T, OutArchive>::value;
template <class T>
concept LoadsItself = cereal::traits::is_input_serializable<T, InArchive>::value;

// cereal's own functions would take any smart pointer; it shall have those that need its
// registration (polymorphic types) or its load_and_construct. The others have codecs, or are not
// serializable.
template <class T>
concept LeftToCereal = std::is_class_v<T> &&
    (std::is_polymorphic_v<T> ||
     cereal::traits::has_load_and_construct<std::remove_cv_t<T>, InArchive>::value);
template <class T>
inline constexpr bool is_foreign_pointer = false;
template <class T, class D>
inline constexpr bool is_foreign_pointer<std::unique_ptr<T, D>> = !LeftToCereal<T>;
template <class T>
inline constexpr bool is_foreign_pointer<std::shared_ptr<T>> = !LeftToCereal<T>;
template <class T>
inline constexpr bool is_foreign_pointer<std::weak_ptr<T>> = !LeftToCereal<T>;

enum class Kind { none, scalar, array, codec, restored, archive, fields };

// T without const.
template <class T>
consteval Kind kind_of() {
  if constexpr (Scalar<T>) {
    return Kind::scalar;
  } else if constexpr (std::is_bounded_array_v<T>) {
    return Kind::array;
  } else if constexpr (!std::is_class_v<T>) {
    return Kind::none;
  } else if constexpr (HasCodec<T>) {
    return Kind::codec;
  } else if constexpr (is_foreign_pointer<T>) {
    return Kind::none;
  } else if constexpr (Restorable<T> && SavesItself<T>) {
    return Kind::restored;
  } else if constexpr (SavesItself<T> && LoadsItself<T>) {
    return Kind::archive;
  } else if constexpr (field_count<T> != kNoFields) {
    return Kind::fields;
  } else {
    return Kind::none;
  }
}

template <class T>
inline constexpr Kind kind = kind_of<T>();

// ---- what holds for a type: copied as it lies, smallest size, decodable in place

template <class T>
consteval bool is_raw();
template <class... F>
consteval bool all_raw(TypeList<F...>) {
  return (is_raw<F>() && ...);
}

// One memcpy does it: no pointer, no length, nothing to check but bool.
template <class T>
consteval bool is_raw() {
  if constexpr (kind<T> == Kind::scalar) {
    return true;
  } else if constexpr (kind<T> == Kind::array) {
    return is_raw<std::remove_cv_t<std::remove_all_extents_t<T>>>();
  } else if constexpr (kind<T> == Kind::codec) {
    return RawCodec<T>;
  } else if constexpr (kind<T> == Kind::fields && std::is_trivially_copyable_v<T>) {
    return all_raw(FieldTypes<T>());
  } else {
    return false;
  }
}

template <class T>
concept Raw = is_raw<T>();

template <class T>
consteval std::size_t min_size();
template <class... F>
consteval std::size_t min_size_of(TypeList<F...>) {
  return (std::size_t{0} + ... + min_size<F>());
}

template <class T>
consteval std::size_t min_size() {
  if constexpr (Raw<T>) {
    return sizeof(T);
  } else if constexpr (kind<T> == Kind::codec) {
    return Codec<T>::kMinSize;
  } else if constexpr (kind<T> == Kind::fields) {
    return min_size_of(FieldTypes<T>());
  } else if constexpr (kind<T> == Kind::array) {
    return std::extent_v<T> * min_size<std::remove_extent_t<T>>();
  } else {
    return 0;  // a class of its own may write nothing
  }
}

template <class T>
consteval bool prefers_make();
template <class... F>
consteval bool any_prefers_make(TypeList<F...>) {
  return (prefers_make<F>() || ...);
}

// Must, or had better, be constructed from the message: no default constructor, constant fields, or
// a handle inside whose default constructor would create a new object.
template <class T>
consteval bool prefers_make() {
  if constexpr (std::is_array_v<T>) {
    return false;
  } else if constexpr (!std::is_default_constructible_v<T> || !std::is_move_assignable_v<T> ||
                       kind<T> == Kind::restored) {
    return true;
  } else if constexpr (kind<T> == Kind::fields && !Raw<T>) {
    return any_prefers_make(FieldTypes<T>());
  } else if constexpr (kind<T> == Kind::codec) {
    return CodecMakes<T> && !CodecGets<T>;
  } else {
    return false;
  }
}

template <class T>
consteval bool holds_bool();
template <class... F>
consteval bool any_holds_bool(TypeList<F...>) {
  return (holds_bool<F>() || ...);
}

template <class T>
consteval bool is_bool() {
  if constexpr (std::is_enum_v<T>) {
    return std::is_same_v<std::underlying_type_t<T>, bool>;
  } else {
    return std::is_same_v<T, bool>;
  }
}

template <class T>
consteval bool holds_bool() {
  if constexpr (std::is_array_v<T>) {
    return holds_bool<std::remove_all_extents_t<T>>();
  } else if constexpr (kind<T> == Kind::fields) {
    return any_holds_bool(FieldTypes<T>());
  } else if constexpr (requires { requires Codec<T>::kBools; }) {
    return true;
  } else {
    return is_bool<T>();
  }
}

// A bool of another value than 0 or 1 is undefined behaviour to read: look at its byte.
template <class T>
void check_bools(const T& value) {
  if constexpr (!holds_bool<T>()) {
  } else if constexpr (is_bool<T>()) {
    if (*reinterpret_cast<const unsigned char*>(&value) > 1) {
      throw_serialization_error("a bool is neither 0 nor 1");
    }
  } else if constexpr (std::is_array_v<T> || HasCodec<T>) {
    for (const auto& element : value) check_bools(element);
  } else {
    visit_fields<field_count<T>>(value, [](const auto&... f) { (check_bools(f), ...); });
  }
}

// ---- serializable or not

template <class T, bool Decode, class... Seen>
consteval bool is_serializable();
template <bool Decode, class... Seen, class... F>
consteval bool all_serializable(TypeList<F...>) {
  return (is_serializable<std::remove_cv_t<F>, Decode, Seen...>() && ...);
}

// T{make<F>()...} does it: no arrays, no bases.
template <class T, class... F>
consteval bool is_buildable(TypeList<F...>) {
  return !(std::is_array_v<F> || ...) && sizeof...(F) == count_initializers<T>();
}

// Seen: the types around this one, since a tree holds trees.
template <class T, bool Decode, class... Seen>
consteval bool is_serializable() {
  if constexpr ((std::is_same_v<T, Seen> || ...) || kind<T> == Kind::scalar) {
    return true;
  } else if constexpr (kind<T> == Kind::array) {
    return is_serializable<std::remove_cv_t<std::remove_all_extents_t<T>>, Decode, Seen...>();
  } else if constexpr (RawCodec<T>) {
    return true;
  } else if constexpr (kind<T> == Kind::codec) {
    return (!Decode || CodecGets<T> ||
            CodecMakes<T>)&&all_serializable<Decode, T, Seen...>(typename Codec<T>::Elements());
  } else if constexpr (kind<T> == Kind::archive) {
    return !Decode || std::is_default_constructible_v<T>;
  } else if constexpr (kind<T> == Kind::fields) {
    return (!Decode || Raw<T> || !prefers_make<T>() || is_buildable<T>(FieldTypes<T>())) &&
           all_serializable<Decode, T, Seen...>(FieldTypes<T>());
  } else {
    return kind<T> == Kind::restored;
  }
}

// ---- encoding and decoding

template <class T>
void put(Encoder& encoder, const T& value);
template <class T>
void get(Decoder& decoder, T& value);
template <class T>
T make(Decoder& decoder);

template <class T>
concept Nests = kind<T>
== Kind::archive || kind<T> == Kind::restored ||
    (kind<T> == Kind::codec && !RawCodec<T> && !requires { Codec<T>::kFlat; });

template <class T>
void put_unguarded(Encoder& encoder, const T& value) {
  if constexpr (kind<T> == Kind::codec) {
    Codec<T>::put(encoder, value);
  } else if constexpr (SavesItself<T>) {
    encoder.archive().save_class(value);
  } else if constexpr (kind<T> == Kind::array) {
    for (const auto& element : value) put(encoder, element);
  } else if constexpr (kind<T> == Kind::fields) {
    visit_fields<field_count<T>>(value, [&](const auto&... f) { (put(encoder, f), ...); });
  } else {
    static_assert(!sizeof(T),
                  "this type is not serializable: give it `template <class Archive> "
                  "void serialize(Archive& ar) { ar(a, b); }`; pointers never are");
  }
}

template <class T>
inline void put(Encoder& encoder, const T& value) {
  if constexpr (Raw<T> && std::is_empty_v<T>) {
    encoder.byte(0);
  } else if constexpr (Raw<T>) {
    encoder.out.write(std::addressof(value), sizeof(T));
  } else if constexpr (Nests<T>) {
    const Nesting<Encoder> nesting(encoder);
    put_unguarded(encoder, value);
  } else {
    put_unguarded(encoder, value);
  }
}

template <class T>
void get_unguarded(Decoder& decoder, T& value) {
  if constexpr (prefers_make<T>()) {
    if constexpr (std::is_move_assignable_v<T>) {
      value = make<T>(decoder);
    } else {
      std::destroy_at(&value);  // constant fields: only a new object can hold the new values
      std::construct_at(&value, make<T>(decoder));
    }
  } else if constexpr (kind<T> == Kind::codec) {
    Codec<T>::get(decoder, value);
  } else if constexpr (LoadsItself<T>) {
    decoder.archive().load_class(value);
  } else if constexpr (kind<T> == Kind::array) {
    for (auto& element : value) get(decoder, element);
  } else if constexpr (kind<T> == Kind::fields) {
    visit_fields<field_count<T>>(value, [&](auto&... f) { (get(decoder, f), ...); });
  } else {
    static_assert(!sizeof(T),
                  "this type is not serializable: give it `template <class Archive> "
                  "void serialize(Archive& ar) { ar(a, b); }`; pointers never are");
  }
}

template <class T>
inline void get(Decoder& decoder, T& value) {
  if constexpr (Raw<T> && std::is_empty_v<T>) {
    decoder.byte();  // not into the object: inside a tuple its byte belongs to a neighbour
  } else if constexpr (Raw<T> && is_bool<T>()) {
    const unsigned char byte = decoder.byte();
    check_bools(reinterpret_cast<const T&>(byte));
    value = static_cast<T>(byte != 0);
  } else if constexpr (Raw<T>) {
    if constexpr (holds_bool<T>()) {
      const auto bytes = decoder.in.view(sizeof(T));
      // Checked in a copy of raw memory, so that no object ever holds a wrong bool.
      alignas(T) std::byte copy[sizeof(T)];
      std::memcpy(copy, bytes.data(), sizeof(T));
      check_bools(reinterpret_cast<const T&>(copy));
      std::memcpy(static_cast<void*>(std::addressof(value)), bytes.data(), sizeof(T));
    } else {
      decoder.in.read(static_cast<void*>(std::addressof(value)), sizeof(T));
    }
  } else if constexpr (Nests<T>) {
    const Nesting<Decoder> nesting(decoder);
    get_unguarded(decoder, value);
  } else {
    get_unguarded(decoder, value);
  }
}

template <class T, class... F>
T make_from_fields(Decoder& decoder, TypeList<F...>) {
  return T{make<F>(decoder)...};  // braces: in order
}

template <class T>
T make(Decoder& decoder) {
  if constexpr (Raw<T> && std::is_trivially_copyable_v<T> &&
                !(std::is_default_constructible_v<T> && std::is_copy_assignable_v<T>)) {
    struct Bytes {
      alignas(T) std::byte bytes[sizeof(T)];
    } copy;
    decoder.in.read(copy.bytes, sizeof(T));
    check_bools(reinterpret_cast<const T&>(copy.bytes));
    return std::bit_cast<T>(copy);
  } else if constexpr (Raw<T>) {
    T value{};
    get(decoder, value);
    return value;
  } else if constexpr (kind<T> == Kind::restored) {
    const Nesting<Decoder> nesting(decoder);
    return T(Restore(), decoder.archive());
  } else if constexpr (kind<T> == Kind::codec && CodecMakes<T> && !Nests<T>) {
    return Codec<T>::make(decoder);
  } else if constexpr (kind<T> == Kind::codec && CodecMakes<T>) {
    const Nesting<Decoder> nesting(decoder);
    return Codec<T>::make(decoder);
  } else if constexpr (kind<T> == Kind::fields) {
    if constexpr (is_buildable<T>(FieldTypes<T>())) {
      return make_from_fields<T>(decoder, FieldTypes<T>());
    } else {
      T value{};
      get(decoder, value);
      return value;
    }
  } else {
    static_assert(std::is_default_constructible_v<T> || !sizeof(T),
                  "decoding needs a default constructor: cereal's convention loads into an object");
    T value{};
    get(decoder, value);
    return value;
  }
}

}  // namespace cohort::detail
