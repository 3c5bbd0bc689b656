// Messages that show whether they are whole: a number, then bytes that follow from it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

namespace test {

inline std::byte pattern_at(std::uint64_t number, std::size_t index) {
  return static_cast<std::byte>(number * 31 + index * 7 + (index >> 8));
}

inline std::vector<std::byte> numbered(std::uint64_t number, std::size_t bytes = 40) {
  std::vector<std::byte> message(std::max(bytes, sizeof number));
  std::memcpy(message.data(), &number, sizeof number);
  for (std::size_t i = sizeof number; i < message.size(); ++i) message[i] = pattern_at(number, i);
  return message;
}

// Its number; empty when a byte of it is wrong.
inline std::optional<std::uint64_t> number_of(std::span<const std::byte> message) {
  std::uint64_t number = 0;
  if (message.size() < sizeof number) return std::nullopt;
  std::memcpy(&number, message.data(), sizeof number);
  for (std::size_t i = sizeof number; i < message.size(); ++i)
    if (message[i] != pattern_at(number, i)) return std::nullopt;
  return number;
}

}  // namespace test
