#include "sync/semaphore.hpp"

#include <ostream>
#include <stdexcept>
#include <string>

#include "arena/block_refs.hpp"
#include "cohort/semaphore.hpp"

namespace cohort {

namespace sync {

bool SemaphoreCell::take(bool slept) noexcept {
  std::uint64_t seen = word.load(std::memory_order_acquire);
  while (value_of(seen) != 0) {
    std::uint64_t taken = (seen - 1) | (slept ? kSleepers : 0);
    if (!word.compare_exchange_weak(seen, taken, std::memory_order_acquire)) continue;
    os::step("semaphore.taken");
    pass_on(seen, slept);
    return true;
  }
  return false;
}

bool SemaphoreCell::give(std::uint32_t count) noexcept {
  std::uint64_t seen = word.load(std::memory_order_relaxed);
  do {
    if (count > most - value_of(seen)) return false;
  } while (!word.compare_exchange_weak(seen, seen + count, std::memory_order_release));
  wake(seen + count, count);
  return true;
}

bool SemaphoreCell::take_with(arena::Space& space, arena::Offset permit, bool slept) {
  if (value() == 0) return false;
  std::uint64_t seen = 0;
  {
    Locked guard(lock, space);
    if (guard.owner_died()) mend(space);
    begin(permit, true);
    seen = word.load(std::memory_order_acquire);
    for (;;) {
      if (value_of(seen) == 0) {
        record.store(0, std::memory_order_release);
        return false;
      }
      std::uint64_t taken = (std::uint64_t{counted.load()} << kCountShift) | (low(seen) - 1) |
                            (slept ? kSleepers : 0);
      if (word.compare_exchange_weak(seen, taken, std::memory_order_acq_rel)) break;
    }
    os::step("semaphore.changed");
    finish(space.cell<PermitRecord>(permit));
  }
  pass_on(seen, slept);
  return true;
}

void SemaphoreCell::give_back(arena::Space& space, arena::Offset permit) {
  std::uint64_t given = 0;
  {
    Locked guard(lock, space);
    given = put_back(space, guard, permit);
  }
  wake(given, 1);
}

bool SemaphoreCell::give_back_soon(arena::Space& space, arena::Offset permit) {
  auto taken = lock.lock_soon(space);
  if (!taken) return false;
  std::uint64_t given = 0;
  {
    Locked guard(lock, space, *taken);
    given = put_back(space, guard, permit);
  }
  wake(given, 1);
  return true;
}

// Answers what the word is then; 0 where the record has no permit.
std::uint64_t SemaphoreCell::put_back(arena::Space& space, const Locked& guard,
                                      arena::Offset permit) {
  if (guard.owner_died()) mend(space);
  PermitRecord& mine = space.cell<PermitRecord>(permit);
  if (mine.held.load(std::memory_order_relaxed) == 0) return 0;
  begin(permit, false);
  std::uint64_t seen = word.load(std::memory_order_acquire);
  std::uint64_t given = 0;
  do {
    // Somebody may have released what was never acquired.
    std::uint32_t number = value_of(seen) < most ? low(seen) + 1 : low(seen);
    given = (std::uint64_t{counted.load()} << kCountShift) | number;
  } while (!word.compare_exchange_weak(seen, given, std::memory_order_acq_rel));
  os::step("semaphore.changed");
  finish(mine);
  return given;
}

void SemaphoreCell::begin(arena::Offset permit, bool take_one) noexcept {
  counted.store(count_of(word.load(std::memory_order_relaxed)) + 1, std::memory_order_relaxed);
  taking.store(take_one ? 1 : 0, std::memory_order_relaxed);
  record.store(permit, std::memory_order_release);
  os::step("semaphore.noted");
}

void SemaphoreCell::finish(PermitRecord& permit) noexcept {
  permit.held.store(taking.load(std::memory_order_relaxed), std::memory_order_release);
  os::step("semaphore.recorded");
  record.store(0, std::memory_order_release);
}

void SemaphoreCell::mend(arena::Space& space) noexcept {
  arena::Offset permit = record.load(std::memory_order_acquire);
  if (permit == 0) return;
  os::step("semaphore.mending");
  if (count_of(word.load(std::memory_order_acquire)) == counted.load(std::memory_order_relaxed))
    finish(space.cell<PermitRecord>(permit));
  record.store(0, std::memory_order_release);
}

void SemaphoreCell::wake(std::uint64_t now, std::uint32_t count) noexcept {
  if ((low(now) & kSleepers) == 0) return;
  os::step("semaphore.waking");
  int woken = os::futex_wake(number(), static_cast<int>(count));
  if (woken < static_cast<int>(count))
    word.compare_exchange_strong(now, now & ~std::uint64_t{kSleepers}, std::memory_order_relaxed);
}

// Nobody was woken for permits that were given while the mark was missing: another release may have
// taken it away, finding nobody asleep just before somebody was.
void SemaphoreCell::pass_on(std::uint64_t before, bool slept) noexcept {
  if (slept && (low(before) & kSleepers) == 0 && value_of(before) > 1)
    os::futex_wake(number(), static_cast<int>(value_of(before) - 1));
}

bool SemaphoreCell::mark_sleepers() noexcept {
  std::uint64_t seen = word.load(std::memory_order_acquire);
  while (value_of(seen) == 0) {
    if ((low(seen) & kSleepers) != 0) return true;
    if (word.compare_exchange_weak(seen, seen | kSleepers, std::memory_order_acq_rel)) return true;
  }
  return false;
}

}  // namespace sync

using sync::SemaphoreCell;

namespace {

detail::BlockRef block_for(std::int64_t value) {
  if (value < 0 || value > SemaphoreCell::kMostPermits)
    throw std::invalid_argument("a semaphore has 0 to 2147483646 permits, not " +
                                std::to_string(value));
  return detail::BlockRefs::create(sizeof(SemaphoreCell), arena::BlockKind::plain);
}

}  // namespace

Semaphore::Semaphore(std::int64_t value, bool bounded) : Handle(block_for(value)) {
  SemaphoreCell& fresh = cell();
  fresh.word.store(static_cast<std::uint64_t>(value), std::memory_order_relaxed);
  fresh.most = bounded ? static_cast<std::uint32_t>(value) : SemaphoreCell::kMostPermits;
  fresh.bounded = bounded ? 1 : 0;
}

SemaphoreCell& Semaphore::cell() const { return *reinterpret_cast<SemaphoreCell*>(block().data()); }

bool Semaphore::try_acquire() const { return cell().take(false); }

bool Semaphore::acquire_until(detail::Deadline deadline) const {
  SemaphoreCell& semaphore = cell();
  return semaphore.wait(arena::Space::here(), deadline,
                        [&](bool slept) { return semaphore.take(slept); });
}

void Semaphore::release(std::int64_t count) const {
  if (count < 1)
    throw std::invalid_argument("a semaphore is given 1 permit or more, not " +
                                std::to_string(count));
  SemaphoreCell& semaphore = cell();
  if (count <= semaphore.most && semaphore.give(static_cast<std::uint32_t>(count))) return;
  throw std::overflow_error("the semaphore has " + std::to_string(semaphore.value()) +
                            " permits: " + std::to_string(count) + " more would exceed " +
                            (semaphore.bounded ? "its bound of " : "the most that it can have, ") +
                            std::to_string(semaphore.most));
}

Semaphore::Permit Semaphore::hold() const { return *hold_until(std::nullopt); }

std::optional<Semaphore::Permit> Semaphore::try_hold() const {
  return hold_until(os::Clock::time_point{});
}

std::optional<Semaphore::Permit> Semaphore::hold_until(detail::Deadline deadline) const {
  SemaphoreCell& semaphore = cell();
  arena::Space& space = arena::Space::here();
  sync::FreshRecord record(space, block().offset());
  bool taken = semaphore.wait(space, deadline, [&](bool slept) {
    return semaphore.take_with(space, record.place(), slept);
  });
  if (!taken) return std::nullopt;
  os::step("semaphore.held");
  return Permit(*this, record.keep());
}

std::int64_t Semaphore::value() const { return cell().value(); }

std::ostream& operator<<(std::ostream& out, const Semaphore& semaphore) {
  const SemaphoreCell& shown = semaphore.cell();
  if (shown.bounded)
    return out << "<BoundedSemaphore value=" << shown.value() << " of " << shown.most << '>';
  return out << "<Semaphore value=" << shown.value() << '>';
}

}  // namespace cohort
