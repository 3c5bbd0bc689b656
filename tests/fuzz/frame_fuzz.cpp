// clang++-16 -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude -Isrc
//   tests/fuzz/frame_fuzz.cpp src/wire/frame.cpp src/os/{stream,fd,call}.cpp src/error.cpp
//   -o frame_fuzz
//
// A stream of messages from somebody who may write anything.
#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <system_error>

#include "cohort/error.hpp"
#include "os/fd.hpp"
#include "wire/frame.hpp"

namespace {

constexpr std::size_t kMostBytes = 32768;  // what a socket takes before anybody reads
constexpr std::uint64_t kLimit = 4096;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cohort;
  if (size < 1 || size > kMostBytes) return 0;
  const bool limited = (data[0] & 1) != 0;
  ++data;
  --size;
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) return 0;
  const os::Fd reader(ends[0]);
  os::Fd writer(ends[1]);
  if (::send(writer.get(), data, size, 0) != static_cast<ssize_t>(size)) std::abort();
  writer.reset();
  std::size_t taken = 0;
  try {
    for (;;) {
      const auto message = wire::read_frame(reader.get(), {}, limited ? kLimit : wire::kNoLimit);
      taken += 4 + message.size();
      if (taken > size || (limited && message.size() > kLimit)) std::abort();
    }
  } catch (const EndOfFile&) {
    // It ended between two messages.
  } catch (const wire::ProtocolError&) {
  } catch (const std::length_error&) {
    if (!limited) std::abort();
  }
  return 0;
}
