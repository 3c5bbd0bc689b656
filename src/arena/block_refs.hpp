// The private side of BlockRef: which shared blocks this process holds, and how often.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "arena/shared_block.hpp"
#include "cohort/detail/block_ref.hpp"

namespace cohort::detail {

struct BlockRefs {
  // Throws cohort::Error: no handle works in a child that the host program forked by itself.
  [[noreturn]] static void refuse_in_host_child();

  // A new shared block of zeroes with one reference.
  static BlockRef create(std::size_t bytes, arena::BlockKind kind);

  // Every block that this process holds. Locked while a fork copies this process.
  static std::unique_lock<std::mutex> lock_registry();
  static std::vector<arena::Offset> held(const std::unique_lock<std::mutex>& registry);

  // Takes a parcel out of a ring's hands, with references to all that it refers to; empty when it
  // was not there.
  static std::optional<std::vector<BlockRef>> take_parcel(arena::Space& space, arena::Offset parcel,
                                                          arena::Offset ring, std::uint64_t stamp);

  // In a forked child: what its creator had closed for itself is not closed here.
  static void reopen_all();

  // After a request was decoded, whose sender marked the blocks as held by this process: lets go of
  // those that nobody took. Not beside other threads that adopt the same blocks.
  static void let_go_unadopted(std::span<const arena::Offset> blocks);
};

}  // namespace cohort::detail
