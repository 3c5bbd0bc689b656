// clang++-16 -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude -Isrc
//   tests/fuzz/pickle_fuzz.cpp src/wire/pickle*.cpp src/managers/{object*,big_integer,utf8}.cpp
//   src/error.cpp -o pickle_fuzz
#include <cohort/error.hpp>
#include <cohort/object.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "wire/pickle.hpp"

// What could be read can be written, and reads as the same.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cohort;
  const auto bytes = std::as_bytes(std::span(data, size));
  wire::PickleLimits limits;
  limits.values = 100'000;
  limits.memory = 64 << 20;
  limits.expanded_bytes = 16 << 20;
  managers::Object object;
  try {
    object = wire::unpickle(bytes, limits);
  } catch (const SerializationError&) {
    return 0;
  }
  const auto first = wire::pickle(object);
  const auto again = wire::unpickle(first);
  // In a tuple a NaN equals itself.
  if (managers::Object::tuple({object}) != managers::Object::tuple({again})) std::abort();
  if (wire::pickle(again) != first) std::abort();
  if (object.repr() != again.repr()) std::abort();

  limits.unknown_classes = true;
  static_cast<void>(wire::unpickle(bytes, limits));
  return 0;
}
