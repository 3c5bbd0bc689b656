// expect: a queue of values: leave const and & out
#include <cohort/queue.hpp>
#include <string>

#ifdef FIXED
using Message = std::string;
#else
using Message = std::string&;
#endif

cohort::Queue<Message> make() { return cohort::Queue<Message>(); }
