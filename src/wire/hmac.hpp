// Keyed digests (RFC 2104), by OpenSSL's libcrypto, with the names that CPython's connections give
// them on the wire.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace cohort::wire {

enum class Digest { md5, sha256, sha384, sha3_256, sha3_384 };
inline constexpr std::array kDigests{Digest::md5, Digest::sha256, Digest::sha384, Digest::sha3_256,
                                     Digest::sha3_384};

std::string_view name_of(Digest digest) noexcept;
// By its exact name; none when it has another than these.
std::optional<Digest> digest_named(std::string_view name) noexcept;

// The message's code under the key, in raw bytes; none where this machine's libcrypto refuses the
// digest, as one that is bound to FIPS 140 does with MD5.
std::optional<std::string> hmac(Digest digest, std::string_view key, std::string_view message);

// In a time that does not tell where they differ. (It tells whether the lengths do.)
bool equal_secrets(std::string_view a, std::string_view b) noexcept;

}  // namespace cohort::wire
