// The thread executors of this process. A new process begins with none.
#pragma once

#include <atomic>
#include <list>
#include <memory>
#include <mutex>
#include <string>

#include "futures/thread_crew.hpp"

namespace cohort::futures {

class CrewRegistry {
 public:
  explicit CrewRegistry(const CrewRegistry* before = nullptr) : before_(before) {}
  // Another object in every process.
  static CrewRegistry& here() noexcept;

  void add(const std::shared_ptr<detail::ThreadCrew>& crew);
  std::string next_prefix();
  // Whether the process has begun to end.
  bool ending() const noexcept { return ending_.load(std::memory_order_acquire); }
  // Lets all executors finish what was submitted.
  void end_all() noexcept;

 private:
  std::shared_ptr<detail::ThreadCrew> take_one();

  // Of the process that this one was forked from: nothing reads it, a leak checker sees it.
  [[maybe_unused]] const CrewRegistry* before_;
  std::mutex mutex_;
  std::list<std::weak_ptr<detail::ThreadCrew>> crews_;
  std::size_t prefixes_ = 0;
  std::atomic<bool> ending_{false};
};

}  // namespace cohort::futures
