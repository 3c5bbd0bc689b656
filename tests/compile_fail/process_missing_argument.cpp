// expect: this callable cannot be called with these arguments
#include <cohort/process.hpp>

void use(int number, int another);

void start() {
#ifdef FIXED
  cohort::Process child({.name = "it"}, use, 1, 2);
#else
  cohort::Process child({.name = "it"}, use, 1);
#endif
}
