// What a process run again by exec inherits from its starter, in one environment variable.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "arena/owner.hpp"

namespace cohort::arena {

inline constexpr const char* kInheritanceVariable = "COHORT_INHERITANCE";

struct Inheritance {
  int memory = -1;   // the arena's descriptor
  int bank_in = -1;  // the sockets of the descriptor bank
  int bank_out = -1;
  int front_door = -1;  // where the fork server takes requests
  MemberId self;
  Offset request = 0;  // what to run

  // What must stay open across the exec.
  std::array<int, 4> descriptors() const { return {memory, bank_in, bank_out, front_door}; }
  std::string text() const;
  static std::optional<Inheritance> parse(std::string_view text);
};

// While cohort itself forks, pthread_atfork handlers must not take the child for the host's.
bool launch_fork_in_progress() noexcept;
class LaunchFork {
 public:
  LaunchFork() noexcept;
  ~LaunchFork();
  LaunchFork(const LaunchFork&) = delete;
  LaunchFork& operator=(const LaunchFork&) = delete;
};

}  // namespace cohort::arena
