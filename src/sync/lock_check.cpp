#include "sync/lock_check.hpp"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "cohort/error.hpp"
#include "sync/lock.hpp"
#include "sync/waiter.hpp"

namespace cohort::sync {

using arena::MemberId;

// Not a static of the function: a fork during its initialization would leave it locked in the
// child.
bool LockCheck::enabled() noexcept {
  enum : int { kUnknown, kOff, kOn };
  constinit static std::atomic<int> known{kUnknown};
  if (known.load(std::memory_order_relaxed) == kUnknown) {
    const char* value = std::getenv("COHORT_LOCK_CHECK");
    known.store(value && *value && std::strcmp(value, "0") != 0 ? kOn : kOff,
                std::memory_order_relaxed);
  }
  return known.load(std::memory_order_relaxed) == kOn;
}

LockCheck::LockCheck(arena::Space& space, const LockCell& lock) : space_(space) {
  if (!enabled()) [[likely]]
    return;
  mine_ = &Waiter::mine(space);
  mine_->turn.fetch_add(1);
  // Published before anybody's locks are looked at: of several that close a circle together, the
  // last to say so sees it whole.
  mine_->wants.store(space.offset_of(&lock), std::memory_order_seq_cst);
}

LockCheck::~LockCheck() {
  if (!mine_) return;
  mine_->wants.store(0, std::memory_order_seq_cst);
  mine_->turn.fetch_add(1);
}

void LockCheck::look_around() const {
  const Circle circle = find_circle();
  // Who is in the same wait at both looks waited all the time between them, and let nothing go: so
  // the circle was there as a whole.
  if (!circle.empty() && find_circle() == circle) throw DeadlockError(describe(circle));
}

LockCheck::Wait LockCheck::own_wait() const {
  return {space_.self(), this_thread(), mine_->tid.load(), mine_->turn.load(), mine_->wants.load()};
}

std::optional<LockCheck::Wait> LockCheck::wait_of(MemberId member, std::uint32_t thread) const {
  std::optional<Wait> found;
  for_each_waiter(space_, [&](Waiter& waiter) {
    const auto turn = waiter.turn.load();
    const auto wants = waiter.wants.load();
    if (wants != 0 && waiter.member.load() == member.raw && waiter.thread.load() == thread)
      found = Wait{member, thread, waiter.tid.load(), turn, wants};
  });
  return found;
}

LockCheck::Circle LockCheck::find_circle() const {
  Circle circle{own_wait()};
  const Wait self = circle.front();
  for (;;) {
    const auto& lock = space_.cell<LockCell>(circle.back().lock);
    const MemberId owner = LockCell::owner_in(lock.word.load());
    const auto thread = owner ? lock.thread_of(owner) : 0;
    if (!owner || thread == 0 || space_.members().is_dead(owner)) return {};
    if (owner == self.member && thread == self.thread) return circle;
    const bool seen = std::any_of(circle.begin(), circle.end(), [&](const Wait& wait) {
      return wait.member == owner && wait.thread == thread;
    });
    if (seen) return {};  // a circle of others, whose own matter it is
    const auto next = wait_of(owner, thread);
    if (!next) return {};
    circle.push_back(*next);
  }
}

std::string LockCheck::describe(const Circle& circle) const {
  std::string text = "deadlock: " + std::to_string(circle.size()) + " wait for each other";
  for (std::size_t i = 0; i < circle.size(); ++i) {
    const Wait& wait = circle[i];
    // What it holds is what the one before it waits for.
    const Wait& before = circle[(i + circle.size() - 1) % circle.size()];
    const auto& member = space_.members().slot(wait.member);
    text += std::string("\n  process ") + member.name + " (pid " +
            std::to_string(member.pid.load()) + ", thread " + std::to_string(wait.tid) +
            ") holds the " + space_.cell<LockCell>(before.lock).label(space_) +
            " and waits for the " + space_.cell<LockCell>(wait.lock).label(space_);
  }
  return text;
}

}  // namespace cohort::sync
