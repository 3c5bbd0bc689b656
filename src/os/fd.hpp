// Owning file descriptors.
#pragma once

#include <chrono>
#include <optional>
#include <utility>

namespace cohort::os {

// Owns one descriptor; -1 is empty. Everything that makes one sets O_CLOEXEC.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int raw) noexcept : raw_(raw) {}
  // For what the system has just made: given another number when it has that of a closed standard
  // stream, since a program writes to these whether they are open or not.
  static Fd clear_of_stdio(int raw) noexcept;
  Fd(Fd&& other) noexcept : raw_(std::exchange(other.raw_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.raw_, -1));
    return *this;
  }
  ~Fd() { reset(); }

  int get() const noexcept { return raw_; }
  explicit operator bool() const noexcept { return raw_ >= 0; }
  int release() noexcept { return std::exchange(raw_, -1); }
  void reset(int raw = -1) noexcept;
  Fd duplicate() const;

 private:
  int raw_ = -1;
};

using Clock = std::chrono::steady_clock;
using Deadline = std::optional<Clock::time_point>;  // none: wait for ever

// Answers whether `fd` became readable (or hung up) before the deadline; a past deadline polls.
bool wait_readable(int fd, Deadline deadline);

// Milliseconds for poll(2) until the deadline, rounded up; -1 for none, 0 when it has passed.
int poll_timeout(Deadline deadline);

void set_close_on_exec(int fd, bool on);

}  // namespace cohort::os
