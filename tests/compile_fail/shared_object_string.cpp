// expect: this type allocates memory of one process: give it cohort::SharedAllocator
#include <cohort/shared_heap.hpp>
#include <string>
#include <vector>

template <class T>
using Vector = std::vector<T, cohort::SharedAllocator<T>>;

#ifdef FIXED
using Name = Vector<char>;
#else
using Name = std::string;
#endif

void* make() { return &cohort::SharedObject<Vector<Name>>().data(); }
