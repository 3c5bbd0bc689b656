// expect: this type is not serializable
#include <cohort/queue.hpp>
#include <functional>

#ifdef FIXED
using Message = int;
#else
using Message = std::function<void()>;
#endif

cohort::SimpleQueue<Message> make() { return cohort::SimpleQueue<Message>(); }
