// expect: this callable cannot cross to another process
// expect: Pass its captures as arguments
// expect: cohort::Process::forked
#include <cohort/process.hpp>

void use(int factor) {
#ifdef FIXED
  cohort::Process child([](int f) { return f * 2; }, factor);
#else
  cohort::Process child([factor] { return factor * 2; });
#endif
}
