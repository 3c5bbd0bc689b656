// The deadlock report: with COHORT_LOCK_CHECK=1 in the environment a wait for a lock looks whether
// it closes a circle of holders and waiters, in whatever processes they are. Off, it costs waits
// one branch, and locking without a wait nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "arena/space.hpp"

namespace cohort::sync {

struct LockCell;
struct Waiter;

// One wait of this thread for a lock, told to the others while it lasts.
struct LockCheck {
  // Nothing where the check is off.
  LockCheck(arena::Space& space, const LockCell& lock);
  ~LockCheck();
  LockCheck(const LockCheck&) = delete;
  LockCheck& operator=(const LockCheck&) = delete;

  // Throws DeadlockError when a circle of waits for locks leads back to this thread.
  void look() const {
    if (mine_) [[unlikely]]
      look_around();
  }

  static bool enabled() noexcept;

 private:
  // A thread that waits for a lock.
  struct Wait {
    arena::MemberId member;
    std::uint32_t thread;
    std::uint32_t tid;
    std::uint32_t turn;  // of its waiter record: the same turn is the same wait
    arena::Offset lock;  // the cell that it waits for
    friend bool operator==(const Wait&, const Wait&) = default;
  };
  using Circle = std::vector<Wait>;

  void look_around() const;
  Circle find_circle() const;
  std::optional<Wait> wait_of(arena::MemberId member, std::uint32_t thread) const;
  Wait own_wait() const;
  std::string describe(const Circle& circle) const;

  arena::Space& space_;
  Waiter* mine_ = nullptr;  // null: the check is off
};

}  // namespace cohort::sync
