#include "connection/listener_reception.hpp"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "cohort/detail/deadline.hpp"
#include "cohort/error.hpp"
#include "os/call.hpp"

namespace cohort::connection {
namespace {

constexpr std::size_t kMostGuests = 64;

constexpr std::uint64_t kListening = 0;
constexpr std::uint64_t kWake = 1;
constexpr std::uint64_t kFirstGuest = 2;

bool passed(os::Deadline deadline) { return deadline && os::Clock::now() >= *deadline; }

[[noreturn]] void fail_as_closed() { os::fail("accept", EBADF, "the listener is closed"); }

[[noreturn]] void refuse(const char* reason) {
  throw AuthenticationError(std::string("authentication of a client failed: ") + reason);
}

}  // namespace

// A thread's turn to see to the guests; none when the deadline passed first.
class Reception::Visit {
 public:
  Visit(Reception& reception, os::Deadline deadline) : reception_(reception) {
    std::unique_lock guard(reception_.mutex_);
    const auto is_free = [&] { return !reception_.taken_; };
    if (deadline) {
      begun_ = reception_.given_back_.wait_until(guard, *deadline, is_free);
    } else {
      reception_.given_back_.wait(guard, is_free);
      begun_ = true;
    }
    if (begun_) reception_.taken_ = true;
  }
  ~Visit() {
    if (!begun_) return;
    reception_.left_ = os::Clock::now();
    {
      const std::lock_guard guard(reception_.mutex_);
      reception_.taken_ = false;
    }
    reception_.given_back_.notify_one();
  }
  Visit(const Visit&) = delete;
  Visit& operator=(const Visit&) = delete;

  bool begun() const noexcept { return begun_; }
  // While nobody was here, nobody answered the guests: that time is not theirs.
  void forgive_the_pause() noexcept {
    const auto pause = os::Clock::now() - reception_.left_;
    for (Guest& guest : reception_.guests_) {
      if (guest.deadline) *guest.deadline += pause;
    }
  }

 private:
  Reception& reception_;
  bool begun_ = false;
};

Reception::Reception(int listening, const HouseRules& rules)
    : listening_(listening), rules_(rules), process_(::getpid()), next_key_(kFirstGuest) {
  epoll_->watch(listening_, kListening);
  epoll_->watch(wake_->get(), kWake);
}

bool Reception::made_here() const noexcept { return process_ == ::getpid(); }

std::optional<os::Accepted> Reception::next(os::Deadline deadline) {
  Visit visit(*this, deadline);
  if (!visit.begun()) return std::nullopt;
  visit.forgive_the_pause();
  // After the deadline it goes on with what is there; a crowd does not keep it for ever.
  for (std::size_t attended = 0; attended < kMostGuests || !passed(deadline); ++attended) {
    if (closed_.load()) fail_as_closed();
    turn_away_the_late();
    const auto key = epoll_->wait(next_deadline(deadline));
    if (!key && passed(deadline)) return std::nullopt;
    if (!key) continue;
    if (auto client = attend(*key)) return client;
  }
  return std::nullopt;
}

void Reception::close() noexcept {
  closed_.store(true);
  wake_->signal();
  const Visit visit(*this, std::nullopt);
  while (!guests_.empty()) turn_away(guests_.begin());
  epoll_.reset();
  wake_.reset();
}

std::optional<os::Accepted> Reception::attend(std::uint64_t key) {
  if (key == kWake) return std::nullopt;
  if (key == kListening) return admit();
  const auto guest =
      std::find_if(guests_.begin(), guests_.end(), [&](const Guest& g) { return g.key == key; });
  if (guest == guests_.end()) return std::nullopt;
  return advance(guest);
}

std::optional<os::Accepted> Reception::admit() {
  auto client = os::accept_one(listening_);
  if (!client || !rules_.credentials) return client;
  if (guests_.size() == kMostGuests) turn_away(guests_.begin());
  const int socket = client->socket.get();
  guests_.push_back({next_key_, std::move(*client),
                     wire::HandshakeIo(socket, wire::Handshake(wire::Handshake::Role::accepting,
                                                               *rules_.credentials)),
                     detail::deadline_after(rules_.handshake_timeout)});
  epoll_->watch(socket, next_key_++);
  return std::nullopt;
}

std::optional<os::Accepted> Reception::advance(Guests::iterator guest) {
  switch (guest->handshake.advance()) {
    case wire::HandshakeIo::State::going:
      return std::nullopt;
    case wire::HandshakeIo::State::done:
      return take_out(guest);
    case wire::HandshakeIo::State::hung_up:
      turn_away(guest);
      refuse("it hung up");
    case wire::HandshakeIo::State::failed:
      break;
  }
  const char* reason = guest->handshake.reason();
  turn_away(guest);
  refuse(reason);
}

os::Accepted Reception::take_out(Guests::iterator guest) noexcept {
  epoll_->forget(guest->client.socket.get());
  os::Accepted client = std::move(guest->client);
  guests_.erase(guest);
  return client;
}

// A forked child may have a copy of the socket: the client hears of it all the same.
void Reception::turn_away(Guests::iterator guest) noexcept {
  os::hang_up(guest->client.socket.get());
  take_out(guest);
}

void Reception::turn_away_the_late() {
  const auto late = std::find_if(guests_.begin(), guests_.end(),
                                 [](const Guest& guest) { return passed(guest.deadline); });
  if (late == guests_.end()) return;
  turn_away(late);
  refuse("it did not prove in time that it has the key");
}

os::Deadline Reception::next_deadline(os::Deadline limit) const {
  for (const Guest& guest : guests_) {
    if (guest.deadline && (!limit || *guest.deadline < *limit)) limit = guest.deadline;
  }
  return limit;
}

}  // namespace cohort::connection
