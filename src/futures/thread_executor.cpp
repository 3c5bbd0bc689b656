#include "cohort/thread_executor.hpp"

#include <algorithm>
#include <stdexcept>

#include "cohort/process.hpp"
#include "futures/crew_registry.hpp"
#include "futures/thread_crew.hpp"

namespace cohort::futures {
namespace {

constexpr std::size_t kMoreThanCpus = 4;  // threads often wait for something
constexpr std::size_t kMostByDefault = 32;

std::size_t checked_count(std::optional<long long> asked) {
  if (!asked) return std::min(kMostByDefault, cpu_count() + kMoreThanCpus);
  if (*asked < 1)
    throw std::invalid_argument("an executor needs at least one worker, not " +
                                std::to_string(*asked));
  return static_cast<std::size_t>(*asked);
}

}  // namespace

ThreadPoolExecutor::ThreadPoolExecutor(ThreadPoolOptions options) {
  std::string prefix = std::move(options.thread_name_prefix);
  if (prefix.empty()) prefix = CrewRegistry::here().next_prefix();
  crew_ = detail::ThreadCrew::make(checked_count(options.max_workers), std::move(prefix),
                                   std::move(options.initializer));
}

ThreadPoolExecutor::ThreadPoolExecutor(ThreadPoolExecutor&&) noexcept = default;

ThreadPoolExecutor& ThreadPoolExecutor::operator=(ThreadPoolExecutor&& other) noexcept {
  std::swap(crew_, other.crew_);
  return *this;
}

ThreadPoolExecutor::~ThreadPoolExecutor() {
  if (!crew_) return;
  if (crew_->ours()) {
    crew_->shutdown(true, false);
  } else {
    // Its locks were not copied whole: they cannot even be destroyed.
    [[maybe_unused]] static auto& left_behind =
        *new std::vector<std::shared_ptr<detail::ThreadCrew>>;
    left_behind.push_back(std::move(crew_));
  }
}

detail::ThreadCrew& ThreadPoolExecutor::crew() const {
  if (!crew_) throw InvalidStateError("this executor was moved from");
  if (!crew_->ours())
    throw InvalidStateError(
        "this executor belongs to the process that made it: a forked child makes one of its own");
  return *crew_;
}

void ThreadPoolExecutor::enqueue(std::shared_ptr<detail::ThreadTask> task) {
  crew().submit(std::move(task));
}

void ThreadPoolExecutor::shutdown(ShutdownOptions options) {
  if (crew_ && crew_->ours()) crew_->shutdown(options.wait, options.cancel_futures);
}

std::size_t ThreadPoolExecutor::max_workers() const { return crew().most(); }

}  // namespace cohort::futures
