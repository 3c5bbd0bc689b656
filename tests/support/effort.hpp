// How long tests that try something at random go on: COHORT_TEST_EFFORT=20 gives them 20 times as
// long as in the suite.
#pragma once

#include <chrono>
#include <cstdlib>

namespace test {

inline std::chrono::nanoseconds with_effort(std::chrono::nanoseconds usual) {
  const char* effort = std::getenv("COHORT_TEST_EFFORT");
  const double times = effort ? std::atof(effort) : 1.0;
  return std::chrono::nanoseconds(static_cast<long>(static_cast<double>(usual.count()) * times));
}

}  // namespace test
