// The finalizers of this process that run at its end.
#pragma once

#include <cstddef>

namespace cohort {

struct Finalizers {
  static void run_all() noexcept;
  // A new process starts with none: its creator's are not its own.
  static void forget_all() noexcept;
  static std::size_t count() noexcept;
};

}  // namespace cohort
