// expect: constraints not satisfied
// expect: kLends
#include <cohort/queue.hpp>
#include <string>
#include <vector>

#ifdef FIXED
using Message = std::vector<double>;
#else
using Message = std::vector<std::string>;
#endif

void lend(const cohort::Queue<Message>& queue) { queue.put(queue.loan(800)); }
