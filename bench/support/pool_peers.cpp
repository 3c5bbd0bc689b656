#include "pool_peers.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stdexcept>

#ifdef BENCH_HAS_TBB
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>
#endif

namespace bench {

ThreadPool::ThreadPool(std::size_t threads) {
  for (std::size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard guard(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::work() {
  for (;;) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return ending_ || !tasks_.empty(); });
    if (tasks_.empty()) return;
    const auto task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
  }
}

#ifdef BENCH_HAS_TBB

struct Tbb::Arena {
  explicit Arena(int threads) : arena(threads) {}
  tbb::task_arena arena;
};

Tbb::Tbb(std::size_t threads) : arena_(std::make_unique<Arena>(static_cast<int>(threads))) {}

std::vector<int> Tbb::map(Function function, const std::vector<int>& items) {
  std::vector<int> results(items.size());
  arena_->arena.execute([&] {
    tbb::parallel_for(std::size_t{0}, items.size(),
                      [&](std::size_t i) { results[i] = function(items[i]); });
  });
  return results;
}

std::vector<int> Tbb::run_each(Function function, const std::vector<int>& items) {
  std::vector<int> results(items.size());
  arena_->arena.execute([&] {
    tbb::task_group group;
    for (std::size_t i = 0; i < items.size(); ++i)
      group.run([&, i] { results[i] = function(items[i]); });
    group.wait();
  });
  return results;
}

#else

struct Tbb::Arena {};
Tbb::Tbb(std::size_t) : missing_("oneTBB is not installed") {}
std::vector<int> Tbb::map(Function, const std::vector<int>&) { throw std::logic_error(missing_); }
std::vector<int> Tbb::run_each(Function, const std::vector<int>&) {
  throw std::logic_error(missing_);
}

#endif

Tbb::~Tbb() = default;

FutexEcho::FutexEcho() : pid_(fork()) {
  if (pid_ < 0) throw std::runtime_error("no fork");
  if (pid_ > 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (;;) {
    signals_->asked.await();
    signals_->answered.raise();
  }
}

FutexEcho::~FutexEcho() {
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

void FutexEcho::call() {
  signals_->asked.raise();
  signals_->answered.await();
}

double ticks_per_second() {
  static const double rate = [] {
    using Clock = std::chrono::steady_clock;
    const auto begin = Clock::now();
    const std::int64_t first = ticks();
    while (Clock::now() - begin < std::chrono::milliseconds(20)) {
    }
    const std::int64_t last = ticks();
    return static_cast<double>(last - first) /
           std::chrono::duration<double>(Clock::now() - begin).count();
  }();
  return rate;
}

}  // namespace bench
