#include "queue/message_writer.hpp"

#include <algorithm>
#include <cstring>

#include "arena/shared_block.hpp"
#include "queue/thread_spare.hpp"

namespace cohort::queue {
namespace {

constexpr std::size_t kSmallBytes = std::size_t{20} << 10;

// A writer inside a writer has one of its own.
using Spare = ThreadSpare<std::vector<std::byte>>;

}  // namespace

MessageWriter::MessageWriter(arena::Space& space) : space_(space), small_(Spare::take()) {
  if (small_.empty()) small_.resize(kSmallBytes);
  begin_ = cursor_ = small_.data();
  end_ = begin_ + small_.size();
}

MessageWriter::~MessageWriter() {
  if (parcel_) arena::drop_parcel(space_, parcel_);
  Spare::give(std::move(small_));
}

void MessageWriter::attach(std::uint64_t block) {
  if (!block) return;
  references_.push_back(block);
  held_.push_back(detail::BlockRef::adopt(block));
}

arena::Offset MessageWriter::take_parcel() {
  if (!parcel_ || !references_.empty()) return 0;
  arena::shrink_parcel(space_, parcel_, size());
  return std::exchange(parcel_, 0);
}

void MessageWriter::truncate(std::size_t size) noexcept {
  cursor_ = begin_ + size;
  references_.clear();
  held_.clear();
}

void MessageWriter::grow(std::size_t at_least) {
  const std::size_t used = size();
  const std::size_t wanted = std::max(used + at_least, 2 * static_cast<std::size_t>(end_ - begin_));
  const arena::Offset fresh = arena::make_parcel(space_, {}, used == 0 ? at_least : wanted);
  std::byte* to = arena::payload_of(space_, fresh).data();
  if (used) std::memcpy(to, begin_, used);
  if (arena::Offset old = std::exchange(parcel_, fresh)) arena::drop_parcel(space_, old);
  begin_ = to;
  cursor_ = to + used;
  end_ = to + arena::payload_of(space_, fresh).size();
}

}  // namespace cohort::queue
