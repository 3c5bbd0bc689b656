#include "sync/lock.hpp"

#include <ostream>

#include "arena/block_refs.hpp"
#include "os/futex.hpp"
#include "os/step.hpp"
#include "sync/backoff.hpp"
#include "sync/lock_check.hpp"
#include "sync/waiter.hpp"

namespace cohort::sync {

using arena::MemberId;
using arena::Space;

namespace {

std::uint64_t caller(const Space& space) {
  return std::uint64_t{space.self().raw} << 32 | this_thread();
}

}  // namespace

bool LockCell::owned(const Space& space) const {
  // The owner clears it before it lets go: nobody else finds itself here.
  return holder.load(std::memory_order_relaxed) == caller(space) &&
         owner_in(word.load(std::memory_order_relaxed)) == space.self();
}

bool LockCell::left_by_dead(Space& space) const {
  const auto seen = word.load(std::memory_order_acquire);
  const MemberId owner = owner_in(seen);
  return owner ? space.members().is_dead(owner) : (seen & kDoubt) != 0;
}

std::uint32_t LockCell::thread_of(MemberId owner) const {
  const auto seen = holder.load();
  return seen >> 32 == owner.raw ? static_cast<std::uint32_t>(seen) : 0;
}

void LockCell::taken_by(Space& space, std::uint32_t times) {
  os::step("lock.taken");
  holder.store(caller(space), std::memory_order_relaxed);
  depth.store(times, std::memory_order_relaxed);
}

bool LockCell::try_take(Space& space) {
  std::uint32_t nobody = 0;
  return word.load(std::memory_order_relaxed) == 0 &&
         word.compare_exchange_strong(nobody, space.self().raw, std::memory_order_acquire);
}

// Empty: somebody alive has it. Whoever slept takes it with the mark of waiters, since others may
// sleep still.
std::optional<LockCell::Taken> LockCell::try_once(Space& space, OnDoubt on_doubt, bool slept) {
  const std::uint32_t me = space.self().raw | (slept ? kWaiters : 0);
  for (std::uint32_t seen = word.load(std::memory_order_acquire);;) {
    const MemberId owner = owner_in(seen);
    if (seen == 0) {
      if (word.compare_exchange_weak(seen, me, std::memory_order_acquire)) return Taken::clean;
    } else if (!owner) {  // in doubt, and nobody's
      if (on_doubt == OnDoubt::refuse) refuse(space);
      if (word.compare_exchange_weak(seen, me | kDoubt | (seen & kWaiters),
                                     std::memory_order_acquire))
        return Taken::in_doubt;
    } else if (space.members().is_dead(owner)) {
      dead_pid.store(space.members().pid_of_dead(owner), std::memory_order_relaxed);
      if (word.compare_exchange_weak(seen, kDoubt, std::memory_order_acq_rel)) {
        os::step("lock.in_doubt");
        seen = kDoubt;
        os::futex_wake_all(word);  // each of them is told
      }
    } else {
      return std::nullopt;
    }
  }
}

bool LockCell::take_free(Space& space) {
  if (!try_take(space)) return false;
  taken_by(space, 1);
  return true;
}

LockCell::Taken LockCell::acquire(Space& space, os::Deadline deadline, OnDoubt on_doubt) {
  if (take_free(space)) return Taken::clean;
  std::optional<Taken> taken;
  const bool at_once = deadline && os::Clock::now() >= *deadline;
  for (LockBackoff backoff; !(taken = try_once(space, on_doubt, false)) && !at_once;) {
    if (!backoff.step()) break;
  }
  if (!taken && !at_once) {
    std::optional<LockCheck> check;
    if (!deadline) check.emplace(space, *this);  // a wait with a limit ends by itself
    for (bool slept = false; !(taken = try_once(space, on_doubt, slept)); slept = true) {
      std::uint32_t seen = word.load(std::memory_order_relaxed);
      const MemberId owner = owner_in(seen);
      if (!owner || space.members().is_dead(owner)) continue;
      if ((seen & kWaiters) == 0 && !word.compare_exchange_strong(seen, seen | kWaiters)) continue;
      // Marked before it gives up: a wake-up that ended this thread's sleep was for others, too.
      if (deadline && os::Clock::now() >= *deadline) break;
      os::step("lock.waiting");
      if (check && on_doubt != OnDoubt::take_without_fail) check->look();
      // Nobody may have noticed its death: a janitor can be stopped, or not know of it yet.
      if (space.sleep_on(word, seen | kWaiters, deadline) && space.members().process_gone(owner))
        space.bury(owner);
    }
  }
  if (!taken) return Taken::no;
  taken_by(space, 1);
  return *taken;
}

void LockCell::release(Space&) {
  // Only its owner changes the doubt of a lock that is held.
  const std::uint32_t left = word.load(std::memory_order_relaxed) & kDoubt;
  const bool told = told_waiters.load(std::memory_order_relaxed) != 0;
  if (told) told_waiters.store(0, std::memory_order_relaxed);
  depth.store(0, std::memory_order_relaxed);
  holder.store(0, std::memory_order_relaxed);
  os::step("lock.releasing");
  const std::uint32_t before = word.exchange(left, std::memory_order_release);
  os::step("lock.released");
  if ((before & kWaiters) != 0) os::futex_wake(word, left ? 0x7fffffff : 1);
  if (told) wake_told(this);
}

std::string LockCell::label(const Space& space) const {
  std::string kind = recursive ? "RLock" : "Lock";
  if (name[0] != '\0') return kind + " '" + name + "'";
  return kind + " #" + std::to_string(space.offset_of(this) / 64);
}

void LockCell::refuse(const Space& space) const {
  const auto pid = dead_pid.load(std::memory_order_relaxed);
  throw LockOwnerDied((pid ? "process " + std::to_string(pid) : std::string("the process")) +
                      " died while it held the " + label(space) +
                      ": call recover(), then repair the data that it protects");
}

}  // namespace cohort::sync

namespace cohort {

using arena::Space;
using sync::LockCell;

namespace {

detail::BlockRef make_cell(bool recursive, const LockOptions& options) {
  auto block = detail::BlockRefs::create(sizeof(LockCell), arena::BlockKind::plain);
  auto& cell = *reinterpret_cast<LockCell*>(block.data());
  cell.recursive = recursive ? 1 : 0;
  options.name.copy(cell.name, sizeof cell.name - 1);
  return block;
}

}  // namespace

BasicLock::BasicLock(bool recursive, const LockOptions& options)
    : Handle(make_cell(recursive, options)) {}

LockCell& BasicLock::cell() const { return *reinterpret_cast<LockCell*>(block().data()); }

void BasicLock::lock() const {
  // One that is free is not this thread's already.
  if (!cell().take_free(Space::here())) lock_until(std::nullopt);
}

bool BasicLock::try_lock() const {
  return cell().take_free(Space::here()) || lock_until(os::Clock::time_point::min());
}

bool BasicLock::lock_until(detail::Deadline deadline) const {
  LockCell& lock = cell();
  Space& space = Space::here();
  if (lock.owned(space)) {
    if (lock.recursive) {
      lock.depth.store(lock.depth.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
      return true;
    }
    if (!deadline)
      throw DeadlockError("this thread holds the " + lock.label(space) +
                          " already, and would wait for itself: unlock it first, or use an RLock");
  }
  return lock.acquire(space, deadline, LockCell::OnDoubt::refuse) != LockCell::Taken::no;
}

void BasicLock::unlock() const {
  LockCell& lock = cell();
  Space& space = Space::here();
  if (!lock.owned(space))
    throw InvalidStateError("this thread does not hold the " + lock.label(space) +
                            ": a lock is unlocked by the thread that locked it; to let somebody "
                            "else go on, use a Semaphore or an Event");
  const std::uint32_t depth = lock.depth.load(std::memory_order_relaxed);
  if (depth > 1) {
    lock.depth.store(depth - 1, std::memory_order_relaxed);
  } else {
    lock.release(space);
  }
}

bool BasicLock::recover() const {
  LockCell& lock = cell();
  Space& space = Space::here();
  if (!lock.owned(space)) lock.acquire(space, std::nullopt, LockCell::OnDoubt::take);
  return (lock.word.fetch_and(~LockCell::kDoubt, std::memory_order_relaxed) & LockCell::kDoubt) !=
         0;
}

bool BasicLock::locked() const { return cell().word.load(std::memory_order_acquire) != 0; }

bool BasicLock::owned() const { return cell().owned(Space::here()); }

bool BasicLock::recursive() const { return cell().recursive != 0; }

std::size_t BasicLock::depth() const {
  return owned() ? cell().depth.load(std::memory_order_relaxed) : 0;
}

std::string BasicLock::name() const { return cell().name; }

std::ostream& operator<<(std::ostream& out, const BasicLock& lock) {
  const LockCell& cell = lock.cell();
  Space& space = Space::here();
  const auto word = cell.word.load(std::memory_order_acquire);
  out << '<' << (cell.recursive ? "RLock" : "Lock");
  if (cell.name[0] != '\0') out << " name=" << cell.name;
  const auto owner = LockCell::owner_in(word);
  if (word == 0) return out << " unlocked>";
  if (!owner || space.members().is_dead(owner)) return out << " left by a dead process>";
  const auto& member = space.members().slot(owner);
  out << " locked by " << member.name << " pid=" << member.pid.load();
  if (cell.recursive) out << " depth=" << cell.depth.load(std::memory_order_relaxed);
  return out << '>';
}

}  // namespace cohort
