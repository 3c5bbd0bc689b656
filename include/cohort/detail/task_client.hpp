// The two sides of an asynchronous call in a pool: what its handles ask of the scheduler, and what
// the scheduler tells its handles.
#pragma once

#include <functional>
#include <memory>

#include "cohort/detail/call_state.hpp"
#include "cohort/detail/task_body.hpp"

namespace cohort::detail {

class RunningCall {
 public:
  virtual ~RunningCall() = default;
  // Waits until the state has an end, and collects results meanwhile. Answers false at the
  // deadline.
  virtual bool await(CallState& state, CallDeadline deadline) = 0;
  // Takes what has arrived; notes in the state whether the call runs.
  virtual void poll(CallState& state) = 0;
  // Answers whether the call ends cancelled. A running one is taken from its worker by killing
  // that.
  virtual bool cancel(bool also_running) = 0;
  // Somebody shall complete the call at once though nobody waits for it.
  virtual void want_delivery() = 0;
  // Of an ended call: hands the results to its body, or throws the outcome.
  virtual void deliver() = 0;
  // On the pool's callback thread, one after the other.
  virtual void post(std::function<void()> callback) = 0;
};

class TaskClient {
 public:
  virtual TaskBody& task_body() = 0;
  // Once, by any thread, under no lock: deliver() has the outcome from now on.
  virtual void call_ended() = 0;
  virtual void call_cancelled() = 0;
  // Whether call_ended runs code of the user's.
  virtual bool has_callbacks() const = 0;

 protected:
  ~TaskClient() = default;
};

}  // namespace cohort::detail
