#include "throw_trace.hpp"

#include <unwind.h>

#include <array>
#include <cstdint>
#include <typeinfo>

#include "symbols.hpp"
#include "throw_probe.hpp"

namespace cohort::detail {
namespace {

struct Trace {
  int size = 0;
  std::array<std::uintptr_t, kMaxFrames> frames{};
};

thread_local constinit Trace trace;
constinit bool ready = false;  // set once, while the library's globals are built

struct Walk {
  Trace frames;
  bool resumed = false;
};

_Unwind_Reason_Code note_frame(_Unwind_Context* context, void* argument) {
  Walk& walk = *static_cast<Walk*>(argument);
  if (walk.frames.size == kMaxFrames) return _URC_END_OF_STACK;
  int before_instruction = 0;
  auto ip = _Unwind_GetIPInfo(context, &before_instruction);
  // A return address lies behind its call, perhaps already in the next function.
  if (before_instruction == 0) --ip;
  // Asked again while the stack is being taken down, after a destructor ran: not the throw's stack.
  walk.resumed = _Unwind_FindEnclosingFunction(reinterpret_cast<void*>(ip)) ==
                 reinterpret_cast<void*>(&_Unwind_Resume);
  if (walk.resumed) return _URC_END_OF_STACK;
  walk.frames.frames[static_cast<std::size_t>(walk.frames.size++)] = ip;
  return _URC_NO_REASON;
}

}  // namespace

// With a name of its own: an object of an unnamed namespace's type would be unseen by the linker.
class ProbeType final : public std::type_info {
 public:
  ProbeType() : std::type_info("N6cohort6detail10ThrowProbeE") { ready = true; }
  // Runs inside the search for a handler: neither allocates nor locks nor throws.
  bool __do_catch(const std::type_info*, void**, unsigned) const override {
    Walk walk;
    _Unwind_Backtrace(note_frame, &walk);
    if (!walk.resumed) trace = walk.frames;
    return false;
  }
};

namespace {

bool starts_throw(const std::string& function) {
  return function == "__cxa_throw" || function == "__cxa_rethrow" ||
         function.starts_with("std::rethrow_exception") || function == "__interceptor___cxa_throw";
}

}  // namespace

// The type_info of ThrowProbe, under the name that the compiler refers to.
extern const ProbeType probe_type asm("_ZTIN6cohort6detail10ThrowProbeE");
const ProbeType probe_type;

bool probe_is_ready() noexcept { return ready; }

void forget_trace() noexcept { trace.size = 0; }

std::string throw_trace() {
  const Trace copy = trace;  // naming the frames may throw, and so note another stack
  Symbols symbols;
  std::string text;
  for (int i = 0; i < copy.size; ++i) {
    const Symbol symbol = symbols.find(copy.frames[static_cast<std::size_t>(i)]);
    if (symbol.function.starts_with("cohort::detail::run_traced(")) break;
    text += symbol.line() + '\n';
    if (starts_throw(symbol.function)) text.clear();  // up to here: the machinery of throwing
  }
  return text;
}

}  // namespace cohort::detail
