#include "sync/permit.hpp"

#include <utility>

#include "arena/shared_block.hpp"
#include "cohort/semaphore.hpp"
#include "os/step.hpp"
#include "sync/semaphore.hpp"

namespace cohort {

namespace sync {
namespace {

// An offset of the arena, which are multiples of 64 below 64 GiB, in 30 bits.
constexpr unsigned kPlaceBits = 30;
constexpr std::uint64_t kPlaceMask = (std::uint64_t{1} << kPlaceBits) - 1;
constexpr std::uint64_t kSerialMask = (std::uint64_t{1} << (64 - kPlaceBits)) - 1;
constexpr std::uint64_t kMark = std::uint64_t{0x2'7065'726d}
                                << kPlaceBits;  // no memory's by chance

constexpr std::uint64_t packed(arena::Offset place) { return place / 64 & kPlaceMask; }
constexpr arena::Offset unpacked(std::uint64_t value) { return (value & kPlaceMask) * 64; }

// Forked children count on from where their parent was, so a copied guard's serial is never met
// again there.
std::uint64_t next_serial() noexcept {
  static std::atomic<std::uint64_t> last{0};
  return (last.fetch_add(1, std::memory_order_relaxed) + 1) & kSerialMask;
}

// Gives back what a dead member held. The same as its own thread would have done, but not waiting
// for anybody who may be stopped.
bool return_permit(arena::Space& space, arena::Offset place, arena::MemberId dead) {
  arena::Offset block = space.cell<PermitRecord>(place).semaphore();
  if (block && !space.cell<SemaphoreCell>(arena::cell_of(block)).give_back_soon(space, place))
    return false;
  os::step("permit.returned");
  release_record(space, place, dead);
  return true;
}

[[maybe_unused]] const bool repair_set =
    (arena::set_repair(arena::Purpose::permit, return_permit), true);

}  // namespace

arena::Offset PermitRecord::semaphore() const noexcept {
  std::uint64_t seen = home.load(std::memory_order_acquire);
  return (seen & ~kPlaceMask) == kMark ? unpacked(seen) : 0;
}

void PermitRecord::assign(arena::Offset semaphore_block, std::uint64_t new_serial) noexcept {
  held.store(0, std::memory_order_relaxed);
  serial.store(new_serial, std::memory_order_relaxed);
  home.store(kMark | packed(semaphore_block), std::memory_order_release);
}

FreshRecord::FreshRecord(arena::Space& space, arena::Offset semaphore_block)
    : space_(space),
      place_(space.heap().allocate(sizeof(PermitRecord), space.self(), arena::Purpose::permit)),
      serial_(next_serial()) {
  os::step("permit.allocated");
  space.cell<PermitRecord>(place_).assign(semaphore_block, serial_);
  os::step("permit.assigned");
}

FreshRecord::~FreshRecord() {
  if (!kept_) release_record(space_, place_, space_.self());
}

std::uint64_t FreshRecord::keep() noexcept {
  kept_ = true;
  return (serial_ << kPlaceBits) | packed(place_);
}

arena::Offset find_record(arena::Space& space, std::uint64_t name) noexcept {
  arena::Offset place = unpacked(name);
  bool ours = space.heap().owner(place) == arena::Owner::member(space.self()) &&
              space.cell<PermitRecord>(place).serial.load() == name >> kPlaceBits;
  return ours ? place : 0;
}

void release_record(arena::Space& space, arena::Offset place, arena::MemberId owner) noexcept {
  space.cell<PermitRecord>(place).erase();
  os::step("permit.erased");
  space.heap().release(place, arena::Owner::member(owner));
}

}  // namespace sync

Semaphore::Permit::Permit(Semaphore semaphore, std::uint64_t record) noexcept
    : semaphore_(std::move(semaphore)), record_(record) {}

Semaphore::Permit::Permit(Permit&& other) noexcept
    : semaphore_(std::move(other.semaphore_)), record_(std::exchange(other.record_, 0)) {}

Semaphore::Permit& Semaphore::Permit::operator=(Permit&& other) noexcept {
  if (this != &other) {
    release();
    semaphore_ = std::move(other.semaphore_);
    record_ = std::exchange(other.record_, 0);
  }
  return *this;
}

std::uint64_t Semaphore::Permit::place() const noexcept {
  if (record_ == 0) return 0;
  try {
    semaphore_.cell();
  } catch (const Error&) {
    return 0;  // in a child that the program forked by itself
  }
  return sync::find_record(arena::Space::here(), record_);
}

Semaphore::Permit::operator bool() const noexcept { return place() != 0; }

void Semaphore::Permit::release() noexcept {
  const arena::Offset held = place();
  record_ = 0;
  if (held == 0) return;
  arena::Space& space = arena::Space::here();
  semaphore_.cell().give_back(space, held);
  os::step("permit.returned");
  sync::release_record(space, held, space.self());
}

}  // namespace cohort
