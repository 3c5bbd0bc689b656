// What the copies of a connection in one process share: its descriptor, and who is using it.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <mutex>

#include "cohort/connection.hpp"
#include "cohort/detail/block_ref.hpp"
#include "os/fd.hpp"
#include "os/stream.hpp"
#include "wire/frame.hpp"

namespace cohort::connection {

enum class Direction { receive, send };

struct Connection::State {
  // `hub`: see hub.hpp; empty for a connection to another program. `ticket`: for a descriptor that
  // could not be had yet, and is in the bank of descriptors.
  State(os::Fd descriptor, bool receives, bool sends, detail::BlockRef shared,
        detail::BlockRef waiting);
  ~State();
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  static Connection connect(os::Fd descriptor, bool receives, bool sends, detail::BlockRef shared,
                            detail::BlockRef waiting = {});
  // Throws std::system_error (EBADF) for a closed one.
  static State& of(const Connection& connection, const char* call);

  void close() noexcept;
  bool closed() const noexcept { return is_closed.load(std::memory_order_acquire); }
  // After the stream is out of step.
  void stop_receiving() noexcept;

  class Use;
  class Turn;

  // This process's own. A child that was forked while threads here were using the connection makes
  // itself new ones: those would stay locked in it.
  struct Locks {
    pid_t owner = 0;
    std::mutex mutex;  // of `users`, and of closing
    int users = 0;
    std::mutex receiving;
    std::mutex sending;
    Locks* inherited = nullptr;
  };
  Locks& locks();

  // The ticket of a descriptor that was not fetched yet; empty: it was.
  detail::BlockRef unfetched();
  // The descriptor's number; -1 while it was not fetched.
  int number();

  os::Fd fd;
  os::Stream stream;
  std::atomic<bool> readable;
  std::atomic<bool> writable;
  std::atomic<bool> is_closed{false};
  const detail::BlockRef hub;

 private:
  void let_go(Locks& ours) noexcept;
  void fetch();

  detail::BlockRef ticket_;
  std::atomic<Locks*> locks_{nullptr};
};

// While one exists the descriptor stays open, so that its number is nobody else's: close() only
// says that it shall go. Throws std::system_error: EBADF when it is closed, EMFILE when there is no
// number for a descriptor that was not fetched yet; then the next use may have one.
class Connection::State::Use {
 public:
  Use(State& state, const char* call);
  ~Use() { state_.let_go(locks_); }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;

  // Throws EBADF when this end is closed, or has not this direction.
  void check(Direction direction) const;
  const os::Stream& stream() const noexcept { return state_.stream; }

 protected:
  State& state_;
  Locks& locks_;
  const char* call_;
};

// The only use in one direction, as messages must not mix. Its waits end when the connection is
// closed, with EBADF: soon, but not at once.
class Connection::State::Turn : public Use, public wire::Patience {
 public:
  Turn(State& state, Direction direction, const char* call);

  // One message. std::system_error, with EPIPE when the other end is gone.
  void send(std::span<const std::byte> message);

  void until_readable(const os::Stream& stream) override;
  void until_writable(const os::Stream& stream) override;

 private:
  std::unique_lock<std::mutex> turn_;
};

// How long a wait may go on before it looks whether the connection was closed.
os::Deadline next_look(os::Deadline deadline);

}  // namespace cohort::connection
