#include "cohort/detail/remote_call.hpp"

#include <signal.h>

#include <atomic>
#include <condition_variable>
#include <mutex>

#include "arena/space.hpp"
#include "cohort/detail/remote_exception.hpp"
#include "cohort/error.hpp"
#include "cohort/process.hpp"
#include "launch/child.hpp"
#include "launch/handle_io.hpp"
#include "launch/throw_trace.hpp"
#include "ring/ring.hpp"

namespace cohort::detail {
namespace {

enum class Sent : std::uint8_t { result, exception };

constexpr std::size_t kPortBytes = 4096;  // larger results travel as blocks of their own

ring::Ring ring_of(const BlockRef& block) { return ring::Ring(block); }

}  // namespace

ResultPort ResultPort::make() {
  ResultPort port;
  port.block_ = ring::Ring(kPortBytes).block();
  return port;
}

void ResultPort::run(Body& call) const {
  ring::Ring ring = ring_of(block_);
  launch::HandleWriter message;
  auto begin = [&](Sent kind) {
    message.restart();
    message.write(&kind, sizeof kind);
  };
  try {
    begin(Sent::result);
    with_trace([&] { call(message); });
  } catch (...) {
    begin(Sent::exception);
    encode_exception(message, std::current_exception(), throw_trace());
  }
  ring.put(message.bytes(), std::nullopt, message.blocks);
}

struct RemoteCall::State {
  ring::Ring ring;
  std::shared_ptr<launch::Child> child;
  std::string task;
  // One thread at a time takes the message. (No timed_mutex: its waits by the steady clock are
  // unknown to ThreadSanitizer.)
  std::mutex mutex;
  std::condition_variable changed;
  bool collecting = false;
  std::mutex reading;
  std::atomic<bool> ended{false};
  std::atomic<bool> cancelled{false};
  std::optional<ring::Message> result;
  std::exception_ptr error;

  bool begin_collecting(os::Deadline deadline);
  void end_collecting();
  void settle(ring::Message message);
  void settle_death(int exitcode);
};

RemoteCall::RemoteCall(std::unique_ptr<State> state) : state_(std::move(state)) {}
RemoteCall::~RemoteCall() = default;

std::shared_ptr<RemoteCall> RemoteCall::start(ResultPort port, std::unique_ptr<Target> target,
                                              std::string task) {
  auto state = std::make_unique<State>();
  state->ring = ring_of(port.block_);
  state->task = std::move(task);
  StartMethod method = get_start_method();
  state->child = launch::Child::start({.name = "async " + state->task,
                                       .daemon = current_process().daemon(),
                                       .method = method,
                                       .target = target.get()});
  return std::shared_ptr<RemoteCall>(new RemoteCall(std::move(state)));
}

void RemoteCall::State::settle(ring::Message message) {
  launch::HandleReader reader(message.bytes());
  Sent kind{};
  reader.read(&kind, sizeof kind);
  if (kind == Sent::exception) {
    error = decode_exception(reader);
  } else {
    result = std::move(message);
  }
  ended.store(true, std::memory_order_release);
}

void RemoteCall::State::settle_death(int exitcode) {
  WorkerDeath death;
  death.pid = child->pid();
  death.exitcode = exitcode;
  death.task = task;
  error = std::make_exception_ptr(WorkerDied(std::move(death)));
  ended.store(true, std::memory_order_release);
}

// Answers false when the deadline passed while another thread was at it.
bool RemoteCall::State::begin_collecting(os::Deadline deadline) {
  std::unique_lock guard(mutex);
  auto free = [&] { return !collecting; };
  if (!deadline) {
    changed.wait(guard, free);
  } else if (!changed.wait_until(guard, *deadline, free)) {
    return false;
  }
  collecting = true;
  return true;
}

void RemoteCall::State::end_collecting() {
  std::lock_guard guard(mutex);
  collecting = false;
  changed.notify_one();
}

bool RemoteCall::wait_until(std::optional<std::chrono::steady_clock::time_point> deadline) {
  State& state = *state_;
  if (state.ended.load(std::memory_order_acquire)) return true;
  if (!state.begin_collecting(deadline)) return false;
  struct Collecting {
    State& state;
    ~Collecting() { state.end_collecting(); }
  } guard{state};
  if (state.ended.load(std::memory_order_acquire)) return true;
  // A burial wakes this wait, so a death is seen at once.
  arena::Space& space = arena::Space::here();
  auto dead = [&] { return space.members().is_dead(state.child->member()); };
  auto message = state.ring.take_unless(dead, deadline);
  if (!message && (dead() || state.child->exit_code()))
    message = state.ring.take(os::Clock::time_point{});
  if (message) {
    state.settle(std::move(*message));
    return true;
  }
  if (!dead() && !state.child->exit_code()) return false;
  state.settle_death(state.child->wait(std::nullopt).value_or(-SIGKILL));
  return true;
}

bool RemoteCall::cancel() {
  State& state = *state_;
  if (wait_until(os::Clock::time_point{})) return state.cancelled.load();
  state.cancelled.store(true);
  state.child->send(SIGKILL);
  wait_until(std::nullopt);
  return true;
}

bool RemoteCall::cancelled() const { return state_->cancelled.load(); }

std::exception_ptr RemoteCall::error() {
  wait_until(std::nullopt);
  return state_->error;
}

std::unique_lock<std::mutex> RemoteCall::lock() { return std::unique_lock(state_->reading); }

void RemoteCall::read_result(ReadBody& read) {
  if (!state_->result) throw InvalidStateError("the call has no result");
  launch::HandleReader reader(state_->result->bytes());
  std::uint8_t kind = 0;
  reader.read(&kind, sizeof kind);
  read(reader);
  state_->result.reset();
}

}  // namespace cohort::detail
