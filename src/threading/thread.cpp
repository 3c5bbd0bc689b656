#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <exception>
#include <list>
#include <mutex>
#include <thread>

#include "cohort/error.hpp"
#include "cohort/threading.hpp"
#include "launch/exception_parcel.hpp"
#include "launch/finish.hpp"
#include "launch/throw_trace.hpp"

namespace cohort::threading {

struct Thread::State {
  std::string name;
  bool daemon = false;
  Body body;

  std::mutex mutex;
  std::condition_variable changed;
  bool started = false;
  bool ended = false;
  pid_t native_id = 0;
  std::thread::id id;
};

namespace {

thread_local bool this_is_daemon = false;

// Never destroyed: daemon threads may outlive main.
struct Registry {
  std::mutex mutex;
  std::list<std::shared_ptr<void>> waited_for;
  int next_name = 1;
};

Registry*& the_registry() {
  static Registry* registry = new Registry;
  return registry;
}
Registry& registry() { return *the_registry(); }

void join_all() noexcept;
void forget_all() noexcept { the_registry() = new Registry; }

const bool hooked = (launch::add_process_hooks({join_all, forget_all}), true);

}  // namespace

Thread::Thread(ThreadOptions options, Body body) : state_(std::make_shared<State>()) {
  (void)hooked;
  std::lock_guard guard(registry().mutex);
  state_->name = options.name.empty() ? "Thread-" + std::to_string(registry().next_name++)
                                      : std::move(options.name);
  state_->daemon = options.daemon.value_or(this_is_daemon);
  state_->body = std::move(body);
}

void Thread::start() {
  std::unique_lock guard(state_->mutex);
  if (state_->started) throw InvalidStateError("thread " + state_->name + " was started already");
  auto run = [state = state_] {
    this_is_daemon = state->daemon;
    {
      std::lock_guard inside(state->mutex);
      state->native_id = get_native_id();
      state->id = std::this_thread::get_id();
    }
    state->changed.notify_all();
    try {
      detail::with_trace([&] { state->body(); });
    } catch (...) {
      launch::report_uncaught("Thread", state->name.c_str());
    }
    state->body = nullptr;
    {
      // Taken out first: whoever joined may end the process.
      std::lock_guard inside(registry().mutex);
      registry().waited_for.remove(state);
    }
    std::lock_guard inside(state->mutex);
    state->ended = true;
    state->changed.notify_all();
  };
  launch::finish_at_exit();
  if (!state_->daemon) {
    std::lock_guard inside(registry().mutex);
    registry().waited_for.push_back(state_);
  }
  try {
    std::thread(run).detach();
  } catch (...) {
    std::lock_guard inside(registry().mutex);
    registry().waited_for.remove(state_);
    throw;
  }
  state_->started = true;
  state_->changed.wait(guard, [&] { return state_->native_id != 0; });
}

void Thread::join() { join_until(std::chrono::steady_clock::time_point::max()); }

bool Thread::join_until(std::chrono::steady_clock::time_point deadline) {
  std::unique_lock guard(state_->mutex);
  if (!state_->started) throw InvalidStateError("thread " + state_->name + " was not started");
  if (state_->id == std::this_thread::get_id())
    throw InvalidStateError("thread " + state_->name + " cannot join itself");
  auto ended = [&] { return state_->ended; };
  if (deadline == std::chrono::steady_clock::time_point::max()) {
    state_->changed.wait(guard, ended);
    return true;
  }
  return state_->changed.wait_until(guard, deadline, ended);
}

bool Thread::is_alive() const {
  std::lock_guard guard(state_->mutex);
  return state_->started && !state_->ended;
}

const std::string& Thread::name() const noexcept { return state_->name; }
bool Thread::daemon() const noexcept { return state_->daemon; }

pid_t Thread::native_id() const {
  std::lock_guard guard(state_->mutex);
  return state_->native_id;
}

pid_t get_native_id() noexcept { return ::gettid(); }

struct Threads {
  static void join_all() noexcept {
    for (;;) {
      std::shared_ptr<Thread::State> next;
      {
        std::lock_guard guard(registry().mutex);
        for (const auto& one : registry().waited_for) {
          auto state = std::static_pointer_cast<Thread::State>(one);
          if (state->id == std::this_thread::get_id()) continue;  // exit() called in a thread
          next = std::move(state);
          break;
        }
      }
      if (!next) return;
      std::unique_lock guard(next->mutex);
      next->changed.wait(guard, [&] { return next->ended; });
    }
  }
};

namespace {
void join_all() noexcept { Threads::join_all(); }
}  // namespace

}  // namespace cohort::threading
