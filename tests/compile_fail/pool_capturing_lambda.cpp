// expect: this callable cannot cross to another process
// expect: Pass its captures as arguments
#include <cohort/pool.hpp>

int use(cohort::Pool& pool, int factor) {
#ifdef FIXED
  return pool.apply([](int f) { return f * 2; }, factor);
#else
  return pool.apply([factor] { return factor * 2; });
#endif
}
