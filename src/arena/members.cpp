#include "arena/members.hpp"

#include <algorithm>
#include <cstring>
#include <system_error>

#include "cohort/error.hpp"
#include "os/futex.hpp"
#include "os/pidfd.hpp"
#include "os/step.hpp"

namespace cohort::arena {
namespace {

constexpr std::uint32_t kSeenByParent = 1;
constexpr std::uint32_t kReturned = 2;
// A process's start is known to the tick only.
constexpr std::uint64_t kTickSlack = 20'000'000;

constexpr std::uint64_t state_of(std::uint32_t generation, Phase phase, MemberId starter) {
  return (std::uint64_t{starter.raw} << 28) | (std::uint64_t{generation} << 8) |
         static_cast<std::uint64_t>(phase);
}
constexpr std::uint64_t kPhaseMask = 0xff;
constexpr Phase phase_of(std::uint64_t state) { return static_cast<Phase>(state & kPhaseMask); }
constexpr std::uint32_t generation_of(std::uint64_t state) {
  return static_cast<std::uint32_t>(state >> 8) & kGenerationMask;
}
constexpr std::uint32_t next_generation(std::uint32_t generation) {
  std::uint32_t next = (generation + 1) & kGenerationMask;
  return next == 0 ? 1 : next;
}
constexpr MemberId starter_of(std::uint64_t state) {
  return {static_cast<std::uint32_t>(state >> 28)};
}

}  // namespace

MemberId Members::enlist(MemberId parent, std::string_view name, std::uint32_t flags) {
  for (std::uint32_t index = 0; index < kMaxMembers; ++index) {
    MemberSlot& slot = slots_[index];
    auto seen = slot.state.load(std::memory_order_acquire);
    if (phase_of(seen) != Phase::free) continue;
    std::uint32_t generation = next_generation(generation_of(seen));
    auto used = used_.load(std::memory_order_relaxed);
    while (used <= index && !used_.compare_exchange_weak(used, index + 1)) {
    }
    // pid is 0 in every free slot: nobody takes the past occupant's death for this one's.
    if (!slot.state.compare_exchange_strong(seen, state_of(generation, Phase::starting, parent)))
      continue;
    os::step("members.slot_taken");
    slot.parent.store(parent.raw);
    slot.flags.store(flags);
    slot.reaper.store(0);
    slot.collected.store(0);
    slot.farewells.store(generation << 2);
    slot.running_since.store(0);
    slot.ended.store(0);
    slot.exit_code.store(0);
    slot.watched.store(0);
    slot.relayed.store(0);
    slot.ready.store(0);
    slot.failure.store(0);
    std::size_t length = std::min(name.size(), kNameBytes - 1);
    std::memcpy(slot.name, name.data(), length);
    slot.name[length] = '\0';
    for (auto& wait : slot.waits) wait.store(0, std::memory_order_relaxed);
    return MemberId::of(index, generation);
  }
  throw Error("too many processes: a family has room for " + std::to_string(kMaxMembers) +
              " at a time; join some before starting more");
}

bool Members::activate(MemberId id, pid_t pid) noexcept {
  MemberSlot& self = slot(id);
  // A slot that was given up may be another's by now.
  std::int32_t unknown = 0;
  bool told = self.pid.compare_exchange_strong(unknown, pid, std::memory_order_relaxed);
  if (!advance(id, Phase::starting, Phase::running) &&
      !advance(id, Phase::making, Phase::running)) {
    if (told) self.pid.compare_exchange_strong(pid, 0, std::memory_order_relaxed);
    return false;
  }
  self.running_since.store(os::boot_time_now(), std::memory_order_relaxed);
  return true;
}

bool Members::begin_making(MemberId id) noexcept {
  // Or it is so already, and who did it was killed before there was a process.
  return advance(id, Phase::starting, Phase::making) || phase(id) == Phase::making;
}

void Members::discharge(MemberId id) noexcept {
  // A process that runs already keeps its slot: its end is noticed by its pid.
  Phase now = phase(id);
  if (now != Phase::starting && now != Phase::making) return;
  slot(id).pid.store(0, std::memory_order_relaxed);
  advance(id, now, Phase::free);
}

bool Members::advance(MemberId id, Phase from, Phase to) noexcept {
  auto& state = slot(id).state;
  auto seen = state.load(std::memory_order_acquire);
  return generation_of(seen) == id.generation() && phase_of(seen) == from &&
         state.compare_exchange_strong(seen, (seen & ~kPhaseMask) | static_cast<std::uint64_t>(to));
}

Phase Members::phase(MemberId id) const noexcept {
  auto seen = slot(id).state.load(std::memory_order_acquire);
  return generation_of(seen) == id.generation() ? phase_of(seen) : Phase::free;
}

bool Members::is_dead(MemberId id) const noexcept {
  Phase now = phase(id);
  return now != Phase::starting && now != Phase::making && now != Phase::running;
}

std::int32_t Members::pid_of_dead(MemberId id) const noexcept {
  const auto pid = slot(id).pid.load(std::memory_order_relaxed);
  return phase(id) == Phase::free ? 0 : pid;
}

MemberId Members::at(std::uint32_t index) const noexcept {
  auto seen = slots_[index].state.load(std::memory_order_acquire);
  return phase_of(seen) == Phase::free ? MemberId{} : MemberId::of(index, generation_of(seen));
}

MemberId Members::parent(MemberId id) const noexcept {
  return starter_of(slot(id).state.load(std::memory_order_acquire));
}

bool Members::mark_dead(MemberId id) noexcept {
  // In this order: a starting member may begin to run in between, a running one never starts again.
  return advance(id, Phase::starting, Phase::dead) || advance(id, Phase::making, Phase::dead) ||
         advance(id, Phase::running, Phase::dead);
}

void Members::farewell(MemberId id, std::uint32_t bit) noexcept {
  if (phase(id) == Phase::free) return;
  auto& farewells = slot(id).farewells;
  auto seen = farewells.load(std::memory_order_acquire);
  std::uint32_t said = 0;
  do {
    // The past occupant's, where the starter was killed before it wrote this one's.
    bool unwritten = seen == 0 || next_generation(seen >> 2) == id.generation();
    said = unwritten ? id.generation() << 2 : seen;
    if (said >> 2 != id.generation()) return;  // the slot has passed on meanwhile
  } while (!farewells.compare_exchange_weak(seen, said | bit, std::memory_order_acq_rel));
  os::step("members.farewell");
  settle(id);
}

void Members::settle(MemberId id) noexcept {
  MemberSlot& gone = slot(id);
  auto said = gone.farewells.load(std::memory_order_acquire);
  if (said >> 2 != id.generation() || (said & kReturned) == 0) return;
  advance(id, Phase::dead, Phase::ended);
  if ((said & kSeenByParent) == 0 || phase(id) != Phase::ended) return;
  auto pid = gone.pid.load(std::memory_order_relaxed);
  if (phase(id) == Phase::ended) gone.pid.compare_exchange_strong(pid, 0);
  advance(id, Phase::ended, Phase::free);
}

void Members::seen_by_parent(MemberId id) noexcept { farewell(id, kSeenByParent); }
void Members::returned(MemberId id) noexcept { farewell(id, kReturned); }

bool Members::process_gone(MemberId id) const {
  MemberSlot& member = slot(id);
  pid_t pid = member.pid.load(std::memory_order_acquire);
  if (pid == 0 || phase(id) == Phase::free) return false;
  os::Pidfd process;
  try {
    process = os::Pidfd::open(pid);
  } catch (const std::system_error&) {
    return false;  // no descriptors left to look with
  }
  if (!process || process.ended()) return true;
  auto since = member.running_since.load(std::memory_order_acquire);
  if (since == 0) return false;
  auto started = os::start_time(pid);
  if (!started) return process.ended();
  return *started > since + kTickSlack;  // another process with a recycled pid
}

void Members::record_exit(MemberId id, int code) noexcept {
  MemberSlot& member = slot(id);
  if (phase(id) == Phase::free) return;
  member.exit_code.store(code, std::memory_order_relaxed);
  member.ended.store(1, std::memory_order_release);
  os::futex_wake_all(member.ended);
}

}  // namespace cohort::arena
