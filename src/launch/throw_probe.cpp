// Apart from throw_trace.cpp, since a translation unit that defines ThrowProbe's type_info by hand
// must not also refer to it by language.
#include "throw_probe.hpp"

#include "throw_trace.hpp"

namespace cohort::detail {

void run_traced(void (*function)(void*), void* argument) {
  if (!probe_is_ready()) return function(argument);  // before this library's globals were built
  forget_trace();
  try {
    function(argument);
  } catch (ThrowProbe&) {
    throw;  // never entered
  }
}

}  // namespace cohort::detail
