// expect: this callable cannot cross to another process
#include <cohort/pool.hpp>
#include <vector>

auto use(cohort::Pool& pool, const std::vector<int>& numbers, int factor) {
#ifdef FIXED
  return pool.map(cohort::bind([](int f, int x) { return f * x; }, factor), numbers);
#else
  return pool.map([factor](int x) { return factor * x; }, numbers);
#endif
}
