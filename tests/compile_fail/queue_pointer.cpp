// expect: a pointer is not serializable, since it means nothing in another process
#include <cohort/queue.hpp>

#ifdef FIXED
using Message = int;
#else
using Message = int*;
#endif

cohort::Queue<Message> make() { return cohort::Queue<Message>(); }
