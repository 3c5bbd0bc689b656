#include "cohort/value.hpp"

#include "arena/block_refs.hpp"

namespace cohort::detail {

BlockRef make_plain_block(std::size_t bytes) {
  return BlockRefs::create(bytes, arena::BlockKind::plain);
}

}  // namespace cohort::detail
