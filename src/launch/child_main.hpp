// The child's side: from the first instruction of a new process to its end.
#pragma once

#include "arena/owner.hpp"
#include "launch/child.hpp"

namespace cohort::launch {

// In a child of the fork server, and in a program run again: reads its request and runs it.
[[noreturn]] void run_request(arena::MemberId self, arena::Offset request) noexcept;
// In a fork of the caller.
[[noreturn]] void run_inherited(arena::MemberId self, const Plan& plan) noexcept;

// Goes through what every child does, once and to no effect, so that the fork server has the
// symbols bound and the memory in place that its children inherit: a third of a short child's time.
void rehearse_child() noexcept;

// Writes out what the standard streams hold, but waits for no stream that another thread has
// locked.
void flush_streams() noexcept;

}  // namespace cohort::launch
