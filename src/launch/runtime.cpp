#include "launch/runtime.hpp"

#include <sys/random.h>

#include "arena/space.hpp"
#include "launch/child.hpp"
#include "os/call.hpp"

namespace cohort::launch {
namespace {

constexpr std::size_t kAuthkeyBytes = 32;

std::string random_bytes() {
  std::string bytes(kAuthkeyBytes, '\0');
  os::must("getrandom", [&] { return ::getrandom(bytes.data(), bytes.size(), 0); });
  return bytes;
}

struct Current {
  Runtime* runtime = nullptr;
  std::uint32_t epoch = 0;
  const Current* before = nullptr;  // of the family that the host forked us from
};

std::mutex making;
std::atomic<Current*> current{nullptr};

}  // namespace

Runtime& Runtime::here() {
  Current* seen = current.load(std::memory_order_acquire);
  if (seen && seen->epoch == arena::Space::epoch()) return *seen->runtime;
  // The epoch counts from a Space on, so there must be one first.
  arena::Space::here();
  std::lock_guard guard(making);
  seen = current.load(std::memory_order_acquire);
  if (seen && seen->epoch == arena::Space::epoch()) return *seen->runtime;
  auto* made = new Runtime;  // never destroyed: threads may outlive main
  made->self.authkey = random_bytes();
  current.store(new Current{made, arena::Space::epoch(), seen}, std::memory_order_release);
  return *made;
}

}  // namespace cohort::launch
