// Named steps of crash-critical code, where a test may stop or kill the process. Without a hook a
// step is one predictable branch.
#pragma once

namespace cohort::os {

using StepHook = void (*)(const char* name);
inline constinit StepHook step_hook = nullptr;

inline void step(const char* name) {
  if (step_hook) [[unlikely]]
    step_hook(name);
}

}  // namespace cohort::os
