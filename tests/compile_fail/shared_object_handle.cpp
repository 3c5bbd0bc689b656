// expect: a handle of cohort belongs to a process, and cannot lie in shared memory
#include <cohort/shared_heap.hpp>
#include <cohort/value.hpp>
#include <vector>

#ifdef FIXED
using Element = int;
#else
using Element = cohort::Value<int>;
#endif

void* make() {
  return &cohort::SharedObject<std::vector<Element, cohort::SharedAllocator<Element>>>().data();
}
