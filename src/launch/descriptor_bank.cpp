#include "launch/descriptor_bank.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <optional>
#include <unordered_set>
#include <utility>
#include <vector>

#include "arena/block_refs.hpp"
#include "arena/shared_block.hpp"
#include "arena/space.hpp"
#include "cohort/error.hpp"
#include "os/descriptor_queue.hpp"
#include "os/step.hpp"
#include "sync/robust_lock.hpp"
#include "sync/seizable_lock.hpp"

namespace cohort::launch {
namespace {

using arena::BlockKind;
using arena::Hold;
using arena::Offset;
using arena::Space;
using os::DescriptorTag;

struct BankCell {
  // Whoever looks into the queue, where all look from one place on. Who is stopped at it is robbed,
  // and may disturb the next one by one call: so what is found is not believed, but tried.
  sync::SeizableLock looking;
  // Whoever drops from the queue's front. Nobody waits for it.
  sync::RobustLock sweeping;
  std::atomic<std::uint32_t> stale;  // there may be deposits whose ticket is gone
  std::atomic<std::uint64_t> numbers;
  std::atomic<std::uint64_t> drops;  // begun and done
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

// One turn at looking into the queue.
class Look {
 public:
  explicit Look(Space& space)
      : space_(space), turn_(bank_of(space).looking, space), drops_(bank_of(space).drops.load()) {
    os::step("descriptor_bank.looking");
  }

  std::vector<DescriptorTag> tags() const {
    return space_.bank().tags([&] { return turn_.still_held(); });
  }
  // Whether nobody has begun to look since, or dropped anything.
  bool undisturbed() const { return turn_.still_held() && drops_ == bank_of(space_).drops.load(); }
  std::optional<os::Fd> find(const DescriptorTag& wanted) const {
    const auto all = tags();
    const auto found = std::find(all.begin(), all.end(), wanted);
    if (found == all.end() || !turn_.still_held()) return std::nullopt;
    return space_.bank().copy(static_cast<std::size_t>(found - all.begin()), wanted);
  }

 private:
  Space& space_;
  const sync::Seizable turn_;
  const std::uint64_t drops_;
};

// What is there: the same twice, as who was robbed disturbs one look at most.
std::vector<DescriptorTag> tags_in(Space& space) {
  for (;;) {
    const Look look(space);
    auto once = look.tags();
    const auto again = look.tags();  // something may have been put meanwhile
    if (look.undisturbed() && once.size() <= again.size() &&
        std::equal(once.begin(), once.end(), again.begin()))
      return once;
  }
}

// Empty when it is not there: it is looked for again where a look may have been disturbed.
std::optional<os::Fd> copy_of(Space& space, const DescriptorTag& wanted) {
  constexpr int kLooks = 3;
  for (int looks = 0; looks < kLooks;) {
    const Look look(space);
    if (auto found = look.find(wanted)) return found;
    if (look.undisturbed()) ++looks;
  }
  return std::nullopt;
}

void drop_front(Space& space) {
  auto& drops = bank_of(space).drops;
  drops.fetch_add(1);
  space.bank().drop_front();
  drops.fetch_add(1);
}

// By the only sweeper. Only the front can be dropped, so what lies before a stale deposit moves to
// the back first: its copy is there before it is gone from the front. Answers false when there was
// no room to move it. A dead sweeper's half-done move needs no mending: see superfluous.
bool sweep(Space& space) {
  const auto tags = tags_in(space);
  const auto drop = superfluous(space, tags);
  const auto last = std::find(drop.rbegin(), drop.rend(), true);
  const auto end = static_cast<std::size_t>(drop.rend() - last);
  for (std::size_t i = 0; i < end; ++i) {
    if (!drop[i]) {
      const auto moving = copy_of(space, tags[i]);
      if (!moving || !space.bank().put(tags[i], moving->get())) return false;
    }
    os::step("descriptor_bank.moved");
    drop_front(space);
    os::step("descriptor_bank.dropped");
  }
  return true;
}

// Who found a sweeper at it left it to that one, which looks again when it is done.
void sweep_if_stale(Space& space) noexcept {
  BankCell& bank = bank_of(space);
  for (bool swept = true; swept && bank.stale.load() != 0;) {
    auto taken = bank.sweeping.lock_soon(space);
    if (!taken) return;
    {
      const sync::Locked guard(bank.sweeping, space, *taken);
      bank.stale.store(0);
      try {
        swept = sweep(space);
      } catch (const std::exception&) {
        swept = false;  // no descriptor number or memory: whoever comes next
      }
      if (!swept) bank.stale.store(1);
    }
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
}

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
  // Only a full bank has to be looked into first.
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
  auto found = copy_of(space, wanted);
  sweep_if_stale(space);
  if (!found)
    throw Error(
        "the descriptor that belongs to this message is not there: did the program close "
        "descriptors that it did not open?");
  return std::move(*found);
}

std::size_t deposits() {
  Space& space = Space::here();
  sweep_if_stale(space);
  return tags_in(space).size();
}

}  // namespace cohort::launch
