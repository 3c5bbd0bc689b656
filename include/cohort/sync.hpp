// Synchronisation between processes, safe from the death of any of them.
#pragma once

#include "cohort/barrier.hpp"
#include "cohort/condition.hpp"
#include "cohort/event.hpp"
#include "cohort/lock.hpp"
#include "cohort/semaphore.hpp"
