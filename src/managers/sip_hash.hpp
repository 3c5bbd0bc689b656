// A keyed hash, so that keys which somebody else chose do not collide.
// Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012), with one round per word and
// three at the end.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace cohort::managers {

class SipHash {
 public:
  struct Key {
    std::uint64_t first;
    std::uint64_t second;
  };
  explicit SipHash(const Key& key) noexcept
      : a_(key.first ^ 0x736f6d6570736575),
        b_(key.second ^ 0x646f72616e646f6d),
        c_(key.first ^ 0x6c7967656e657261),
        d_(key.second ^ 0x7465646279746573) {}

  void word(std::uint64_t value) noexcept {
    d_ ^= value;
    round();
    a_ ^= value;
    ++words_;
  }
  void bytes(std::string_view text) noexcept {
    const std::size_t size = text.size();
    while (text.size() >= 8) {
      word(load(text.data(), 8));
      text.remove_prefix(8);
    }
    word(load(text.data(), text.size()) | std::uint64_t{size & 0xff} << 56);
  }
  std::uint64_t finish() noexcept {
    word(words_);
    c_ ^= 0xff;
    for (int i = 0; i < 3; ++i) round();
    return a_ ^ b_ ^ c_ ^ d_;
  }

 private:
  static std::uint64_t load(const char* from, std::size_t size) noexcept {
    std::uint64_t value = 0;
    if (size != 0) std::memcpy(&value, from, size);
    return value;
  }
  void round() noexcept {
    a_ += b_;
    b_ = std::rotl(b_, 13) ^ a_;
    a_ = std::rotl(a_, 32);
    c_ += d_;
    d_ = std::rotl(d_, 16) ^ c_;
    a_ += d_;
    d_ = std::rotl(d_, 21) ^ a_;
    c_ += b_;
    b_ = std::rotl(b_, 17) ^ c_;
    c_ = std::rotl(c_, 32);
  }

  std::uint64_t a_, b_, c_, d_;
  std::uint64_t words_ = 0;
};

}  // namespace cohort::managers
