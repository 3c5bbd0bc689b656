#include "wire/hmac.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <climits>
#include <stdexcept>

namespace cohort::wire {
namespace {

const EVP_MD* algorithm(Digest digest) noexcept {
  switch (digest) {
    case Digest::md5:
      return ::EVP_md5();
    case Digest::sha256:
      return ::EVP_sha256();
    case Digest::sha384:
      return ::EVP_sha384();
    case Digest::sha3_256:
      return ::EVP_sha3_256();
    case Digest::sha3_384:
      return ::EVP_sha3_384();
  }
  return nullptr;
}

}  // namespace

std::string_view name_of(Digest digest) noexcept {
  switch (digest) {
    case Digest::md5:
      return "md5";
    case Digest::sha256:
      return "sha256";
    case Digest::sha384:
      return "sha384";
    case Digest::sha3_256:
      return "sha3_256";
    case Digest::sha3_384:
      return "sha3_384";
  }
  return {};
}

std::optional<Digest> digest_named(std::string_view name) noexcept {
  for (Digest digest : kDigests) {
    if (name_of(digest) == name) return digest;
  }
  return std::nullopt;
}

std::optional<std::string> hmac(Digest digest, std::string_view key, std::string_view message) {
  if (key.size() > INT_MAX) throw std::invalid_argument("a key of more than 2 GiB");
  std::string code(EVP_MAX_MD_SIZE, '\0');
  unsigned length = 0;
  const void* bytes = key.empty() ? "" : key.data();  // a null pointer would be "the key of before"
  if (!::HMAC(algorithm(digest), bytes, static_cast<int>(key.size()),
              reinterpret_cast<const unsigned char*>(message.data()), message.size(),
              reinterpret_cast<unsigned char*>(code.data()), &length))
    return std::nullopt;
  code.resize(length);
  return code;
}

bool equal_secrets(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() && (a.empty() || ::CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0);
}

}  // namespace cohort::wire
