// The worker's side of a scheduler.
#pragma once

#include <cstdint>

#include "cohort/detail/block_ref.hpp"

namespace cohort::schedule {

// The main function of a worker process: runs tasks until the owner closes the scheduler. Started
// as a target by the owner, as the worker with this index.
void worker_main(detail::BlockRef scheduler, std::uint32_t index);

}  // namespace cohort::schedule
