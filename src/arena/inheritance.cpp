#include "arena/inheritance.hpp"

#include <cinttypes>
#include <cstdio>

namespace cohort::arena {
namespace {
thread_local bool forking = false;
}

std::string Inheritance::text() const {
  char line[96];
  std::snprintf(line, sizeof line, "%d:%d:%d:%d:%" PRIu32 ":%" PRIu64, memory, bank_in, bank_out,
                front_door, self.raw, request);
  return line;
}

std::optional<Inheritance> Inheritance::parse(std::string_view text) {
  Inheritance result;
  std::string copy(text);
  int fields =
      std::sscanf(copy.c_str(), "%d:%d:%d:%d:%" SCNu32 ":%" SCNu64, &result.memory, &result.bank_in,
                  &result.bank_out, &result.front_door, &result.self.raw, &result.request);
  if (fields != 6) return std::nullopt;
  return result;
}

bool launch_fork_in_progress() noexcept { return forking; }
LaunchFork::LaunchFork() noexcept { forking = true; }
LaunchFork::~LaunchFork() { forking = false; }

}  // namespace cohort::arena
