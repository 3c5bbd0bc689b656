// expect: constraints not satisfied
// expect: kLends
#include <cohort/queue.hpp>
#include <list>
#include <string>

#ifdef FIXED
using Message = std::string;
#else
using Message = std::list<char>;
#endif

std::size_t look(const cohort::Queue<Message>& queue) { return queue.get_view().size(); }
