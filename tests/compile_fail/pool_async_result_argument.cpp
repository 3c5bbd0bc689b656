// expect: cannot cross to another process
#include <cohort/pool.hpp>

int twice(int x) { return 2 * x; }
#ifndef FIXED
int get(const cohort::AsyncResult<int>& result) { return result.get(); }
#endif

int use(cohort::Pool& pool) {
  auto result = pool.apply_async(twice, 3);
#ifdef FIXED
  return pool.apply(twice, result.get());
#else
  return pool.apply(get, result);
#endif
}
