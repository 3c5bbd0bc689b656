// The stack of the place where an exception was thrown, for exceptions that reach one of our
// frames.
//
// A handler's type is asked, through the virtual std::type_info::__do_catch, whether it takes an
// exception, while the throwing stack still stands. Our frames have a handler for a type of ours
// that never takes one and notes the stack (see throw_probe.cpp).
#pragma once

#include <string>
#include <type_traits>
#include <utility>

namespace cohort::detail {

// Calls `function(argument)`; what it throws goes through, its stack noted for this thread.
void run_traced(void (*function)(void*), void* argument);

// The stack noted last by this thread since its last run_traced began: one line per frame,
// innermost first, "function (module+0xoffset)"; empty if nothing was thrown. Slow: for failures
// only.
std::string throw_trace();

// Runs `f`, which returns nothing. In the handler, throw_trace() tells where it was thrown:
//   try { with_trace([&] { task(); }); } catch (...) { report(throw_trace()); }
template <class F>
void with_trace(F&& f) {
  run_traced([](void* p) { (*static_cast<std::remove_reference_t<F>*>(p))(); },
             const_cast<void*>(static_cast<const void*>(std::addressof(f))));
}

}  // namespace cohort::detail
