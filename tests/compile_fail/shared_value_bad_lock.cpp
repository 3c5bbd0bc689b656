// expect: no matching
#include <cohort/value.hpp>
#include <mutex>

#ifdef FIXED
using Guarding = cohort::Lock;
#else
using Guarding = std::mutex;
#endif

cohort::Value<int> make(const Guarding& lock) { return cohort::Value<int>(5, lock); }
