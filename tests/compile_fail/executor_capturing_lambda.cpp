// expect: this callable cannot cross to another process
#include <cohort/process_executor.hpp>

auto use(cohort::futures::ProcessPoolExecutor& executor, int factor) {
#ifdef FIXED
  return executor.submit([](int f) { return f * 2; }, factor);
#else
  return executor.submit([factor] { return factor * 2; });
#endif
}
