#include "managers/big_integer.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace cohort::managers {

namespace {

constexpr std::uint32_t kBillion = 1'000'000'000;

}  // namespace

BigInteger::BigInteger(std::int64_t value) {
  auto rest = static_cast<std::uint64_t>(value);
  for (int i = 0; i < 8; ++i, rest >>= 8) bytes_.push_back(static_cast<std::uint8_t>(rest));
  trim();
}

BigInteger BigInteger::from_bytes(std::span<const std::byte> twos_complement) {
  BigInteger result;
  result.bytes_.reserve(twos_complement.size());
  for (const auto byte : twos_complement) result.bytes_.push_back(std::to_integer<uint8_t>(byte));
  result.trim();
  return result;
}

BigInteger BigInteger::from_unsigned(std::uint64_t value) {
  return from_magnitude(
      {static_cast<std::uint32_t>(value), static_cast<std::uint32_t>(value >> 32)}, false);
}

BigInteger BigInteger::from_double(double value) {
  int exponent = 0;
  const double fraction = std::frexp(std::abs(value), &exponent);
  // value = mantissa * 2^(exponent - 53)
  auto mantissa = static_cast<std::uint64_t>(std::ldexp(fraction, 53));
  int shift = exponent - 53;
  if (shift < 0) {
    mantissa >>= std::min(-shift, 63);
    shift = 0;
  }
  Limbs limbs(static_cast<std::size_t>(shift / 32) + 3);
  const auto first = static_cast<std::size_t>(shift / 32);
  const int bits = shift % 32;
  limbs[first] = static_cast<std::uint32_t>(mantissa << bits);
  limbs[first + 1] = static_cast<std::uint32_t>(mantissa >> (32 - bits));
  if (bits > 0) limbs[first + 2] = static_cast<std::uint32_t>((mantissa >> 32) >> (32 - bits));
  return from_magnitude(limbs, value < 0);
}

std::optional<BigInteger> BigInteger::from_decimal(std::string_view digits) {
  const bool negative = digits.starts_with('-');
  if (negative || digits.starts_with('+')) digits.remove_prefix(1);
  if (digits.empty()) return std::nullopt;
  Limbs limbs;
  for (const char digit : digits) {
    if (digit < '0' || digit > '9') return std::nullopt;
    std::uint64_t carry = static_cast<std::uint64_t>(digit - '0');
    for (auto& limb : limbs) {
      carry += std::uint64_t{limb} * 10;
      limb = static_cast<std::uint32_t>(carry);
      carry >>= 32;
    }
    if (carry != 0) limbs.push_back(static_cast<std::uint32_t>(carry));
  }
  return from_magnitude(limbs, negative);
}

BigInteger BigInteger::from_magnitude(const Limbs& limbs, bool negative) {
  BigInteger result;
  result.bytes_.reserve(limbs.size() * 4 + 1);
  std::uint64_t carry = negative ? 1 : 0;
  for (const auto limb : limbs) {
    carry += negative ? ~limb : limb;
    for (int i = 0; i < 32; i += 8) result.bytes_.push_back(static_cast<std::uint8_t>(carry >> i));
    carry >>= 32;
  }
  // The sign: of -0 the carry has turned all ones into zeros.
  result.bytes_.push_back(negative && carry == 0 ? 0xff : 0);
  result.trim();
  return result;
}

BigInteger::Limbs BigInteger::magnitude() const {
  const std::uint8_t fill = negative() ? 0xff : 0;
  Limbs limbs((bytes_.size() + 3) / 4);
  std::uint64_t carry = negative() ? 1 : 0;
  for (std::size_t i = 0; i < limbs.size(); ++i) {
    std::uint32_t limb = 0;
    for (std::size_t j = 0; j < 4; ++j) {
      const std::size_t at = 4 * i + j;
      const std::uint32_t byte = at < bytes_.size() ? bytes_[at] : fill;
      limb |= byte << (8 * j);
    }
    carry += negative() ? ~limb : limb;
    limbs[i] = static_cast<std::uint32_t>(carry);
    carry >>= 32;
  }
  while (!limbs.empty() && limbs.back() == 0) limbs.pop_back();
  return limbs;
}

void BigInteger::trim() {
  while (bytes_.size() > 1) {
    const std::uint8_t last = bytes_.back();
    const bool sign = bytes_[bytes_.size() - 2] >= 0x80;
    if (!(last == 0 && !sign) && !(last == 0xff && sign)) return;
    bytes_.pop_back();
  }
  if (bytes_.size() == 1 && bytes_[0] == 0) bytes_.clear();
}

std::optional<std::int64_t> BigInteger::small() const noexcept {
  if (bytes_.size() > 8) return std::nullopt;
  std::uint64_t value = negative() ? ~std::uint64_t{0} : 0;
  for (std::size_t i = bytes_.size(); i-- > 0;) value = value << 8 | bytes_[i];
  return static_cast<std::int64_t>(value);
}

std::optional<std::uint64_t> BigInteger::small_unsigned() const noexcept {
  if (negative() || bytes_.size() > 9 || (bytes_.size() == 9 && bytes_[8] != 0)) {
    return std::nullopt;
  }
  std::uint64_t value = 0;
  for (std::size_t i = std::min<std::size_t>(bytes_.size(), 8); i-- > 0;) {
    value = value << 8 | bytes_[i];
  }
  return value;
}

double BigInteger::to_double() const {
  const auto limbs = magnitude();
  // The upper 64 bits, with a last bit that says whether anything follows: one rounding in all.
  std::uint64_t upper = 0;
  std::size_t used = 0;
  int shift = 0;
  if (!limbs.empty()) {
    const int zeros = std::countl_zero(limbs.back());
    const auto bits = static_cast<std::size_t>(32 * static_cast<int>(limbs.size()) - zeros);
    if (bits > 1100) return negative() ? -HUGE_VAL : HUGE_VAL;
    for (std::size_t bit = bits; bit-- > 0 && used < 64; ++used) {
      upper = upper << 1 | (limbs[bit / 32] >> (bit % 32) & 1);
    }
    shift = static_cast<int>(bits - used);
    bool rest = false;
    for (std::size_t bit = 0; bit < bits - used; ++bit) {
      rest = rest || (limbs[bit / 32] >> (bit % 32) & 1) != 0;
    }
    if (rest) upper |= 1;
  }
  const double result = std::ldexp(static_cast<double>(upper), shift);
  return negative() ? -result : result;
}

std::string BigInteger::decimal() const {
  auto limbs = magnitude();
  if (limbs.empty()) return "0";
  std::string digits;  // backwards
  while (!limbs.empty()) {
    std::uint64_t rest = 0;
    for (std::size_t i = limbs.size(); i-- > 0;) {
      rest = rest << 32 | limbs[i];
      limbs[i] = static_cast<std::uint32_t>(rest / kBillion);
      rest %= kBillion;
    }
    while (!limbs.empty() && limbs.back() == 0) limbs.pop_back();
    for (int i = 0; i < 9; ++i, rest /= 10) {
      if (limbs.empty() && rest == 0) break;
      digits.push_back(static_cast<char>('0' + rest % 10));
    }
  }
  if (negative()) digits.push_back('-');
  std::reverse(digits.begin(), digits.end());
  return digits;
}

}  // namespace cohort::managers
