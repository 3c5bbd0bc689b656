// expect: inaccessible
#include <cohort/queue.hpp>

#ifdef FIXED
using Numbers = cohort::Queue<int>;
#else
using Numbers = cohort::SimpleQueue<int>;
#endif

void end(const Numbers& queue) { queue.shutdown(); }
