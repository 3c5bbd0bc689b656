// The fork server: a small single-threaded process, forked by `init` before any thread exists, that
// makes the family's children and is its janitor: it polls a pidfd of every member, and on a death
// buries the member, returns what it held, and wakes whoever waited for it.
//
// A standby sleeps beside it and takes over when it is killed; the new server makes a new standby.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "arena/owner.hpp"
#include "os/fd.hpp"

namespace cohort::launch {

enum class Ask : std::uint32_t {
  connect,   // at the front door, with one end of a socket pair
  start,     // makes a process for the member slot `child`
  watch,     // a process was made by somebody else
  preload,   // runs the request's target in the server
  shut_down  // from the root, at its end
};

struct Question {
  Ask ask = Ask::connect;
  arena::MemberId child;
  arena::Offset request = 0;
  std::uint32_t sibling = 0;  // the asker is the root: the child shall be its own
  std::uint32_t spawn = 0;    // run the program again
};

struct Answer {
  std::int32_t error = 0;  // errno of the failed call; 0: made
  std::int32_t pid = 0;
  arena::Offset failure = 0;  // of a preload: the exception, as a parcel of the asker
};

// Makes server and standby, as children of this process. Called once, by init. `front_door`: the
// servers' end of the datagram pair at which any member may ask for a connection.
void make_fork_servers(os::Fd front_door);

}  // namespace cohort::launch
