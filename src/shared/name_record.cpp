#include "shared/name_record.hpp"

#include <algorithm>
#include <atomic>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <exception>
#include <functional>
#include <optional>
#include <random>
#include <vector>

#include "arena/shared_block.hpp"
#include "arena/space.hpp"
#include "launch/finish.hpp"
#include "os/step.hpp"

namespace cohort::shared {

using arena::BlockKind;
using arena::Hold;
using arena::MemberId;
using arena::Offset;
using arena::Owner;
using arena::SharedHeader;
using arena::Space;

// Written in this order: a record of a maker that was killed says no more than is true.
struct NameRecord::Cell {
  std::atomic<std::uint64_t> draft;
  char name[os::kLongestMemoryName + 1];
  std::uint64_t device;
  std::atomic<std::uint64_t> inode;  // 0: not known yet
  std::atomic<std::uint32_t> in_use;
};

namespace {

std::uint64_t random_number() {
  std::random_device source;
  return (std::uint64_t{source()} << 32) | source();
}

std::string draft_name(std::uint64_t number) {
  char text[32];
  std::snprintf(text, sizeof text, ".cohort-%016" PRIx64, number);
  return text;
}

}  // namespace

// What is done with records that others made.
struct Records {
  struct Place {
    Offset block;
    Owner owner;
  };

  static NameRecord::Cell& cell(Space& space, Offset block) {
    return space.cell<NameRecord::Cell>(arena::cell_of(block));
  }

  static std::vector<Place> all(Space& space) {
    std::vector<Place> found;
    space.heap().for_each_block(arena::Purpose::shared, [&](Offset block, Owner owner) {
      if (owner.is(Hold::shared) && space.cell<SharedHeader>(block).kind == BlockKind::name)
        found.push_back({block, owner});
    });
    return found;
  }

  // A copy of what may pass to somebody else meanwhile: then the owner tells so afterwards.
  __attribute__((no_sanitize("thread"))) static std::string name_in(
      const NameRecord::Cell& record) {
    std::string name;
    const volatile char* text = record.name;
    while (name.size() < os::kLongestMemoryName && text[name.size()] != '\0')
      name += text[name.size()];
    return name;
  }

  static void remove_names(Space& space, Offset block) {
    const NameRecord::Cell& record = cell(space, block);
    if (std::uint64_t draft = record.draft.load()) os::remove_name(draft_name(draft));
    os::FileId file{record.device, record.inode.load(std::memory_order_acquire)};
    if (file.inode != 0) os::remove_name_of(file, name_in(record));
  }

  static bool alive(Space& space, std::uint32_t slot) {
    MemberId holder = space.members().at(slot);
    return holder && !space.members().is_dead(holder) && !space.members().process_gone(holder);
  }

  template <class Judge>
  static bool any_holder(Space& space, Offset block, Judge&& judge) {
    const SharedHeader& header = space.cell<SharedHeader>(block);
    for (std::uint32_t slot = 0; slot < arena::kMaxMembers; ++slot) {
      if ((header.members[slot / 64].load() >> (slot % 64) & 1) != 0 && judge(slot)) return true;
    }
    return false;
  }

  static void give_back(Space& space, Place place) {
    if (!space.heap().plausible(place.block)) return;
    Owner mine = Owner::member(space.self());
    if (!space.heap().change_owner(place.block, place.owner, mine)) return;
    os::step("names.taken_back");
    // Whoever returns what a dead holder held may be about to take that one's mark away, so the
    // place must not get another use: it stays ours to our end.
    auto dead = [&](std::uint32_t slot) {
      MemberId holder = space.members().at(slot);
      return !holder || space.members().is_dead(holder);
    };
    if (!any_holder(space, place.block, dead)) space.heap().release(place.block, mine);
  }

  static bool is_stale(Space& space, Offset block) {
    const NameRecord::Cell& record = cell(space, block);
    if (record.in_use.load(std::memory_order_acquire) == 0) return false;
    return !os::is_named(name_in(record), {record.device, record.inode.load()});
  }

  // Answers how many records are left.
  static std::size_t give_back_stale(Space& space) {
    std::size_t left = 0;
    for (Place place : all(space)) {
      if (is_stale(space, place.block)) {
        give_back(space, place);
      } else {
        ++left;
      }
    }
    return left;
  }

  // At the program's end, in its first process, when the children are gone. Some may not have been
  // noticed to be dead, and there may be nobody left to notice.
  static void let_go_as_root(Space& space) {
    MemberId root = space.self();
    for (Place place : all(space)) {
      if (!arena::held_by(space, place.block, root)) continue;
      bool others = any_holder(space, place.block, [&](std::uint32_t slot) {
        return slot != root.slot() && alive(space, slot);
      });
      if (!others) remove_names(space, place.block);
      os::step("names.removed_at_end");
      if (arena::unmark_seen(space, place.block, place.owner, root))
        arena::release_if_unused(space, place.block);
    }
  }
};

namespace {

void at_program_end() noexcept {
  Space* space = Space::current();
  if (!space || space->self().raw != space->header().root.load()) return;
  try {
    Records::let_go_as_root(*space);
  } catch (const std::exception&) {
    // Out of memory: the fork server does it when we are gone.
  }
}

const bool registered = [] {
  arena::set_finalizer(BlockKind::name, Records::remove_names);
  launch::add_process_hooks({[]() noexcept {}, []() noexcept {}, at_program_end});
  return true;
}();

// How many removals of others' names make a look at all records worth while.
constexpr std::size_t kFewRemovals = 64;
std::atomic<std::size_t> removals{0};
std::atomic<std::size_t> removals_to_look_at{kFewRemovals};

}  // namespace

NameRecord NameRecord::make() {
  Space& space = Space::here();
  launch::finish_at_exit();
  NameRecord record;
  record.block_ = arena::make_shared_block(space, sizeof(Cell), BlockKind::name);
  record.owner_ = space.heap().owner(record.block_);
  record.epoch_ = Space::epoch();
  MemberId root{space.header().root.load()};
  arena::hold(space, record.block_, root);
  // The fork server stays as long as anybody does.
  MemberId server{space.header().janitors[0].load()};
  if (server) arena::hold(space, record.block_, server);
  if (server && space.members().is_dead(server)) arena::unmark(space, record.block_, server);
  // After its burial nobody would take the mark away. (Ours stays where we are the root ourselves.)
  if (space.members().is_dead(root)) arena::unmark(space, record.block_, root);
  return record;
}

NameRecord::~NameRecord() {
  if (!block_ || kept_ || epoch_ != Space::epoch()) return;
  forget_draft();
  forget();
}

NameRecord::Cell& NameRecord::cell() const { return Records::cell(Space::here(), block_); }

std::string NameRecord::note_draft() {
  std::uint64_t number = random_number() | 1;  // 0 is none
  cell().draft.store(number);
  return draft_name(number);
}

void NameRecord::forget_draft() {
  std::uint64_t number = cell().draft.load();
  if (number == 0) return;
  os::remove_name(draft_name(number));
  cell().draft.store(0);
}

void NameRecord::note(std::string_view name, os::FileId file) {
  Cell& record = cell();
  std::memcpy(record.name, name.data(), name.size());
  record.name[name.size()] = '\0';
  record.device = file.device;
  record.inode.store(file.inode, std::memory_order_release);
  os::step("names.noted");
}

void NameRecord::keep() noexcept {
  cell().in_use.store(1, std::memory_order_release);
  kept_ = true;
}

void NameRecord::forget() noexcept {
  if (!block_ || epoch_ != Space::epoch()) return;
  Records::give_back(Space::here(), {block_, owner_});
  block_ = 0;
}

void name_was_removed() noexcept {
  Space* space = Space::current();
  if (!space || removals.fetch_add(1) + 1 < removals_to_look_at.load()) return;
  removals.store(0);
  try {
    removals_to_look_at.store(std::max(kFewRemovals, Records::give_back_stale(*space)));
  } catch (const std::exception&) {
    // Out of memory: next time.
  }
}

}  // namespace cohort::shared
