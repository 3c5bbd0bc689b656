// expect: no member named
#include <cohort/value.hpp>
#include <mutex>

#ifdef FIXED
using Count = cohort::Value<int>;
#else
using Count = cohort::RawValue<int>;
#endif

void add(const Count& count) {
  const std::scoped_lock guard(count.lock());
  *count += 1;
}
