#include "schedule/arena_writer.hpp"

#include <algorithm>
#include <cstring>

namespace cohort::schedule {

ArenaWriter::ArenaWriter(arena::Space& space, std::span<std::byte> small) : space_(space) {
  begin_ = cursor_ = small.data();
  end_ = begin_ + small.size();
}

ArenaWriter::~ArenaWriter() {
  if (block_) space_.release(block_);
}

void ArenaWriter::pad_to(std::size_t multiple) {
  constexpr std::byte zeroes[64]{};
  std::size_t over = size() % multiple;
  if (over) write(zeroes, multiple - over);
}

void ArenaWriter::grow(std::size_t at_least) {
  std::size_t used = size();
  std::size_t wanted = std::max(used + at_least, 2 * static_cast<std::size_t>(end_ - begin_));
  arena::Offset fresh = space_.heap().allocate(wanted, space_.self(), arena::Purpose::message);
  std::byte* to = space_.at(fresh);
  if (used) std::memcpy(to, begin_, used);
  arena::Offset old = std::exchange(block_, fresh);
  if (published_) published_->store(fresh, std::memory_order_release);
  if (old) space_.release(old);
  begin_ = to;
  cursor_ = to + used;
  end_ = to + space_.heap().capacity(fresh);
}

}  // namespace cohort::schedule
