// Pools of others, to measure cohort's against, and a clock to spin on.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "ping_pong.hpp"
#include "shared.hpp"

namespace bench {

// The textbook's: threads, a mutex, a condition, and a std::future for each task.
class ThreadPool {
 public:
  explicit ThreadPool(std::size_t threads);
  ~ThreadPool();  // after what was submitted
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  template <class F, class... Args>
  auto submit(F function, Args... args) {
    using Result = std::invoke_result_t<F, Args...>;
    auto task = std::make_shared<std::packaged_task<Result()>>(
        [function, args...] { return function(args...); });
    auto result = task->get_future();
    {
      const std::lock_guard guard(mutex_);
      tasks_.emplace_back([task = std::move(task)] { (*task)(); });
    }
    changed_.notify_one();
    return result;
  }

 private:
  void work();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

// oneTBB's, on so many threads, the caller's included.
class Tbb {
 public:
  using Function = int (*)(int);

  explicit Tbb(std::size_t threads);
  ~Tbb();

  const std::string& missing() const { return missing_; }  // empty: it is there
  // parallel_for over the items; the results go to a vector of their own.
  std::vector<int> map(Function function, const std::vector<int>& items);
  // The same by a task_group with a task for each item.
  std::vector<int> run_each(Function function, const std::vector<int>& items);

 private:
  struct Arena;
  std::string missing_;
  std::unique_ptr<Arena> arena_;
};

// Another process that answers a futex, and sleeps until then. There is no less that a call which
// wakes a sleeping worker can be.
class FutexEcho {
 public:
  FutexEcho();
  ~FutexEcho();
  FutexEcho(const FutexEcho&) = delete;
  FutexEcho& operator=(const FutexEcho&) = delete;

  void call();

 private:
  struct Signals {
    FutexSignal asked;
    FutexSignal answered;
  };
  Shared<Signals> signals_;
  pid_t pid_;
};

// The CPU's clock, which goes on at one pace and costs nothing to ask.
inline std::int64_t ticks() {
#if defined(__x86_64__)
  return static_cast<std::int64_t>(__builtin_ia32_rdtsc());
#elif defined(__aarch64__)
  std::int64_t now;
  asm volatile("mrs %0, cntvct_el0" : "=r"(now));
  return now;
#else
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
#endif
}
// Measured at the first call, which takes 20 ms.
double ticks_per_second();

// A task that takes so many ticks; answers them.
inline int spin(int count) {
  for (const std::int64_t end = ticks() + count; ticks() < end;) {
  }
  return count;
}

}  // namespace bench
