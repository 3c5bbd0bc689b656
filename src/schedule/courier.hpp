// A thread that runs callbacks, one after the other. Started by the first of them.
#pragma once

#include <functional>
#include <memory>

namespace cohort::schedule {

class Courier {
 public:
  Courier();
  // Runs what was posted before; from one of its own callbacks it lets the thread end by itself.
  ~Courier();
  Courier(const Courier&) = delete;
  Courier& operator=(const Courier&) = delete;

  // What a callback throws must be caught by itself. Throws when no thread can be had.
  void post(std::function<void()> callback);
  // Waits until all that was posted before has run; not from a callback, where it returns at once.
  void drain();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace cohort::schedule
