// expect: the result of this call cannot cross back to this process
#include <cohort/async.hpp>

#ifdef FIXED
int make();
#else
int* make();
#endif

void start() { cohort::async(make).get(); }
