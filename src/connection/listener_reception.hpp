// Where the clients of a listener come in, and stay until they have proved that they have the key.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <list>
#include <mutex>
#include <optional>
#include <utility>

#include "os/epoll.hpp"
#include "os/event.hpp"
#include "os/net.hpp"
#include "wire/handshake_io.hpp"

namespace cohort::connection {

struct HouseRules {
  std::optional<wire::Credentials> credentials;  // none: everybody may come in
  std::chrono::nanoseconds handshake_timeout;
};

// One per process that accepts: what a fork copied of another one's is not used.
class Reception {
 public:
  Reception(int listening, const HouseRules& rules);
  bool made_here() const noexcept;
  // Polls readable when next() has something to do.
  int fd() const noexcept { return epoll_->get(); }

  // The next client that may come in; none once the deadline has passed. AuthenticationError for
  // each that may not; std::system_error (EBADF) after close().
  std::optional<os::Accepted> next(os::Deadline deadline);
  // Turns everybody away and ends next() in all threads: from then on none of them uses the
  // listening socket. Once.
  void close() noexcept;

 private:
  struct Guest {
    std::uint64_t key;
    os::Accepted client;
    wire::HandshakeIo handshake;
    os::Deadline deadline;
  };
  using Guests = std::list<Guest>;  // the oldest first
  class Visit;

  std::optional<os::Accepted> attend(std::uint64_t key);
  std::optional<os::Accepted> admit();
  std::optional<os::Accepted> advance(Guests::iterator guest);
  os::Accepted take_out(Guests::iterator guest) noexcept;
  void turn_away(Guests::iterator guest) noexcept;
  void turn_away_the_late();
  os::Deadline next_deadline(os::Deadline limit) const;

  const int listening_;
  const HouseRules rules_;
  const pid_t process_;
  std::optional<os::Epoll> epoll_{std::in_place};  // until it is closed
  std::optional<os::Event> wake_{std::in_place};
  std::atomic<bool> closed_{false};
  // One thread at a time is in next(), or closes: the mutex is of `taken_` alone.
  std::mutex mutex_;
  std::condition_variable given_back_;
  bool taken_ = false;
  Guests guests_;
  std::uint64_t next_key_;
  os::Clock::time_point left_;  // when next() was last left
};

}  // namespace cohort::connection
