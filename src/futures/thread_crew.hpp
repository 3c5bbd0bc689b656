// The threads of a thread executor, and the calls that wait for one.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "cohort/detail/thread_task.hpp"

namespace cohort::detail {

// Kept alive by its threads. In a process that a fork made it is inert: the threads were not
// copied, and its locks may be held by them.
class ThreadCrew : public std::enable_shared_from_this<ThreadCrew> {
 public:
  static std::shared_ptr<ThreadCrew> make(std::size_t most, std::string prefix,
                                          std::function<void()> initializer);
  ThreadCrew(const ThreadCrew&) = delete;
  ThreadCrew& operator=(const ThreadCrew&) = delete;

  bool ours() const noexcept;
  std::size_t most() const noexcept { return most_; }

  // Throws when nothing can be submitted (any more).
  void submit(std::shared_ptr<ThreadTask> task);
  void shutdown(bool wait, bool cancel_waiting);

  // For the call that this thread runs: see ThreadTask.
  static void finishing() noexcept;
  static void not_free_yet() noexcept;

 private:
  ThreadCrew(std::size_t most, std::string prefix, std::function<void()> initializer);

  void refuse_if_closed() const;
  bool staff();
  void add_thread();
  void work(std::size_t number) noexcept;
  bool initialize(const std::string& name) noexcept;
  void break_down(std::exception_ptr why) noexcept;
  std::shared_ptr<ThreadTask> take() noexcept;
  bool is_own_thread() const noexcept;
  void join_all();

  const void* home_;  // of the process that made it
  const std::size_t most_;
  const std::string prefix_;
  const std::function<void()> initializer_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;  // calls to run, or the end of them
  std::condition_variable gone_;     // a thread has left
  std::deque<std::shared_ptr<ThreadTask>> waiting_;
  std::size_t idle_ = 0;                   // threads that sleep
  std::atomic<std::size_t> finishing_{0};  // threads that are about to look for a call
  std::size_t made_ = 0;
  std::size_t alive_ = 0;
  std::vector<std::thread> threads_;
  bool closed_ = false;
  std::exception_ptr broken_;
};

}  // namespace cohort::detail
