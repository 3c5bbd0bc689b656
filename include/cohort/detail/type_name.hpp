// Names and hashes of types at compile time, without RTTI.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace cohort::detail {

template <class T>
consteval std::string_view pretty_function() {
  return __PRETTY_FUNCTION__;
}

// The compiler's readable name of T, such as "std::vector<int>".
template <class T>
consteval std::string_view type_name() {
  // The text around the name is the same for every T: measure it with a name that is known.
  constexpr std::string_view probe = pretty_function<double>();
  constexpr std::size_t before = probe.find("double");
  constexpr std::size_t after = probe.size() - before - std::string_view("double").size();
  constexpr std::string_view whole = pretty_function<T>();
  return whole.substr(before, whole.size() - before - after);
}

// FNV-1a.
constexpr std::uint64_t hash_text(std::string_view text, std::uint64_t seed) {
  for (const char c : text) seed = (seed ^ static_cast<unsigned char>(c)) * 1099511628211U;
  return seed;
}

constexpr std::uint64_t hash_number(std::uint64_t number, std::uint64_t seed) {
  for (int i = 0; i < 8; ++i) seed = (seed ^ ((number >> (8 * i)) & 0xFF)) * 1099511628211U;
  return seed;
}

}  // namespace cohort::detail
