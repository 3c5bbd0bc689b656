// The worker's side of a scheduler.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "cohort/detail/block_ref.hpp"
#include "cohort/worker_limits.hpp"

namespace cohort::schedule {

// The main function of a worker process: runs tasks until the owner closes the scheduler. Started
// as a target by the owner, as the worker with this index.
void worker_main(detail::BlockRef scheduler, std::uint32_t index, WorkerLimits limits);

// When the task that this process runs should have ended; the soft limit where there is one.
std::optional<std::chrono::steady_clock::time_point> task_deadline();

}  // namespace cohort::schedule
