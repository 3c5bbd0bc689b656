#include "futures/thread_crew.hpp"

#include <pthread.h>

#include <algorithm>
#include <utility>

#include "cohort/error.hpp"
#include "cohort/thread_executor.hpp"
#include "futures/crew_registry.hpp"
#include "launch/exception_parcel.hpp"

namespace cohort::detail {
namespace {

constexpr std::size_t kNameLength = 15;  // of threads, by the system

thread_local ThreadCrew* own_crew = nullptr;
thread_local bool counted_free = false;

std::string thread_name(const std::string& prefix, std::size_t number) {
  std::string suffix = "_" + std::to_string(number);
  return prefix.substr(0, kNameLength - std::min(kNameLength, suffix.size())) + suffix;
}

std::exception_ptr broken_by(std::exception_ptr cause) {
  try {
    std::rethrow_exception(cause);
  } catch (...) {
    try {
      std::throw_with_nested(futures::BrokenThreadPool(
          "an initializer of the executor's threads threw: it runs nothing more"));
    } catch (...) {
      return std::current_exception();
    }
  }
}

}  // namespace

std::shared_ptr<ThreadCrew> ThreadCrew::make(std::size_t most, std::string prefix,
                                             std::function<void()> initializer) {
  std::shared_ptr<ThreadCrew> crew(new ThreadCrew(most, std::move(prefix), std::move(initializer)));
  futures::CrewRegistry::here().add(crew);
  return crew;
}

ThreadCrew::ThreadCrew(std::size_t most, std::string prefix, std::function<void()> initializer)
    : home_(&futures::CrewRegistry::here()),
      most_(most),
      prefix_(std::move(prefix)),
      initializer_(std::move(initializer)) {}

bool ThreadCrew::ours() const noexcept { return home_ == &futures::CrewRegistry::here(); }

void ThreadCrew::refuse_if_closed() const {
  if (broken_) std::rethrow_exception(broken_);
  if (futures::CrewRegistry::here().ending())
    throw InvalidStateError("the program is ending: nothing can be submitted to an executor");
  if (closed_) throw InvalidStateError("nothing can be submitted to an executor after shutdown");
}

void ThreadCrew::submit(std::shared_ptr<ThreadTask> task) {
  bool wake = false;
  {
    std::lock_guard guard(mutex_);
    refuse_if_closed();
    waiting_.push_back(std::move(task));
    try {
      wake = staff();
    } catch (...) {
      if (alive_ == 0) {
        waiting_.pop_back();
        throw;
      }
      wake = idle_ > 0;  // another thread will come to it
    }
  }
  // Outside the lock, for which the woken one would only wait.
  if (wake) changed_.notify_one();
}

// Sees to it that somebody comes to the calls that wait. Answers whether one is to be woken.
bool ThreadCrew::staff() {
  if (waiting_.size() > idle_ + finishing_.load() && made_ < most_) add_thread();
  return idle_ > 0;
}

void ThreadCrew::add_thread() {
  threads_.reserve(made_ + 1);
  threads_.emplace_back([crew = shared_from_this(), number = made_] { crew->work(number); });
  ++made_;
  ++alive_;
}

void ThreadTask::finishing() noexcept { ThreadCrew::finishing(); }
void ThreadTask::not_free_yet() noexcept { ThreadCrew::not_free_yet(); }

void ThreadCrew::finishing() noexcept {
  counted_free = true;
  own_crew->finishing_.fetch_add(1);
}

void ThreadCrew::not_free_yet() noexcept {
  if (!std::exchange(counted_free, false)) return;
  ThreadCrew& crew = *own_crew;
  std::lock_guard guard(crew.mutex_);
  crew.finishing_.fetch_sub(1);
  try {
    if (crew.staff()) crew.changed_.notify_one();
  } catch (...) {
    // No thread to be had: this one comes to it after the callbacks.
  }
}

void ThreadCrew::work(std::size_t number) noexcept {
  own_crew = this;
  std::string name = thread_name(prefix_, number);
  ::pthread_setname_np(::pthread_self(), name.c_str());
  if (initialize(name)) {
    while (auto task = take()) task->run();
  }
  std::lock_guard guard(mutex_);
  --alive_;
  gone_.notify_all();
}

bool ThreadCrew::initialize(const std::string& name) noexcept {
  if (!initializer_) return true;
  try {
    initializer_();
    return true;
  } catch (...) {
    launch::report_uncaught("Initializer of thread", name.c_str());
    break_down(broken_by(std::current_exception()));
    return false;
  }
}

void ThreadCrew::break_down(std::exception_ptr why) noexcept {
  std::deque<std::shared_ptr<ThreadTask>> unrun;
  {
    std::lock_guard guard(mutex_);
    if (!broken_) broken_ = why;
    unrun.swap(waiting_);
    changed_.notify_all();
  }
  for (const auto& task : unrun) task->fail(why);
}

// The next call, or null when there will be none.
std::shared_ptr<ThreadTask> ThreadCrew::take() noexcept {
  std::unique_lock guard(mutex_);
  if (std::exchange(counted_free, false)) finishing_.fetch_sub(1);
  while (waiting_.empty()) {
    if (closed_ || broken_) return nullptr;
    ++idle_;
    changed_.wait(guard);
    --idle_;
  }
  auto task = std::move(waiting_.front());
  waiting_.pop_front();
  return task;
}

bool ThreadCrew::is_own_thread() const noexcept { return own_crew == this; }

void ThreadCrew::shutdown(bool wait, bool cancel_waiting) {
  std::deque<std::shared_ptr<ThreadTask>> unrun;
  {
    std::lock_guard guard(mutex_);
    closed_ = true;
    if (cancel_waiting) unrun.swap(waiting_);
    changed_.notify_all();
  }
  for (const auto& task : unrun) task->cancel_unrun();
  if (wait) join_all();
}

void ThreadCrew::join_all() {
  std::vector<std::thread> ended;
  {
    std::unique_lock guard(mutex_);
    // This thread itself cannot end before it returns from here.
    std::size_t left = is_own_thread() ? 1 : 0;
    gone_.wait(guard, [&] { return alive_ <= left; });
    ended.swap(threads_);
  }
  for (std::thread& thread : ended) {
    if (thread.get_id() == std::this_thread::get_id()) {
      thread.detach();
    } else {
      thread.join();
    }
  }
}

}  // namespace cohort::detail
