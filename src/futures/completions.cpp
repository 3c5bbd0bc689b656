#include "cohort/detail/completions.hpp"

#include <condition_variable>
#include <deque>
#include <mutex>

namespace cohort::detail {

struct Completions::Arrivals {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::size_t> numbers;
};

Completions::Completions() : arrivals_(std::make_shared<Arrivals>()) {}

void Completions::watch(CallState& call, std::size_t number) {
  call.add_watcher(arrivals_.get(), [arrivals = arrivals_, number] {
    // Told under the lock: the waiter may let go of all else as soon as it has the number.
    std::lock_guard guard(arrivals->mutex);
    arrivals->numbers.push_back(number);
    arrivals->changed.notify_one();
  });
}

std::optional<std::size_t> Completions::next(CallDeadline deadline) {
  std::unique_lock guard(arrivals_->mutex);
  auto arrived = [&] { return !arrivals_->numbers.empty(); };
  if (!deadline) {
    arrivals_->changed.wait(guard, arrived);
  } else if (!arrivals_->changed.wait_until(guard, *deadline, arrived)) {
    return std::nullopt;
  }
  std::size_t number = arrivals_->numbers.front();
  arrivals_->numbers.pop_front();
  return number;
}

}  // namespace cohort::detail
