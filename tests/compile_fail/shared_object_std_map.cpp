// expect: this container of the standard library keeps addresses of one process
#include <cohort/shared_heap.hpp>
#include <map>
#include <vector>

using Pair = std::pair<const int, int>;

#ifdef FIXED
using Table = std::vector<Pair, cohort::SharedAllocator<Pair>>;
#else
using Table = std::map<int, int, std::less<>, cohort::SharedAllocator<Pair>>;
#endif

void* make() { return &cohort::SharedObject<Table>().data(); }
