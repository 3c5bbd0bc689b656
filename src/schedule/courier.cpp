#include "schedule/courier.hpp"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "os/signals.hpp"

namespace cohort::schedule {

struct Courier::State {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> waiting;
  bool running = false;  // a callback
  bool stopping = false;
  std::thread thread;

  bool idle() const { return waiting.empty() && !running; }
  bool here() const { return thread.get_id() == std::this_thread::get_id(); }
  void work();
};

Courier::Courier() : state_(std::make_shared<State>()) {}

Courier::~Courier() {
  std::unique_lock lock(state_->mutex);
  if (!state_->thread.joinable()) return;
  state_->stopping = true;
  state_->changed.notify_all();
  if (state_->here()) {
    state_->thread.detach();
    return;
  }
  lock.unlock();
  state_->thread.join();
}

void Courier::post(std::function<void()> callback) {
  std::lock_guard lock(state_->mutex);
  if (!state_->thread.joinable()) {
    os::SignalsBlocked blocked;  // and so they are in the new thread
    state_->thread = std::thread([state = state_] { state->work(); });
  }
  state_->waiting.push_back(std::move(callback));
  state_->changed.notify_all();
}

void Courier::drain() {
  std::unique_lock lock(state_->mutex);
  if (state_->here()) return;
  state_->changed.wait(lock, [&] { return state_->idle(); });
}

void Courier::State::work() {
  std::unique_lock lock(mutex);
  for (;;) {
    changed.wait(lock, [&] { return stopping || !waiting.empty(); });
    if (waiting.empty()) return;
    auto callback = std::move(waiting.front());
    waiting.pop_front();
    running = true;
    lock.unlock();
    callback();
    callback = nullptr;  // what it holds is given back before anybody is told
    lock.lock();
    running = false;
    changed.notify_all();
  }
}

}  // namespace cohort::schedule
