// clang++-16 -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude
//   tests/fuzz/decode_fuzz.cpp src/wire/{memory_io,archive,serialize}.cpp src/error.cpp
//   src/launch/{remote_exception,standard_exceptions}.cpp -o decode_fuzz
#include <cohort/serialize.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "../unit/serialize_types.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cohort::detail;
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  try {
    Reader reader(bytes);
    const auto value = decode<serialize_types::Rich>(reader);
    // What could be decoded can be encoded.
    HeapWriter writer;
    encode(writer, value);
  } catch (const cohort::SerializationError&) {
  }
  Reader reader(bytes);
  if (!decode_exception(reader)) std::abort();
  return 0;
}
