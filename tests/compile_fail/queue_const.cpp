// expect: a queue of values: leave const and & out
#include <cohort/queue.hpp>

#ifdef FIXED
using Message = int;
#else
using Message = const int;
#endif

cohort::Queue<Message> make() { return cohort::Queue<Message>(); }
