// What a process run again by exec inherits from its starter, in one environment variable.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "arena/owner.hpp"

namespace cohort::arena {

inline constexpr const char* kInheritanceVariable = "COHORT_INHERITANCE";

struct Inheritance {
  int memory = -1;      // the arena's descriptor
  int front_door = -1;  // where the fork server takes requests
  MemberId self;
  Offset request = 0;  // what to run

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
