#include "arena/space.hpp"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>

#include "arena/inheritance.hpp"
#include "arena/shared_block.hpp"
#include "cohort/error.hpp"
#include "os/call.hpp"
#include "os/futex.hpp"
#include "os/pidfd.hpp"
#include "os/step.hpp"

namespace cohort::arena {

// Never destroyed: threads and handles may outlive main.
constinit std::atomic<Space*> the_space{nullptr};
constinit std::atomic<std::uint32_t> the_epoch{0};

namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kMagic = 0x31'74'72'6f'68'6f'63'00;  // "\0cohort1"
constexpr std::size_t kPage = 4096;
constexpr std::size_t kReserve = std::size_t{64} << 30;
constexpr std::size_t kLeastReserve = std::size_t{4} << 20;
constexpr auto kLongestSleep = 100ms;
constexpr std::chrono::milliseconds kLookAtJanitor = 1s;

// The space of the family that the host forked us from: nothing reads it, a leak checker sees it.
[[gnu::used]] std::atomic<Space*> left_behind{nullptr};
std::mutex founding;

constexpr std::size_t aligned(std::size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

// A child that the host program forked: no member of the family.
void after_foreign_fork() {
  if (!launch_fork_in_progress()) {
    the_epoch.fetch_add(1);
    left_behind = the_space.exchange(nullptr);
  }
}

// Another thread may be founding while this one forks: the child must not inherit its lock.
void before_fork() { founding.lock(); }
void after_fork_in_parent() { founding.unlock(); }
void after_fork_in_child() {
  founding.unlock();
  after_foreign_fork();
}

void watch_forks() {
  static const int registered =
      ::pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
  (void)registered;
}

void lay_out(const os::Mapping& memory, std::size_t bytes) {
  auto* header = reinterpret_cast<ArenaHeader*>(memory.data());
  header->bytes = bytes;
  header->member_table = aligned(sizeof(ArenaHeader));
  header->chunk_table = header->member_table + aligned(sizeof(MemberSlot) * kMaxMembers);
  auto chunks = static_cast<std::uint32_t>(bytes / kChunkBytes);
  std::size_t used = header->chunk_table + chunks * sizeof(std::uint64_t);
  header->heap.chunks = chunks;
  header->heap.first_chunk = static_cast<std::uint32_t>(used / kChunkBytes + 1);
  header->heap.ever_used.store(header->heap.first_chunk);
  header->heap.search_from.store(header->heap.first_chunk);
  header->magic = kMagic;
}

// The largest reserve that the system grants, halving from `bytes` down.
os::Fd make_arena(std::size_t bytes) {
  // No more than an owner word can name.
  bytes = std::clamp(bytes / kChunkBytes * kChunkBytes, kLeastReserve, kReserve);
  std::size_t largest = os::file_size_limit() / kPage * kPage;
  if (largest < kLeastReserve)
    throw Error("cannot make the arena: files, and so memory files, are limited to " +
                std::to_string(largest >> 10) + " KiB; raise the limit (ulimit -f) to at least " +
                std::to_string(kLeastReserve >> 10) + " KiB");
  for (std::size_t tried = std::min(bytes, largest);; tried /= 2) {
    os::Fd file = os::make_memory_file("cohort", tried);
    try {
      os::Mapping memory(file.get(), tried);
      lay_out(memory, tried);
      return file;
    } catch (const std::system_error& refused) {
      if (tried / 2 < kLeastReserve)
        throw Error(std::string("cannot reserve even ") + std::to_string(kLeastReserve >> 20) +
                    " MiB of address space for the arena (" + refused.what() +
                    "); raise the limit on address space (ulimit -v)");
    }
  }
}

std::optional<Inheritance> inheritance_from_starter() {
  const char* text = std::getenv(kInheritanceVariable);
  return text ? Inheritance::parse(text) : std::nullopt;
}

}  // namespace

Space& Space::found(std::size_t bytes) {
  std::lock_guard guard(founding);
  if (Space* made = current()) return *made;
  watch_forks();
  if (Space::epoch() == 0) {
    if (auto inherited = inheritance_from_starter()) {
      os::DescriptorQueue bank{os::Fd(inherited->bank_in), os::Fd(inherited->bank_out)};
      auto* space = new Space(os::Fd(inherited->memory), std::move(bank), inherited->self);
      the_space.store(space, std::memory_order_release);
      return *space;
    }
  }
  os::Fd memory;
  os::DescriptorQueue bank;
  try {
    memory = make_arena(bytes ? bytes : kReserve);
    bank = os::DescriptorQueue::make();
  } catch (const std::system_error& refused) {
    throw std::system_error(refused.code(),
                            "cohort cannot make its arena: memfd_create and socketpair need free "
                            "descriptors and a system that allows them (a seccomp filter may not)");
  }
  auto* space = new Space(std::move(memory), std::move(bank), MemberId{});
  space->self_ = space->members_.enlist(MemberId{}, "MainProcess", 0);
  space->members_.activate(space->self_, ::getpid());
  space->header_->root.store(space->self_.raw);
  the_space.store(space, std::memory_order_release);
  return *space;
}

Space::Space(os::Fd memory, os::DescriptorQueue bank, MemberId self)
    : memory_fd_(std::move(memory)),
      bank_(std::move(bank)),
      memory_(memory_fd_.get(), os::file_size(memory_fd_.get())),
      header_(reinterpret_cast<ArenaHeader*>(memory_.data())),
      members_(reinterpret_cast<MemberSlot*>(memory_.data() + header_->member_table),
               header_->members_used),
      heap_(memory_, header_->heap,
            reinterpret_cast<std::atomic<std::uint64_t>*>(memory_.data() + header_->chunk_table)),
      self_(self) {
  if (header_->magic != kMagic) throw Error("the inherited descriptor is not a cohort arena");
}

bool Space::sleep_on(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                     os::Deadline deadline) {
  auto bound = os::Clock::now() + kLongestSleep;
  bool bounded = !deadline || *deadline > bound;
  Offset place = offset_of(&word);
  std::atomic<std::uint64_t>* recorded = nullptr;
  for (auto& wait : my_slot().waits) {
    std::uint64_t none = 0;
    if (wait.load(std::memory_order_relaxed) == 0 && wait.compare_exchange_strong(none, place)) {
      recorded = &wait;
      break;
    }
  }
  // A burial between the record and the kernel's compare wakes nobody: then the bound does.
  auto result = os::futex_wait(word, expected, bounded ? bound : *deadline);
  if (recorded) recorded->store(0, std::memory_order_release);
  if (result != os::FutexResult::timed_out) return false;
  try {
    look();
  } catch (const std::exception&) {
    // No descriptors or memory to look with: the wait goes on, and the next look may have them.
  }
  return true;
}

void Space::wake_all_waits() {
  for (std::uint32_t index = 0; index < members_.used(); ++index) {
    MemberId id = members_.at(index);
    if (!id || members_.is_dead(id)) continue;
    for (auto& wait : members_.slot(index).waits) {
      Offset place = wait.load(std::memory_order_acquire);
      if (place != 0 && place < header_->bytes)
        os::futex_wake_all(cell<std::atomic<std::uint32_t>>(place));
    }
  }
}

void Space::end_dependants(MemberId parent) {
  for (std::uint32_t index = 0; index < members_.used(); ++index) {
    MemberId id = members_.at(index);
    if (id && members_.parent(id) == parent) settle_orphan(id);
  }
}

// A slot that the fork server is at may get a pid at any moment: then only a fork server, which is
// not at it itself, gives it up.
bool Space::never_made(MemberId id) const {
  Phase phase = members_.phase(id);
  if (members_.slot(id).pid.load() != 0) return false;
  return phase == Phase::starting ||
         (phase == Phase::making && (header_->janitors[0].load() == self_.raw || !janitor_alive()));
}

void Space::settle_orphan(MemberId id) {
  MemberSlot& child = members_.slot(id);
  if (never_made(id)) {
    // Its starter may have marked blocks as held by it already.
    members_.mark_dead(id);
    members_.seen_by_parent(id);
    reclaim(id);
    return;
  }
  if (members_.phase(id) == Phase::making && child.pid.load() == 0)
    return;  // its maker's to settle
  if ((child.flags.load() & kDaemon) != 0) {
    auto process = os::Pidfd::open(child.pid.load());
    // Asked after the pid was read: a slot that has passed on names somebody else's process.
    if (process && !members_.process_gone(id) && !members_.is_dead(id)) process.send(SIGKILL);
  }
  members_.collected(id);
  members_.seen_by_parent(id);
  if (members_.phase(id) == Phase::dead) reclaim(id);
}

bool Space::bury(MemberId id) {
  if (!members_.mark_dead(id)) return false;
  wake_all_waits();
  try {
    settle_relations(id);
  } catch (const std::exception&) {
    // Whoever returns its blocks does it again.
  }
  return true;
}

void Space::settle_relations(MemberId dead) {
  end_dependants(dead);
  MemberId parent = members_.parent(dead);
  if (!parent || members_.is_dead(parent)) members_.seen_by_parent(dead);
}

bool Space::reclaim(MemberId id) {
  if (members_.phase(id) != Phase::dead) return false;
  MemberSlot& gone = members_.slot(id);
  MemberId parent = members_.parent(id);
  bool reserved = (gone.flags.load() & kCollected) != 0 && gone.collected.load() != id.generation();
  if (reserved && parent && !members_.is_dead(parent)) return false;
  std::uint64_t generation = std::uint64_t{id.generation()} << 32;
  std::uint64_t reaper = gone.reaper.load();
  if ((reaper ^ generation) >> 32 == 0) {  // else it was the past occupant's
    MemberId other{static_cast<std::uint32_t>(reaper)};
    if (other && other != self_ && members_.process_gone(other)) bury(other);
    if (other && (other == self_ || !members_.is_dead(other))) return false;
  }
  if (!gone.reaper.compare_exchange_strong(reaper, generation | self_.raw)) return false;
  if (members_.phase(id) != Phase::dead)
    return false;  // done meanwhile: this may be the next one's
  bool returned = false;
  try {
    settle_relations(id);  // once more: who buried it may have been killed at it
    os::step("space.reclaiming");
    for (int tries = 0; !returned && tries < 3; ++tries) returned = return_blocks_of(*this, id);
  } catch (const std::exception&) {
    // Out of descriptors or memory.
  }
  os::step("space.reclaimed");
  if (returned) {
    members_.returned(id);
  } else {  // anybody may try again
    std::uint64_t mine = generation | self_.raw;
    gone.reaper.compare_exchange_strong(mine, generation);
  }
  return returned;
}

bool Space::janitor_alive() const {
  for (const auto& janitor : header_->janitors) {
    MemberId id{janitor.load(std::memory_order_relaxed)};
    if (id && !members_.is_dead(id) && !members_.process_gone(id)) return true;
  }
  return false;
}

bool Space::janitor_at_work() const {
  for (const auto& janitor : header_->janitors) {  // the second takes over when the first is dead
    MemberId id{janitor.load(std::memory_order_relaxed)};
    if (id && !members_.is_dead(id) && !members_.process_gone(id))
      return !os::stopped(members_.slot(id).pid.load(std::memory_order_relaxed));
  }
  return false;
}

bool Space::janitor_expected() const noexcept {
  return std::any_of(header_->janitors.begin(), header_->janitors.end(), [&](const auto& janitor) {
    MemberId id{janitor.load(std::memory_order_relaxed)};
    return id && !members_.is_dead(id);
  });
}

void Space::bury_the_dead(bool only_unwatched) {
  for (std::uint32_t index = 0; index < members_.used(); ++index) {
    MemberId id = members_.at(index);
    if (!id || id == self_) continue;
    if (only_unwatched && members_.slot(index).watched.load() != 0) continue;
    if (!members_.is_dead(id) && members_.process_gone(id)) bury(id);
    if (members_.phase(id) == Phase::dead) reclaim(id);
    members_.settle(id);
  }
}

void Space::look() {
  auto now = os::Clock::now().time_since_epoch().count();
  auto before = looked_at_.load(std::memory_order_relaxed);
  // Where a janitor is at work, it is enough to see now and then that it still is.
  auto pause =
      std::chrono::nanoseconds(janitor_expected() ? kLookAtJanitor : kLongestSleep).count();
  if (now - before < pause || !looked_at_.compare_exchange_strong(before, now)) return;
  MemberSlot& self = my_slot();
  MemberId parent = members_.parent(self_);
  bool orphan = parent && (members_.is_dead(parent) || members_.process_gone(parent));
  if (orphan && (self.flags.load() & kDaemon) != 0) ::kill(::getpid(), SIGKILL);
  bury_the_dead(janitor_at_work());
}

}  // namespace cohort::arena
