// expect: constraints not satisfied
#include <cohort/value.hpp>

struct Big {
  double numbers[10];
};

void add(const cohort::Value<Big>& value, const Big& more) {
#ifdef FIXED
  value.with_lock([&](Big& big) { big.numbers[0] += more.numbers[0]; });
#else
  value.fetch_add(more);
#endif
}
