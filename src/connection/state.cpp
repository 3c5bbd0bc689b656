#include "connection/state.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "launch/descriptor_bank.hpp"
#include "os/call.hpp"

namespace cohort::connection {
namespace {

constexpr std::chrono::milliseconds kLongestWait{100};

[[noreturn]] void refuse(const char* call, const char* why) { os::fail(call, EBADF, why); }

}  // namespace

using State = Connection::State;

State::State(os::Fd descriptor, bool receives, bool sends, detail::BlockRef shared,
             detail::BlockRef waiting)
    : fd(std::move(descriptor)),
      stream(fd.get()),
      readable(receives),
      writable(sends),
      hub(std::move(shared)),
      ticket_(std::move(waiting)) {}

State::~State() {
  Locks* one = locks_.load();
  while (one) delete std::exchange(one, one->inherited);
}

Connection State::connect(os::Fd descriptor, bool receives, bool sends, detail::BlockRef shared,
                          detail::BlockRef waiting) {
  return Connection(std::make_shared<State>(std::move(descriptor), receives, sends,
                                            std::move(shared), std::move(waiting)));
}

State& State::of(const Connection& connection, const char* call) {
  State* state = connection.state().get();
  if (!state || state->closed()) refuse(call, "the connection is closed");
  return *state;
}

State::Locks& State::locks() {
  const pid_t self = ::getpid();
  Locks* seen = locks_.load(std::memory_order_acquire);
  while (!seen || seen->owner != self) {
    auto fresh = std::make_unique<Locks>();
    fresh->owner = self;
    fresh->inherited = seen;
    if (locks_.compare_exchange_strong(seen, fresh.get())) return *fresh.release();
  }
  return *seen;
}

detail::BlockRef State::unfetched() {
  const std::lock_guard guard(locks().mutex);
  return ticket_;
}

int State::number() {
  const std::lock_guard guard(locks().mutex);
  return fd.get();
}

// Under the mutex.
void State::fetch() {
  if (!ticket_) return;
  fd = launch::withdraw(ticket_);
  stream = os::Stream(fd.get());
  ticket_ = {};
}

void State::close() noexcept {
  Locks& ours = locks();
  os::Fd last;
  detail::BlockRef unused;
  const std::lock_guard guard(ours.mutex);
  is_closed.store(true, std::memory_order_release);
  unused = std::move(ticket_);
  if (ours.users == 0) last = std::move(fd);
}

void State::let_go(Locks& ours) noexcept {
  os::Fd last;
  const std::lock_guard guard(ours.mutex);
  if (--ours.users == 0 && closed()) last = std::move(fd);
}

void State::stop_receiving() noexcept {
  readable.store(false);
  if (!writable.load()) close();
}

State::Use::Use(State& state, const char* call)
    : state_(state), locks_(state.locks()), call_(call) {
  const std::lock_guard guard(locks_.mutex);
  if (state_.closed()) refuse(call_, "the connection is closed");
  state_.fetch();
  ++locks_.users;
}

void State::Use::check(Direction direction) const {
  if (state_.closed()) refuse(call_, "the connection is closed");
  if (direction == Direction::receive && !state_.readable.load())
    refuse(call_, "this end does not receive");
  if (direction == Direction::send && !state_.writable.load())
    refuse(call_, "this end does not send");
}

State::Turn::Turn(State& state, Direction direction, const char* call) : Use(state, call) {
  check(direction);
  turn_ = std::unique_lock(direction == Direction::receive ? locks_.receiving : locks_.sending);
  check(direction);  // whoever had the turn may have found the stream out of step
}

void State::Turn::send(std::span<const std::byte> message) {
  try {
    wire::write_frame(stream(), message, *this);
  } catch (const std::system_error& error) {
    // A peer that left something unread when it went resets the connection.
    if (error.code() == std::errc::connection_reset) os::fail(call_, EPIPE);
    throw;
  }
}

void State::Turn::until_readable(const os::Stream& from) {
  while (!from.wait_readable(next_look(std::nullopt))) check(Direction::receive);
  check(Direction::receive);
}

void State::Turn::until_writable(const os::Stream& to) {
  while (!to.wait_writable(next_look(std::nullopt))) check(Direction::send);
  check(Direction::send);
}

os::Deadline next_look(os::Deadline deadline) {
  const auto bound = os::Clock::now() + kLongestWait;
  return deadline ? std::min(*deadline, bound) : bound;
}

}  // namespace cohort::connection
