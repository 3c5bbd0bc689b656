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
  // Starts the workers that the scheduler wants by now, and the others as it comes to want them.
  // When one of the first cannot be started, ends the others and throws why.
  Crew(Scheduler& scheduler, StartMethod method, const WorkerLimits& limits);
  // All workers must have been let go or killed.
  ~Crew();
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  // Ends every worker by this signal and starts no other.
  void end(int signal);
  // Waits until all workers have left or were killed.
  void join();
  // The same, and for the thread that watches them. Once, before destruction or by it.
  void stop();
  std::vector<WorkerStats> stats();

 private:
  using Clock = os::Clock;

  struct Place {
    std::shared_ptr<launch::Child> child;  // null: nobody works here now
    std::size_t restarts = 0;
    Clock::time_point since;            // the child's start
    std::chrono::nanoseconds before{};  // life time of its predecessors
    std::size_t peak_memory = 0;        // of all of them, bytes
    arena::MemberId condemned{};        // to be killed as soon as it is here
  };

  std::shared_ptr<launch::Child> start(std::uint32_t index);
  void supervise();
  void worker_ended(std::uint32_t index);
  void trace_life(std::uint32_t index, const WorkerDeath& death) const;
  WorkerDeath describe_death(std::uint32_t index, pid_t pid, int code) const;
  void kill_one(std::uint32_t index, arena::MemberId member);
  void take_place(std::uint32_t index, const std::shared_ptr<launch::Child>& child);
  bool gone_unwatched(std::uint32_t index) const;
  bool anybody_works() const;
  bool places_missing() const;
  void fill_places();
  void give_up(const std::string& why, const std::exception_ptr& cause);
  bool over() const;

  Scheduler& scheduler_;
  StartMethod method_;
  WorkerLimits limits_;
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
