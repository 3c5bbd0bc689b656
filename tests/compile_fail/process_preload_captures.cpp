// expect: this callable cannot cross to another process
#include <cohort/process.hpp>

void load(int amount);

void start(int amount) {
#ifdef FIXED
  cohort::preload(load, amount);
#else
  cohort::preload([amount] { load(amount); });
#endif
}
