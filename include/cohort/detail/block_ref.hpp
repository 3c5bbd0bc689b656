// A counted reference to a block of the arena: what every handle is made of.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace cohort::arena {
// Changes in children that the host forked by itself.
extern constinit std::atomic<std::uint32_t> the_epoch;
}  // namespace cohort::arena

namespace cohort::detail {

// Copies are counted privately in this process; the arena knows only that this process holds the
// block. In a child that the host program forked by itself the reference is inert: dropping it
// changes nothing, and using it throws.
class BlockRef {
 public:
  BlockRef() noexcept = default;
  BlockRef(const BlockRef& other) noexcept;
  BlockRef(BlockRef&& other) noexcept : local_(std::exchange(other.local_, nullptr)) {}
  BlockRef& operator=(BlockRef other) noexcept {
    std::swap(local_, other.local_);
    return *this;
  }
  ~BlockRef();

  // A reference to the shared block at this offset, which this process holds already.
  static BlockRef adopt(std::uint64_t offset);

  explicit operator bool() const noexcept { return local_ != nullptr; }
  // A mark that all references of this process to the block share, for what may be closed.
  void close() const noexcept {
    if (local_) local_->closed.store(true, std::memory_order_relaxed);
  }
  bool closed() const noexcept { return !local_ || local_->closed.load(std::memory_order_relaxed); }
  // The block's place in the arena; 0 for an empty reference.
  std::uint64_t offset() const noexcept;
  // The cell in the block. Throws cohort::Error when empty or inert.
  std::byte* data() const {
    if (!local_ || local_->epoch != arena::the_epoch.load(std::memory_order_relaxed)) [[unlikely]]
      refuse();
    return local_->data;
  }

  template <class Archive>
  void save(Archive& archive) const {
    archive.writer().attach(offset());
    archive(offset());
  }
  template <class Archive>
  void load(Archive& archive) {
    std::uint64_t place = 0;
    archive(place);
    archive.reader().adopt(place);
    *this = place ? adopt(place) : BlockRef();
  }

 private:
  struct Local {
    std::atomic<long> count{1};
    std::uint64_t block = 0;
    std::uint32_t epoch = 0;
    std::atomic<bool> closed{false};
    std::byte* data = nullptr;
  };
  friend struct BlockRefs;
  explicit BlockRef(Local* local) noexcept : local_(local) {}
  [[noreturn]] void refuse() const;

  Local* local_ = nullptr;
};

}  // namespace cohort::detail
