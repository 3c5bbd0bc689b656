#include "killer.hpp"

#include <signal.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <vector>

namespace wordcount {

using namespace std::chrono_literals;

Killer::Killer(cohort::Pool& pool, std::size_t kills, Seconds pause)
    : pool_(pool),
      kills_(kills),
      pause_(std::max<Seconds>(pause, 3ms)),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

void Killer::run(const std::stop_token& stop) {
  std::uniform_real_distribution<> factor(0, 2);
  std::mutex mutex;
  std::condition_variable_any stopped;
  std::unique_lock lock(mutex);
  const auto never = [] { return false; };
  while (!done() && !stop.stop_requested()) {
    stopped.wait_for(lock, stop, pause_ * factor(random_), never);
    while (!running_ && !stop.stop_requested()) stopped.wait_for(lock, stop, 20us, never);
    if (running_) kill_one();
  }
}

void Killer::kill_one() {
  std::vector<pid_t> living;
  for (const auto& worker : pool_.stats()) {
    // 0 while a place is empty; and never the same one twice, which may be dead already.
    if (worker.pid > 0 && !victims_.contains(worker.pid)) living.push_back(worker.pid);
  }
  if (living.empty()) return;
  std::uniform_int_distribution<std::size_t> any(0, living.size() - 1);
  const pid_t victim = living[any(random_)];
  if (::kill(victim, SIGKILL) == 0) {
    victims_.insert(victim);
    ++killed_;
  }
}

}  // namespace wordcount
