// expect: a pointer means nothing in another process
#include <cohort/array.hpp>
#include <cstddef>

#ifdef FIXED
using Link = std::size_t;
#else
using Link = int*;
#endif

cohort::Array<Link> make() { return cohort::Array<Link>(10); }
