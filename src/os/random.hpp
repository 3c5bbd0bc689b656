// Random bytes that nobody can foretell.
#pragma once

#include <cstddef>
#include <span>

namespace cohort::os {

void fill_random(std::span<char> bytes);

}  // namespace cohort::os
