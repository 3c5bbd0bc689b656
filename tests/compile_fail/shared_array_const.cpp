// expect: the type of a shared value has no const, volatile or reference: leave it out
#include <cohort/array.hpp>

#ifdef FIXED
using Element = int;
#else
using Element = const int;
#endif

cohort::RawArray<Element> make() { return cohort::RawArray<Element>(10); }
