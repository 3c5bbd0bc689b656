// Descriptors inside messages. The kernel keeps what was deposited, in a queue of sockets that all
// members inherit, so that nobody's death loses it; a message refers to its *ticket*, a shared
// block, as to any handle. What is deposited stays while the ticket does, since a message may be
// read again when its first reader was killed; then the descriptor is closed, whoever dropped the
// message.
#pragma once

#include <cstddef>

#include "cohort/detail/block_ref.hpp"
#include "os/fd.hpp"

namespace cohort::launch {

// A copy of the descriptor goes into the bank; the caller's own may be closed at once. Throws
// std::system_error (EBADF), and cohort::Error when the bank is full.
detail::BlockRef deposit(int fd);

// A new descriptor for what the ticket stands for. Throws std::system_error with EMFILE when there
// is no number left, after which it may be tried again, and cohort::Error when the bank does not
// have it.
os::Fd withdraw(const detail::BlockRef& ticket);

// How many are there: for tests.
std::size_t deposits();

}  // namespace cohort::launch
