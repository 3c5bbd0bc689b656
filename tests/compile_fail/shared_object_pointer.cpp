// expect: a pointer means nothing in another process: use cohort::OffsetPtr
#include <cohort/shared_heap.hpp>
#include <vector>

#ifdef FIXED
using Link = cohort::OffsetPtr<int>;
#else
using Link = int*;
#endif

void* make() {
  return &cohort::SharedObject<std::vector<Link, cohort::SharedAllocator<Link>>>().data();
}
