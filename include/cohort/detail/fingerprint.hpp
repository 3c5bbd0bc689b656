// A hash of a type's structure, to catch a message that holds another type than the receiver
// expects.
#pragma once

#include <array>
#include <cohort/detail/codec.hpp>
#include <cohort/detail/type_name.hpp>
#include <cstdint>

namespace cohort::detail {

// A library type's name without its arguments, which are hashed by themselves, and without the ABI
// namespace that only one of the compilers prints.
constexpr std::uint64_t hash_template_name(std::string_view name, std::uint64_t seed) {
  constexpr std::string_view abi = "__cxx11::";
  name = name.substr(0, name.find('<'));
  if (const auto at = name.find(abi); at != name.npos) {
    return hash_text(name.substr(at + abi.size()), hash_text(name.substr(0, at), seed));
  }
  return hash_text(name, seed);
}

template <class T, class... Seen>
consteval std::uint64_t fingerprint_in();
template <class... Seen, class... F>
consteval std::uint64_t fingerprint_all(TypeList<F...>, std::uint64_t seed) {
  ((seed = hash_number(fingerprint_in<std::remove_cv_t<F>, Seen...>(), seed)), ...);
  return seed;
}

template <class T, class... Seen>
consteval std::uint64_t fingerprint_in() {
  constexpr std::uint64_t basis = 14695981039346656037U;
  constexpr std::uint64_t sized = hash_number(sizeof(T), basis);
  if constexpr ((std::is_same_v<T, Seen> || ...)) {
    return hash_text(type_name<T>(), basis);  // a tree's child: the name will do
  } else if constexpr (kind<T> == Kind::array) {
    return hash_number(fingerprint_in<std::remove_extent_t<T>, Seen...>(), sized);
  } else if constexpr (requires { typename Codec<T>::Elements; }) {
    return fingerprint_all<T, Seen...>(typename Codec<T>::Elements(),
                                       hash_template_name(type_name<T>(), sized));
  } else if constexpr (kind<T> == Kind::fields) {
    return fingerprint_all<T, Seen...>(FieldTypes<T>(), hash_text(type_name<T>(), sized));
  } else {
    return hash_text(type_name<T>(), sized);
  }
}

// Equal for the same type in all programs of one compiler; differs with the type's name and, as far
// as they can be seen, with the types of its fields.
template <class T>
consteval std::uint64_t fingerprint() {
  return fingerprint_in<std::remove_cvref_t<T>>();
}

// What encode_checked puts in front: the fingerprint, the length of the name, the name's beginning.
inline constexpr std::size_t kMaxTypeName = 47;

template <class T>
consteval auto make_type_header() {
  constexpr std::string_view name = type_name<T>().substr(0, kMaxTypeName);
  std::array<unsigned char, 8 + 1 + name.size()> header{};
  for (int i = 0; i < 8; ++i) {
    header[static_cast<std::size_t>(i)] =
        static_cast<unsigned char>((fingerprint<T>() >> (8 * i)) & 0xFF);
  }
  header[8] = static_cast<unsigned char>(name.size());
  for (std::size_t i = 0; i < name.size(); ++i) header[9 + i] = static_cast<unsigned char>(name[i]);
  return header;
}

template <class T>
inline constexpr auto type_header = make_type_header<T>();

// Reads a type header; throws TypeMismatch, naming both, if it is not the expected one.
void check_type_header(Reader& reader, std::uint64_t expected, std::string_view expected_name);

}  // namespace cohort::detail
