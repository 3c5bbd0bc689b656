// expect: a type in shared memory must be trivially copyable
// expect: use cohort::SharedObject
#include <cohort/shared_heap.hpp>
#include <cohort/value.hpp>
#include <vector>

#ifdef FIXED
using Numbers = cohort::SharedObject<std::vector<int, cohort::SharedAllocator<int>>>;
#else
using Numbers = cohort::Value<std::vector<int>>;
#endif

Numbers make() { return Numbers(); }
