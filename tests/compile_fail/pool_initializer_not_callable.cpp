// expect: this callable cannot be called with these arguments
#include <cohort/pool.hpp>

int setup() { return 7; }

cohort::Pool make() {
#ifdef FIXED
  return cohort::Pool({.processes = 1, .initializer = setup});
#else
  return cohort::Pool({.processes = 1, .initializer = setup()});
#endif
}
