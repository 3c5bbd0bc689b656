#include "sync/waiter.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <new>
#include <utility>
#include <vector>

namespace cohort::sync {
namespace {

// This thread's record; in a forked child the copy still names the creator's.
struct Mine {
  std::uint32_t epoch = 0;
  arena::MemberId member;
  arena::Offset place = 0;

  void give_back() noexcept {
    arena::Space* space = arena::Space::current();
    if (place && space && epoch == arena::Space::epoch() && member == space->self())
      space->release(place);
    place = 0;
  }
};

// Told, and not woken yet. A forked child's copy wakes in vain, at most.
struct Later {
  const void* lock;
  Waiter* waiter;
};

// Without destructors: finalizers and static objects may wait and notify after those of this
// thread's objects have run. What they take then goes with the process.
constinit thread_local Mine mine_here;
constinit thread_local std::vector<Later>* later = nullptr;

struct ThreadEnd {
  ~ThreadEnd() {
    mine_here.give_back();
    delete std::exchange(later, nullptr);
  }
};
// Touched where something was taken that it shall give back.
thread_local ThreadEnd thread_end;

}  // namespace

void wake_with(const void* lock, Waiter& waiter) noexcept {
  try {
    if (!later) {
      later = new std::vector<Later>;
      static_cast<void>(&thread_end);
    }
    later->push_back({lock, &waiter});
  } catch (const std::bad_alloc&) {
    waiter.wake();
  }
}

void wake_told(const void* lock) noexcept {
  if (!later) return;
  std::erase_if(*later, [&](const Later& one) {
    if (one.lock != lock) return false;
    one.waiter->wake();
    return true;
  });
}

std::uint32_t number_this_thread() noexcept {
  static std::atomic<std::uint32_t> last{0};
  return this_threads_number = last.fetch_add(1, std::memory_order_relaxed) + 1;
}

Waiter& Waiter::mine(arena::Space& space) {
  Mine& mine = mine_here;
  if (mine.place == 0 || mine.member != space.self() || mine.epoch != arena::Space::epoch()) {
    arena::Offset place =
        space.heap().allocate(sizeof(Waiter), space.self(), arena::Purpose::waiter);
    // Others may look at it already, and at what it was before.
    Waiter& fresh = space.cell<Waiter>(place);
    fresh.member.store(0, std::memory_order_relaxed);
    fresh.forget();
    for (auto* field : {&fresh.subject, &fresh.ticket, &fresh.wants})
      field->store(0, std::memory_order_relaxed);
    fresh.thread.store(this_thread(), std::memory_order_relaxed);
    fresh.tid.store(static_cast<std::uint32_t>(::syscall(SYS_gettid)), std::memory_order_relaxed);
    // Last: a record is nobody's until it is whole.
    fresh.member.store(space.self().raw, std::memory_order_release);
    mine.epoch = arena::Space::epoch();
    mine.member = space.self();
    mine.place = place;
    static_cast<void>(&thread_end);
  }
  return space.cell<Waiter>(mine.place);
}

void for_each_waiter(arena::Space& space, const std::function<void(Waiter&)>& visit) {
  space.heap().for_each_block(arena::Purpose::waiter, [&](arena::Offset place, arena::Owner owner) {
    Waiter& waiter = space.cell<Waiter>(place);
    // A record that is being made, or was another's before, does not name its block's owner.
    if (owner.is(arena::Hold::owned) && owner.id().raw == waiter.member.load() &&
        !space.members().is_dead(owner.id()))
      visit(waiter);
  });
}

}  // namespace cohort::sync
