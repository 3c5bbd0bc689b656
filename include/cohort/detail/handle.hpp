// What the handles of one block share: copies mean the same object, sending one sends a reference.
#pragma once

#include <utility>

#include "cohort/detail/block_ref.hpp"
#include "cohort/detail/restore.hpp"

namespace cohort::detail {

class Handle {
 public:
  template <class Archive>
  void save(Archive& archive) const {
    block_.save(archive);
  }

 protected:
  explicit Handle(BlockRef block) noexcept : block_(std::move(block)) {}
  template <class Archive>
  Handle(Restore, Archive& archive) {
    block_.load(archive);
  }
  ~Handle() = default;
  Handle(const Handle&) = default;
  Handle(Handle&&) noexcept = default;
  Handle& operator=(const Handle&) = default;
  Handle& operator=(Handle&&) noexcept = default;

  const BlockRef& block() const noexcept { return block_; }
  bool same_block(const Handle& other) const noexcept {
    return block_.offset() == other.block_.offset();
  }

 private:
  BlockRef block_;
};

}  // namespace cohort::detail
