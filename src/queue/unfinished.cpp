#include "queue/unfinished.hpp"

#include <limits>

#include "os/step.hpp"

namespace cohort::queue {
namespace {

constexpr std::uint64_t entry(arena::MemberId member, std::uint64_t count) {
  return std::uint64_t{member.raw} << 32 | count;
}
constexpr arena::MemberId member_of(std::uint64_t entry) {
  return {static_cast<std::uint32_t>(entry >> 32)};
}
constexpr std::uint64_t count_of(std::uint64_t entry) {
  return entry & std::numeric_limits<std::uint32_t>::max();
}

}  // namespace

void Unfinished::taking(std::size_t count) noexcept {
  const arena::MemberId me = space_.self();
  auto& mine = cell_.open[me.slot()];
  std::uint64_t seen = mine.load();
  for (;;) {
    const bool ours = member_of(seen) == me;
    const std::uint64_t now = entry(me, (ours ? count_of(seen) : 0) + count);
    if (!mine.compare_exchange_weak(seen, now)) continue;
    // What the slot's last member had when it died.
    if (!ours && count_of(seen)) cell_.lost.fetch_add(count_of(seen));
    return;
  }
}

bool Unfinished::finish(std::uint32_t slot, std::size_t count) noexcept {
  auto& open = cell_.open[slot];
  std::uint64_t seen = open.load();
  do {
    if (count_of(seen) < count) return false;
  } while (!open.compare_exchange_weak(seen, seen - count));
  os::step("unfinished.finished");
  if (count_of(seen) == count) cell_.finished.ring(std::numeric_limits<int>::max());
  return true;
}

bool Unfinished::finish_one() noexcept {
  const std::uint32_t mine = space_.self().slot();
  if (member_of(cell_.open[mine].load()) == space_.self() && finish(mine, 1)) return true;
  for (std::uint32_t slot = 0; slot < space_.members().used(); ++slot) {
    write_off(slot);
    if (finish(slot, 1)) return true;
  }
  return false;
}

// What a dead member had is lost.
void Unfinished::write_off(std::uint32_t slot) noexcept {
  std::uint64_t seen = cell_.open[slot].load();
  if (count_of(seen) == 0 || !space_.members().is_dead(member_of(seen))) return;
  if (!cell_.open[slot].compare_exchange_strong(seen, 0)) return;
  os::step("unfinished.written_off");
  cell_.lost.fetch_add(count_of(seen));
  cell_.finished.ring(std::numeric_limits<int>::max());
}

std::size_t Unfinished::count() noexcept {
  std::size_t total = 0;
  for (std::uint32_t slot = 0; slot < space_.members().used(); ++slot) {
    write_off(slot);
    total += count_of(cell_.open[slot].load());
  }
  return total;
}

std::uint64_t Unfinished::lost() noexcept {
  count();
  return cell_.lost.load();
}

// The ring first: what leaves it is counted as open before. Nothing was put meanwhile, so that what
// was seen empty stayed so while the open ones were counted, whose number could then only fall.
bool Unfinished::all_done(const ring::RingView& ring) noexcept {
  if (ring.closed() == ring::Closed::for_all) return true;
  const std::uint64_t puts = ring.puts();
  if (!ring.empty() && count() == 0) ring.skip_lost();
  return ring.empty() && count() == 0 && ring.puts() == puts;
}

bool Unfinished::join(const ring::RingView& ring, os::Deadline deadline) {
  return cell_.finished.wait(space_, deadline, [&] { return all_done(ring); });
}

}  // namespace cohort::queue
