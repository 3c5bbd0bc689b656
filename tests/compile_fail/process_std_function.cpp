// expect: this callable cannot cross to another process
#include <cohort/process.hpp>
#include <functional>

void start(std::function<void()> function) {
#ifdef FIXED
  auto child = cohort::Process::forked(function);
#else
  cohort::Process child(function);
#endif
}
