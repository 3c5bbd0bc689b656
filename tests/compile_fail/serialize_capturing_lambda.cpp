// expect: not serializable
// expect: pass a lambda's captures as arguments
#include <cohort/serialize.hpp>

void use(cohort::detail::Writer& writer, int factor) {
#ifdef FIXED
  cohort::detail::encode(writer, factor);
#else
  cohort::detail::encode(writer, [factor](int x) { return factor * x; });
#endif
}
