#pragma once

namespace cohort::detail {

// Never thrown, never defined: its key function has no body, so that a handler for it refers to a
// type_info symbol from elsewhere, which throw_trace.cpp defines.
class ThrowProbe {
 public:
  virtual ~ThrowProbe();
};

inline constexpr int kMaxFrames = 64;

void forget_trace() noexcept;
bool probe_is_ready() noexcept;

}  // namespace cohort::detail
