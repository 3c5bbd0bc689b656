// All of cohort.
#pragma once

#include "cohort/async.hpp"
#include "cohort/connection.hpp"
#include "cohort/error.hpp"
#include "cohort/finalize.hpp"
#include "cohort/futures.hpp"
#include "cohort/object.hpp"
#include "cohort/pool.hpp"
#include "cohort/process.hpp"
#include "cohort/queue.hpp"
#include "cohort/serialize.hpp"
#include "cohort/shared.hpp"
#include "cohort/sync.hpp"
#include "cohort/threading.hpp"
