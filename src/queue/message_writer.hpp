// Serializes a message: small ones into memory that the thread keeps, large ones straight into the
// block that they travel in.
#pragma once

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "arena/space.hpp"
#include "cohort/detail/block_ref.hpp"
#include "cohort/detail/memory_io.hpp"

namespace cohort::queue {

class MessageWriter final : public detail::Writer {
 public:
  explicit MessageWriter(arena::Space& space);
  ~MessageWriter();

  // Held until the writer goes: the handle that was written may go before the message is put.
  void attach(std::uint64_t block) override;

  std::span<const std::byte> bytes() const noexcept { return {begin_, size()}; }
  std::span<const arena::Offset> references() const noexcept { return references_; }
  // The parcel that the message lies in already, which is the caller's now; 0: it is in none.
  arena::Offset take_parcel();
  // Forgets what was written from `size` on, and all references.
  void truncate(std::size_t size) noexcept;

 private:
  void grow(std::size_t at_least) override;

  arena::Space& space_;
  std::vector<std::byte> small_;
  arena::Offset parcel_ = 0;
  std::vector<arena::Offset> references_;
  std::vector<detail::BlockRef> held_;
};

}  // namespace cohort::queue
