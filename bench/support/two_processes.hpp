// Work for two processes that begin together.
#pragma once

#include <functional>
#include <string>

namespace bench {

enum class Placement {
  anywhere,
  apart,     // each on a CPU of its own
  together,  // both on one CPU
};

// Empty, or why this machine has no such placement.
std::string missing_for(Placement placement);

// Runs both, each in a new process of the family, and returns when both have ended. Throws when one
// of them failed.
void in_two_processes(Placement placement, std::function<void()> first,
                      std::function<void()> second);

}  // namespace bench
