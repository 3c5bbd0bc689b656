// Shared memory: values, arrays, containers, and named blocks.
#pragma once

#include "cohort/array.hpp"
#include "cohort/shareable_list.hpp"
#include "cohort/shared_heap.hpp"
#include "cohort/shared_memory.hpp"
#include "cohort/shared_memory_manager.hpp"
#include "cohort/value.hpp"
