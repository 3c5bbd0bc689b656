// Locks, conditions, events, semaphores and barriers between processes, beside those of pthreads,
// Boost.Interprocess and Python, and waking beside a bare futex.
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cohort/process.hpp>
#include <cohort/sync.hpp>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "arena/space.hpp"
#include "support/comparison.hpp"
#include "support/lock_peers.hpp"
#include "support/ping_pong.hpp"
#include "support/python_peer.hpp"
#include "support/shared.hpp"
#include "support/two_processes.hpp"

#if __has_include(<boost/interprocess/sync/interprocess_mutex.hpp>)
#include <boost/interprocess/sync/interprocess_mutex.hpp>
using BoostMutex = boost::interprocess::interprocess_mutex;
constexpr bool kBoost = true;
#else
using BoostMutex = bench::BareSemaphore;
constexpr bool kBoost = false;
#endif

namespace {

using bench::Comparison;
using bench::Placement;
using bench::PthreadMutex;
using bench::Shared;
using Clock = std::chrono::steady_clock;

const std::string kNoBoost = "Boost.Interprocess is not installed";

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// The locks of others that work between processes.
struct PeerLocks {
  Shared<PthreadMutex> plain{PthreadMutex::Kind::shared};
  Shared<PthreadMutex> robust{PthreadMutex::Kind::robust};
  Shared<bench::BareSemaphore> semaphore;
  Shared<BoostMutex> boost;
};

void add_python(Comparison& comparison, bench::PythonPeer& python, const std::string& question) {
  const std::string name = "python Lock";
  if (python.missing().empty()) {
    comparison.add(name, [&python, question] { return python.ask(question); });
  } else {
    comparison.skip(name, python.missing());
  }
}

void compare_uncontended(int rounds, bench::PythonPeer& python) {
  const cohort::Lock lock;
  const cohort::RLock rlock;
  const PeerLocks peers;
  std::mutex mutex;
  const auto pairs = [](auto& one) {
    return [&one] {
      return bench::time_each(200'000, [&] {
        one.lock();
        one.unlock();
      });
    };
  };
  Comparison comparison("lock and unlock", rounds);
  comparison.add("Lock", pairs(lock));
  comparison.add("std::mutex", pairs(mutex));
  comparison.add("pthread robust", pairs(*peers.robust));
  comparison.add("RLock", pairs(rlock));
  comparison.add("pthread shared", pairs(*peers.plain));
  comparison.add("sem_t", pairs(*peers.semaphore));
  if (kBoost) {
    comparison.add("boost interprocess_mutex", pairs(*peers.boost));
  } else {
    comparison.skip("boost interprocess_mutex", kNoBoost);
  }
  add_python(comparison, python, "lock 100000");
  comparison.run();
  comparison.ratio("Lock", "pthread robust", 1.2);
  comparison.ratio("Lock", "std::mutex", 2);
  comparison.ratio("RLock", "pthread robust", 1.2);
  comparison.ratio("Lock", "pthread shared");
  comparison.ratio("Lock", "sem_t");
  comparison.ratio("Lock", "boost interprocess_mutex");
  comparison.ratio("Lock", "python Lock");
}

// Two processes that contend for one lock for a time.
class Contest {
 public:
  explicit Contest(Placement placement) : placement_(placement) {}

  // Seconds per acquisition. Notes the share of the one that got it less often.
  template <class Lock>
  double run(const std::string& name, Lock& lock) {
    struct State {
      alignas(64) std::uint64_t guarded = 0;
      alignas(64) std::array<std::uint64_t, 2> counts{};
    };
    const Shared<State> state;
    const auto contend = [&](std::size_t which) {
      const auto begin = Clock::now();
      std::uint64_t count = 0;
      // The clock is read now and then only, but often enough for the slowest.
      do {
        for (int i = 0; i < 20; ++i) {
          lock.lock();
          ++state->guarded;
          lock.unlock();
        }
        count += 20;
      } while (Clock::now() - begin < kTime);
      state->counts[which] = count;
    };
    bench::in_two_processes(
        placement_, [&] { contend(0); }, [&] { contend(1); });
    const auto [first, second] = state->counts;
    if (state->guarded != first + second) throw std::logic_error(name + " does not exclude");
    const auto all = static_cast<double>(first + second);
    shares_[name].push_back(static_cast<double>(std::min(first, second)) / all);
    return std::chrono::duration<double>(kTime).count() / all;
  }
  void print_shares() const {
    for (const auto& [name, shares] : shares_)
      std::printf("  the less lucky one's share: %-24s %10.2f\n", name.c_str(),
                  bench::median_of(shares));
  }

 private:
  static constexpr std::chrono::milliseconds kTime{100};
  Placement placement_;
  std::map<std::string, std::vector<double>> shares_;
};

void compare_contended(Placement placement, const std::string& where, int rounds,
                       bench::PythonPeer* python) {
  if (const std::string missing = missing_for(placement); !missing.empty()) {
    std::printf("\ncontended, %s: skipped, %s\n", where.c_str(), missing.c_str());
    return;
  }
  const cohort::Lock lock;
  const cohort::RLock rlock;
  const PeerLocks peers;
  Contest contest(placement);
  Comparison comparison("an acquisition, contended by two processes, " + where, rounds);
  const auto add = [&](const std::string& name, auto& one) {
    comparison.add(name, [&contest, &one, name] { return contest.run(name, one); });
  };
  add("Lock", lock);
  add("pthread robust", *peers.robust);
  add("RLock", rlock);
  add("pthread shared", *peers.plain);
  add("sem_t", *peers.semaphore);
  if (kBoost) {
    add("boost interprocess_mutex", *peers.boost);
  } else {
    comparison.skip("boost interprocess_mutex", kNoBoost);
  }
  if (python) add_python(comparison, *python, "contend 0.1");
  comparison.run();
  contest.print_shares();
  comparison.ratio("Lock", "pthread robust", 1.0);
  comparison.ratio("RLock", "pthread robust", 1.0);
  comparison.ratio("Lock", "pthread shared");
  comparison.ratio("Lock", "sem_t");
  comparison.ratio("Lock", "boost interprocess_mutex");
  comparison.ratio("Lock", "python Lock");
}

// Signals for bench::ping_pong.
class EventSignal {
 public:
  void raise() const { event_.set(); }
  void await() const {
    event_.wait();
    event_.clear();
  }

 private:
  cohort::Event event_;
};

class ConditionSignal {
 public:
  void raise() {
    std::scoped_lock guard(condition_);
    *raised_ = true;
    condition_.notify();
  }
  void await() {
    std::unique_lock guard(condition_);
    condition_.wait(guard, [&] { return *raised_; });
    *raised_ = false;
  }

 private:
  cohort::Condition condition_{cohort::Lock()};
  Shared<bool> raised_{false};
};

class PthreadConditionSignal {
 public:
  PthreadConditionSignal() {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_cond_init(&state_->condition, &attributes);
    pthread_condattr_destroy(&attributes);
  }
  void raise() {
    state_->mutex.lock();
    state_->raised = true;
    pthread_cond_signal(&state_->condition);
    state_->mutex.unlock();
  }
  void await() {
    state_->mutex.lock();
    while (!state_->raised) pthread_cond_wait(&state_->condition, state_->mutex.native());
    state_->raised = false;
    state_->mutex.unlock();
  }

 private:
  struct State {
    PthreadMutex mutex;
    pthread_cond_t condition;
    bool raised = false;
  };
  Shared<State> state_;
};

void compare_waking(Placement placement, bench::Other other, const std::string& where, int rounds) {
  if (const std::string missing = missing_for(placement); !missing.empty()) {
    std::printf("\nwaking, %s: skipped, %s\n", where.c_str(), missing.c_str());
    return;
  }
  const bool asleep = other == bench::Other::asleep;
  const int times = asleep ? 200 : 5000;
  Comparison comparison("from a signal to the one woken, " + where, rounds);
  const auto add = [&](const std::string& name, auto& ping, auto& pong) {
    comparison.add(name, [&, placement, other, times] {
      return bench::ping_pong(placement, other, times, ping, pong);
    });
  };
  const Shared<std::array<bench::FutexSignal, 2>> futexes;
  std::array<EventSignal, 2> events;
  std::array<ConditionSignal, 2> conditions;
  std::array<PthreadConditionSignal, 2> pthread_conditions;
  add("bare futex", (*futexes)[0], (*futexes)[1]);
  add("Event", events[0], events[1]);
  add("Condition", conditions[0], conditions[1]);
  add("pthread condition, robust mutex", pthread_conditions[0], pthread_conditions[1]);
  comparison.run();
  const auto aim = asleep ? std::optional(1.2) : std::nullopt;
  comparison.ratio("Event", "bare futex", aim);
  comparison.ratio("Condition", "bare futex", aim);
  comparison.ratio("Condition", "pthread condition, robust mutex");
}

void compare_making(int rounds, bench::PythonPeer& python) {
  Comparison comparison("making and dropping a lock", rounds);
  comparison.add("Lock", [] { return bench::time_each(20'000, [] { cohort::Lock lock; }); });
  add_python(comparison, python, "make 2000");
  comparison.add("make_unique<std::mutex>", [] {
    return bench::time_each(20'000, [] {
      const auto mutex = std::make_unique<std::mutex>();
      mutex->lock();  // else the compiler leaves it out
      mutex->unlock();
    });
  });
  comparison.run();
  comparison.ratio("Lock", "python Lock", 0.05);
  comparison.ratio("Lock", "make_unique<std::mutex>");
}

std::ptrdiff_t entries_in(const char* directory) {
  return std::distance(std::filesystem::directory_iterator(directory), {});
}

double arena_bytes() {
  struct stat status {};
  fstat(cohort::arena::Space::here().memory_fd(), &status);
  return static_cast<double>(status.st_blocks) * 512;
}

void tell_cost_of_many() {
  constexpr std::size_t kLocks = 100'000;
  const auto fds = entries_in("/proc/self/fd");
  const auto files = entries_in("/dev/shm");
  const double bytes = arena_bytes();
  const auto begin = Clock::now();
  const std::vector<cohort::Lock> locks(kLocks);
  for (const cohort::Lock& lock : locks) std::scoped_lock guard(lock);
  const double passed = seconds_since(begin);
  std::printf("\n%zu locks, all alive and used once\n", locks.size());
  std::printf("  made and used in %s each; %.0f bytes of the arena each\n",
              bench::format_time(passed / kLocks).c_str(), (arena_bytes() - bytes) / kLocks);
  std::printf("  more file descriptors: %td, more files in /dev/shm: %td\n",
              entries_in("/proc/self/fd") - fds, entries_in("/dev/shm") - files);
}

// What became of the locks that a killed process held.
struct Heard {
  std::size_t count = 0;
  double first = 0;  // seconds from the kill to the first answer
};

// `hold` locks them all in a process that is then killed; `answers(i)` locks one afterwards, and
// says whether that told of the death.
template <class Hold, class Answers>
Heard kill_holder(std::size_t locks, Hold&& hold, Answers&& answers) {
  const Shared<std::atomic<bool>> held(false);
  auto holder = cohort::Process::forked([&] {
    hold();
    for (held->store(true);;) pause();
  });
  holder.start();
  while (!held->load()) sched_yield();
  Heard heard;
  const auto begin = Clock::now();
  kill(holder.pid(), SIGKILL);
  // The last first: there the kernel begins with robust mutexes.
  for (std::size_t i = locks; i-- > 0;) {
    if (!answers(i)) continue;
    if (heard.count++ > 0) continue;
    heard.first = seconds_since(begin);
    holder.join();  // the kernel may be at the others still
  }
  return heard;
}

Heard kill_holder_of_ours(std::size_t count) {
  const std::vector<cohort::Lock> locks(count);
  const auto hold = [&] {
    for (const auto& lock : locks) lock.lock();
  };
  return kill_holder(count, hold, [&](std::size_t i) {
    try {
      locks[i].lock();
      locks[i].unlock();
      return false;
    } catch (const cohort::LockOwnerDied&) {
      return true;
    }
  });
}

template <std::size_t count>
Heard kill_holder_of_pthreads() {
  const Shared<std::array<PthreadMutex, count>> locks;
  const auto hold = [&] {
    for (auto& lock : *locks) lock.lock();
  };
  return kill_holder(count, hold, [&](std::size_t i) {
    // Those that the kernel passed over are locked for ever.
    PthreadMutex& lock = (*locks)[i];
    if ((i + 1 == count ? lock.lock() : lock.try_lock()) != EOWNERDEAD) return false;
    lock.unlock();
    return true;
  });
}

void compare_owner_death(int rounds) {
  constexpr std::size_t kLocks = 10'000;
  std::map<std::string, std::size_t> heard;
  Comparison comparison("from the kill of a holder of 10,000 locks to the first answer", rounds);
  const auto add = [&](const std::string& name, Heard (*measure)()) {
    comparison.add(name, [&heard, name, measure] {
      const Heard one = measure();
      heard[name] = one.count;
      return one.first;
    });
  };
  add("Lock", [] { return kill_holder_of_ours(kLocks); });
  add("pthread robust", [] { return kill_holder_of_pthreads<kLocks>(); });
  comparison.run();
  for (const auto& [name, count] : heard)
    std::printf("  locks that told of the death: %-20s %12zu of %zu\n", name.c_str(), count,
                kLocks);
  comparison.ratio("Lock", "pthread robust");
}

void compare_semaphores(int rounds) {
  const cohort::Semaphore semaphore(1);
  const Shared<bench::BareSemaphore> bare;
  Comparison comparison("acquire and release", rounds);
  comparison.add("Semaphore", [&] {
    return bench::time_each(100'000, [&] {
      semaphore.acquire();
      semaphore.release();
    });
  });
  comparison.add("sem_t", [&] {
    return bench::time_each(100'000, [&] {
      bare->lock();
      bare->unlock();
    });
  });
  comparison.add("Semaphore, as a Permit",
                 [&] { return bench::time_each(100'000, [&] { (void)semaphore.hold(); }); });
  comparison.run();
  comparison.ratio("Semaphore", "sem_t");
  comparison.ratio("Semaphore, as a Permit", "sem_t");
}

// Seconds per round of two processes.
template <class Wait>
double time_rounds(Placement placement, Wait&& wait) {
  constexpr int kTimes = 5000;
  const Shared<double> seconds(0.0);
  const auto party = [&] {
    for (int i = 0; i < kTimes / 5; ++i) wait();
    return bench::time_each(kTimes, wait);
  };
  bench::in_two_processes(
      placement, [&] { *seconds = party(); }, [&] { party(); });
  return *seconds;
}

void compare_barriers(Placement placement, const std::string& where, int rounds) {
  if (const std::string missing = missing_for(placement); !missing.empty()) {
    std::printf("\nbarriers, %s: skipped, %s\n", where.c_str(), missing.c_str());
    return;
  }
  const cohort::Barrier barrier(2);
  const Shared<pthread_barrier_t> bare;
  pthread_barrierattr_t attributes;
  pthread_barrierattr_init(&attributes);
  pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_barrier_init(&*bare, &attributes, 2);
  pthread_barrierattr_destroy(&attributes);
  Comparison comparison("a barrier's round of two processes, " + where, rounds);
  comparison.add("Barrier", [&] { return time_rounds(placement, [&] { barrier.wait(); }); });
  comparison.add("pthread barrier",
                 [&] { return time_rounds(placement, [&] { pthread_barrier_wait(&*bare); }); });
  comparison.run();
  comparison.ratio("Barrier", "pthread barrier");
}

}  // namespace

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  const bench::Options options = bench::parse_options(argc, argv);
  const int rounds = options.rounds;
  // The C library leaves out atomic operations while there has never been a second thread.
  std::thread([] {}).join();
  bench::PythonPeer python("sync.py");
  const std::string apart = "each on a CPU of its own";
  const std::string together = "both on one CPU";

  compare_uncontended(rounds, python);
  compare_contended(Placement::anywhere, "wherever they are put", rounds, &python);
  compare_contended(Placement::apart, apart, rounds, nullptr);
  compare_contended(Placement::together, together, rounds, nullptr);
  compare_making(rounds, python);
  tell_cost_of_many();
  compare_owner_death(rounds);
  using bench::Other;
  compare_waking(Placement::apart, Other::asleep, "asleep, " + apart, rounds);
  compare_waking(Placement::together, Other::asleep, "asleep, " + together, rounds);
  compare_waking(Placement::apart, Other::busy, "busy, " + apart, rounds);
  compare_waking(Placement::together, Other::busy, "busy, " + together, rounds);
  compare_semaphores(rounds);
  compare_barriers(Placement::apart, apart, rounds);
  compare_barriers(Placement::together, together, rounds);
}
