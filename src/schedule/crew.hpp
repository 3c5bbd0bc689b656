// The worker processes of a scheduler, and the thread that watches them: a worker that dies has its
// tasks settled at once and is replaced.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "cohort/pool.hpp"
#include "launch/child.hpp"
#include "os/event.hpp"
#include "schedule/scheduler.hpp"

namespace cohort::schedule {

class Crew {
 public:
  // Starts all workers; when one cannot be started, ends the others and throws why.
  Crew(Scheduler& scheduler, std::uint32_t workers, StartMethod method);
  // All workers must have been let go or killed.
  ~Crew();
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  // Kills every worker and starts no other.
  void kill();
  // Waits until all workers have left or were killed.
  void join();
  std::vector<WorkerStats> stats() const;

 private:
  using Clock = os::Clock;

  struct Place {
    std::shared_ptr<launch::Child> child;  // null: nobody works here now
    std::size_t restarts = 0;
    Clock::time_point since;            // the child's start
    std::chrono::nanoseconds before{};  // life time of its predecessors
  };

  std::shared_ptr<launch::Child> start(std::uint32_t index);
  void supervise();
  void worker_ended(std::uint32_t index);
  void fill_places();
  void give_up(const std::string& why, const std::exception_ptr& cause);
  bool over() const;

  Scheduler& scheduler_;
  StartMethod method_;
  std::string name_;
  os::Event event_;  // something changed for the watching thread

  mutable std::mutex mutex_;
  std::condition_variable ended_;
  std::vector<Place> places_;
  bool killed_ = false;
  bool finished_ = false;

  // The watching thread's own.
  int deaths_at_start_ = 0;  // in a row
  bool given_up_ = false;
  os::Deadline try_again_;  // when to fill empty places
  std::thread thread_;
};

}  // namespace cohort::schedule
