// expect: this result cannot cross back from the worker
#include <cohort/pool.hpp>
#include <functional>

int number() { return 7; }
std::function<int()> function() { return number; }

void use(cohort::Pool& pool) {
#ifdef FIXED
  pool.apply_async(number);
#else
  pool.apply_async(function);
#endif
}
