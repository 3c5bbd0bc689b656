// Waiting for the first of several calls to end.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>

#include "cohort/detail/call_state.hpp"

namespace cohort::detail {

// Numbers of calls in the order of their ends. For one thread that waits.
class Completions {
 public:
  Completions();
  Completions(Completions&&) noexcept = default;
  Completions& operator=(Completions&&) noexcept = default;

  // Reports the call as `number` when it is settled. The call must be forgotten, or settled, before
  // this object goes.
  void watch(CallState& call, std::size_t number);
  void forget(CallState& call) const { call.remove_watcher(arrivals_.get()); }
  // The next that ended, each once; empty when the deadline passed before.
  std::optional<std::size_t> next(CallDeadline deadline);

 private:
  struct Arrivals;
  std::shared_ptr<Arrivals> arrivals_;
};

}  // namespace cohort::detail
