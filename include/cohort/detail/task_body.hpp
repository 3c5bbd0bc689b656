// The caller's side of a task: what is sent, and what its results become. Untyped, for
// src/schedule.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "cohort/detail/memory_io.hpp"
#include "cohort/detail/target.hpp"

namespace cohort::detail {

// How many items there are, the code that runs them, and how they cross.
struct TaskShape {
  CodeReference thunk;
  std::size_t count = 1;
  std::size_t item_bytes = 0;    // of a trivially copyable item; 0: items are encoded
  std::size_t result_bytes = 0;  // likewise for results
  bool has_results = true;       // false: void
  bool each_apart = false;       // each item's outcome is wanted, not the first failure
};

// Called by the thread that submits and waits; never under a lock. What these throw ends the call.
class TaskBody {
 public:
  virtual ~TaskBody() = default;
  virtual void encode_callable(Writer&) {}
  virtual void encode_next(Writer&) {}
  virtual void copy_next(std::byte*, std::size_t) {}  // this many items
  virtual void take_result(Reader&) {}                // in the order of the items
  virtual void take_results(const std::byte*) {}      // all of them
  virtual void take_failure(std::exception_ptr) {}    // an item's, where each is wanted
  // For messages about the task.
  virtual std::string name() const = 0;
};

// "square(int)": of the function at `address` where its symbol is known, else the type's name.
std::string describe_callable(const void* address, std::string_view type);

template <class F>
const void* code_address(const F& f) {
  if constexpr (is_function_pointer<F>) return reinterpret_cast<const void*>(f);
  return nullptr;
}

}  // namespace cohort::detail
