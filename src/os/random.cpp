#include "os/random.hpp"

#include <sys/random.h>

#include "os/call.hpp"

namespace cohort::os {

void fill_random(std::span<char> bytes) {
  while (!bytes.empty()) {
    auto count = must("getrandom", [&] { return ::getrandom(bytes.data(), bytes.size(), 0); });
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

}  // namespace cohort::os
