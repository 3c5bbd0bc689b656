// What the worker processes of a pool may use; and sizes in bytes: 4_GiB.
#pragma once

#include <chrono>
#include <cstddef>
#include <limits>
#include <optional>
#include <vector>

namespace cohort {

// Each worker gets these when it starts, also one that replaces another. A field left out sets no
// limit. Nonsense (a size or time of zero, a CPU that this process may not use) is a
// std::invalid_argument where the pool is made; what the system refuses to a worker is a
// std::system_error.
struct WorkerLimits {
  // Bytes of private memory that can be written: heap, globals and the whole stacks of further
  // threads; not what the family shares. Past it allocations throw std::bad_alloc. A forked worker
  // has its parent's from the start, which must fit. (RLIMIT_DATA)
  std::optional<std::size_t> memory = std::nullopt;
  // Time on a CPU in the worker's whole life, all threads together: then SIGXCPU ends it, or
  // SIGKILL a second later if that is handled. (RLIMIT_CPU)
  std::optional<std::chrono::seconds> cpu_time = std::nullopt;
  // Descriptors are below this number; cohort needs some itself. (RLIMIT_NOFILE)
  std::optional<std::size_t> open_files = std::nullopt;
  // Added to the niceness, -20 to 19; below zero needs a privilege.
  std::optional<int> nice = std::nullopt;
  // Worker i runs on CPU cpus[i % cpus.size()] only. Empty: anywhere.
  std::vector<int> cpus = {};

  bool operator==(const WorkerLimits&) const = default;
};

// With `using namespace cohort` or `using namespace cohort::literals`. Too many bytes for a
// std::size_t do not compile.
inline namespace literals {

consteval std::size_t operator""_KiB(unsigned long long count) {
  if (count > std::numeric_limits<std::size_t>::max() >> 10) throw "too many bytes";
  return static_cast<std::size_t>(count) << 10;
}
consteval std::size_t operator""_MiB(unsigned long long count) {
  if (count > std::numeric_limits<std::size_t>::max() >> 20) throw "too many bytes";
  return static_cast<std::size_t>(count) << 20;
}
consteval std::size_t operator""_GiB(unsigned long long count) {
  if (count > std::numeric_limits<std::size_t>::max() >> 30) throw "too many bytes";
  return static_cast<std::size_t>(count) << 30;
}

}  // namespace literals
}  // namespace cohort
