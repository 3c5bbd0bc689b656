// Kills workers of a pool at random moments.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cohort/pool.hpp>
#include <cstddef>
#include <random>
#include <set>
#include <thread>

namespace wordcount {

class Killer {
 public:
  using Seconds = std::chrono::duration<double>;

  // Kills `kills` workers in all, with pauses of `pause` on average, but not so short that new
  // workers die before they can work. The pool must live longer.
  Killer(cohort::Pool& pool, std::size_t kills, Seconds pause);

  // Runs `job`, and kills only meanwhile. Answers how many it killed since the last time.
  template <class Job>
  std::size_t kill_during(Job&& job) {
    const std::size_t before = reported_;
    running_ = true;
    job();
    running_ = false;
    reported_ = killed();
    return reported_ - before;
  }

  std::size_t killed() const { return killed_; }
  bool done() const { return killed_ >= kills_; }

 private:
  void run(const std::stop_token& stop);
  void kill_one();

  cohort::Pool& pool_;
  std::size_t kills_;
  Seconds pause_;
  std::size_t reported_ = 0;
  std::set<pid_t> victims_;
  std::mt19937 random_{std::random_device()()};
  std::atomic<bool> running_{false};
  std::atomic<std::size_t> killed_{0};
  std::jthread thread_;
};

}  // namespace wordcount
