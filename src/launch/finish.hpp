// The end of a process: what is done once, in which order, however main or the target ends.
#pragma once

namespace cohort::launch {

// In a child: at exit() run what belongs to this process and leave by _exit, so that the hooks and
// static destructors that were inherited from the creator do not run again.
void leave_by_own_exit() noexcept;
// In a program's first process: at exit() run what belongs to it, then end the fork servers.
void finish_at_exit() noexcept;

}  // namespace cohort::launch
