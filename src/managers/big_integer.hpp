// Integers of any size, as far as data needs them: kept, compared, printed. No arithmetic.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cohort::managers {

class BigInteger {
 public:
  explicit BigInteger(std::int64_t value);
  // Least significant byte first; none mean 0.
  static BigInteger from_bytes(std::span<const std::byte> twos_complement);
  static BigInteger from_unsigned(std::uint64_t value);
  // Exactly. The value must be finite and whole.
  static BigInteger from_double(double value);
  // Digits with an optional sign; empty for anything else.
  static std::optional<BigInteger> from_decimal(std::string_view digits);

  // As few bytes as possible; none for 0.
  std::span<const std::uint8_t> bytes() const noexcept { return bytes_; }
  bool negative() const noexcept { return !bytes_.empty() && bytes_.back() >= 0x80; }
  std::optional<std::int64_t> small() const noexcept;
  std::optional<std::uint64_t> small_unsigned() const noexcept;
  // Rounded to the nearest, ties to even; infinite when too large.
  double to_double() const;
  std::string decimal() const;

  bool operator==(const BigInteger&) const = default;

 private:
  BigInteger() = default;
  using Limbs = std::vector<std::uint32_t>;
  static BigInteger from_magnitude(const Limbs& limbs, bool negative);
  Limbs magnitude() const;
  void trim();

  std::vector<std::uint8_t> bytes_;
};

}  // namespace cohort::managers
