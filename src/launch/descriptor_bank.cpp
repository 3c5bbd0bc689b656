#include "launch/descriptor_bank.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <unordered_set>
#include <vector>

#include "arena/block_refs.hpp"
#include "arena/shared_block.hpp"
#include "arena/space.hpp"
#include "cohort/error.hpp"
#include "os/descriptor_queue.hpp"
#include "os/step.hpp"
#include "sync/robust_lock.hpp"

namespace cohort::launch {
namespace {

using arena::BlockKind;
using arena::Hold;
using arena::Offset;
using arena::Space;
using os::DescriptorTag;

struct BankCell {
  sync::RobustLock lock;             // whoever reads or moves what is in the queue
  std::atomic<std::uint32_t> stale;  // there may be deposits whose ticket is gone
  std::atomic<std::uint64_t> numbers;
};
static_assert(sizeof(BankCell) <= sizeof(arena::ArenaHeader::descriptor_bank));

struct TicketCell {
  std::atomic<std::uint64_t> number;  // 0 once nobody holds the ticket
};

BankCell& bank_of(Space& space) {
  return *reinterpret_cast<BankCell*>(space.header().descriptor_bank.data());
}
TicketCell& ticket_at(Space& space, Offset block) {
  return space.cell<TicketCell>(arena::cell_of(block));
}

// The block may have passed to somebody else, and be anything by now.
__attribute__((no_sanitize("thread"))) bool valid(Space& space, const DescriptorTag& tag) {
  const arena::Heap& heap = space.heap();
  if (!heap.plausible(tag.place) || heap.purpose(tag.place) != arena::Purpose::shared) return false;
  const auto owner = heap.owner(tag.place);
  if (!owner.is(Hold::shared) && !owner.is(Hold::finalizing)) return false;
  if (space.cell<arena::SharedHeader>(tag.place).kind != BlockKind::ticket) return false;
  return ticket_at(space, tag.place).number.load() == tag.number;
}

// Which of these need not be in the queue: their ticket is gone, or they are there twice since a
// kill interrupted a move.
std::vector<bool> superfluous(Space& space, const std::vector<DescriptorTag>& tags) {
  std::vector<bool> result(tags.size());
  std::unordered_set<std::uint64_t> behind;
  for (std::size_t i = tags.size(); i-- > 0;)
    result[i] = !valid(space, tags[i]) || !behind.insert(tags[i].number).second;
  return result;
}

// Under the lock. Only the front can be dropped, so what lies before a stale deposit moves to the
// back first: its copy is there before it is gone from the front.
void sweep(Space& space) {
  bank_of(space).stale.store(0);
  const auto& queue = space.bank();
  const auto tags = queue.tags();
  const auto drop = superfluous(space, tags);
  const auto last = std::find(drop.rbegin(), drop.rend(), true);
  const auto end = static_cast<std::size_t>(drop.rend() - last);
  for (std::size_t i = 0; i < end; ++i) {
    if (!drop[i] && !queue.put(tags[i], queue.copy(0).get())) {
      bank_of(space).stale.store(1);  // no room to move it
      return;
    }
    os::step("descriptor_bank.moved");
    queue.drop_front();
    os::step("descriptor_bank.dropped");
  }
}

void sweep_if_stale(Space& space) noexcept {
  BankCell& bank = bank_of(space);
  if (bank.stale.load() == 0) return;
  auto taken = bank.lock.lock_soon(space);
  if (!taken) return;  // then its owner does it
  const sync::Locked guard(bank.lock, space, *taken);
  try {
    sweep(space);
  } catch (const std::exception&) {
    bank.stale.store(1);  // no descriptor number or memory: whoever comes next
  }
}

// Holds the bank, and does afterwards what others left to its owner. A dead owner's half-done move
// needs no mending: see superfluous.
class BankHeld {
 public:
  explicit BankHeld(Space& space) : space_(space) { (void)bank_of(space_).lock.lock(space_); }
  ~BankHeld() {
    bank_of(space_).lock.unlock(space_);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    sweep_if_stale(space_);
  }
  BankHeld(const BankHeld&) = delete;
  BankHeld& operator=(const BankHeld&) = delete;

 private:
  Space& space_;
};

// Run by whoever drops a ticket last, be it the janitor: waits for nobody.
void finalize_ticket(Space& space, Offset block) {
  ticket_at(space, block).number.store(0);
  bank_of(space).stale.store(1);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  os::step("descriptor_bank.invalid");
  sweep_if_stale(space);
}

const bool finalizer_set = (arena::set_finalizer(BlockKind::ticket, finalize_ticket), true);

[[noreturn]] void full() {
  throw Error(
      "too many descriptors are inside messages that nobody has received (some 500, or as many as "
      "ulimit -n allows): receive some first");
}

}  // namespace

detail::BlockRef deposit(int fd) {
  (void)finalizer_set;
  Space& space = Space::here();
  auto ticket = detail::BlockRefs::create(sizeof(TicketCell), BlockKind::ticket);
  const std::uint64_t number = bank_of(space).numbers.fetch_add(1) + 1;
  ticket_at(space, ticket.offset()).number.store(number);
  // Without the lock, whose owner may be stopped: only a full bank needs it.
  if (!space.bank().has_room()) {
    bank_of(space).stale.store(1);
    sweep_if_stale(space);
  }
  if (!space.bank().has_room() || !space.bank().put({ticket.offset(), number}, fd)) full();
  os::step("descriptor_bank.deposited");
  return ticket;
}

os::Fd withdraw(const detail::BlockRef& ticket) {
  Space& space = Space::here();
  const DescriptorTag wanted{ticket.offset(), ticket_at(space, ticket.offset()).number.load()};
  const BankHeld held(space);
  const auto tags = space.bank().tags();
  auto found = std::find(tags.begin(), tags.end(), wanted);
  if (found == tags.end())
    throw Error(
        "the descriptor that belongs to this message is not there: did the program close "
        "descriptors that it did not open?");
  return space.bank().copy(static_cast<std::size_t>(found - tags.begin()));
}

std::size_t deposits() {
  Space& space = Space::here();
  const BankHeld held(space);
  return space.bank().tags().size();
}

}  // namespace cohort::launch
