// WorkerLimits put into force.
#pragma once

#include <cstdint>

#include "cohort/worker_limits.hpp"

namespace cohort::schedule {

// In the owner, for the pool's constructor: throws std::invalid_argument for what no worker could
// be given.
void check(const WorkerLimits& limits);

// In a worker, on its main thread, before it starts others: nice and cpus are a thread's, and
// inherited. Throws std::system_error that tells the limit, the reason and the way out; those
// applied before stay.
void apply(const WorkerLimits& limits, std::uint32_t worker_index);

}  // namespace cohort::schedule
