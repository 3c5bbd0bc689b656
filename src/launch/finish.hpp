// The end of a process: what is done once, in which order, however main or the target ends.
#pragma once

namespace cohort::launch {

// In a child: at exit() run what belongs to this process and leave by _exit, so that the hooks and
// static destructors that were inherited from the creator do not run again.
void leave_by_own_exit() noexcept;
// What a module above this one has to do when a process ends, and in a new process, for which the
// creator's is not its own. Before all else: its threads may still use the rest.
struct ProcessHooks {
  void (*at_end)() noexcept;
  void (*in_new_process)() noexcept;
  // In a program's first process: after all else, when its children are gone.
  void (*at_program_end)() noexcept = nullptr;
};
void add_process_hooks(ProcessHooks hooks) noexcept;
void run_new_process_hooks() noexcept;

// Waits for threads, runs the finalizers, ends the daemons and joins the other children.
void finish_this_process() noexcept;

// In a program's first process: at exit() run what belongs to it, then end the fork servers. May be
// called any number of times; does nothing in a started child.
void finish_at_exit() noexcept;

}  // namespace cohort::launch
