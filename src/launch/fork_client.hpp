// Asking the fork server.
#pragma once

#include "launch/fork_server.hpp"
#include "os/pidfd.hpp"

namespace cohort::launch {

struct Made {
  pid_t pid = 0;
  os::Pidfd process;
};

inline constexpr const char* kNoDescriptors = "no descriptors left: raise ulimit -n";

// Has the server make the process for a member slot. When the server dies meanwhile its standby is
// asked, once it is certain that the first had not made it. Throws std::system_error.
Made ask_for_child(arena::MemberId child, arena::Offset request, bool spawn);
// Throws what the target threw there.
void ask_to_preload(arena::Offset request);
// Tells the server of a process that it did not make.
void announce(arena::MemberId child) noexcept;
// In the root: reaps the servers and standbys that were killed.
void reap_killed_servers() noexcept;
// At the root's end: ends and reaps server and standby.
void shut_down_servers() noexcept;

}  // namespace cohort::launch
