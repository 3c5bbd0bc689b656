// What befalls the workers of a pool or an executor while they work: kills at random instants.
#pragma once

#include <signal.h>

#include <atomic>
#include <chrono>
#include <random>
#include <thread>

#include "os/pidfd.hpp"

namespace test {

// Sends SIGKILL to a random worker again and again. Ends with the object.
class WorkerStorm {
 public:
  // `workers` has stats(); pauses are up to `pause` long.
  template <class Workers>
  explicit WorkerStorm(const Workers& workers,
                       std::chrono::microseconds pause = std::chrono::milliseconds(3))
      : thread_([this, &workers, pause](const std::stop_token& stop) {
          std::mt19937 random(std::random_device{}());
          while (!stop.stop_requested()) {
            auto all = workers.stats();
            const auto pid = all[random() % all.size()].pid;
            if (pid != 0 && kill_one(pid)) ++kills_;
            std::this_thread::sleep_for(
                std::chrono::microseconds(random() % static_cast<unsigned>(pause.count())));
          }
        }) {}
  int kills() const { return kills_; }
  void stop() {
    if (!thread_.joinable()) return;
    thread_.request_stop();
    thread_.join();
  }

 private:
  static bool kill_one(pid_t pid) {
    auto process = cohort::os::Pidfd::open(pid);
    return process && process.send(SIGKILL);
  }
  std::atomic<int> kills_{0};
  std::jthread thread_;
};

}  // namespace test
