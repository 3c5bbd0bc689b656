// The arena's notes of the names in /dev/shm that go with the program. A record is held by the
// process that made it and by the family's root; when both are gone, however they went, its
// finalizer removes the name.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "arena/owner.hpp"
#include "os/named_memory.hpp"

namespace cohort::shared {

// One record, from the moment it is made to the moment its name is in use. If that does not come,
// the destructor removes the draft and gives the record back.
class NameRecord {
 public:
  NameRecord() = default;  // none
  static NameRecord make();
  NameRecord(NameRecord&& other) noexcept { swap(other); }
  NameRecord& operator=(NameRecord&& other) noexcept {
    swap(other);
    return *this;
  }
  ~NameRecord();

  explicit operator bool() const noexcept { return block_ != 0; }

  // A name for a file that is not complete. Noted before there is such a file.
  std::string note_draft();
  // The file that is about to get this name.
  void note(std::string_view name, os::FileId file);
  void forget_draft();

  // The name is in use: from now on the record lives until forget(), or the end of the program.
  void keep() noexcept;
  // Once the name is removed. From any member of the family; elsewhere nothing happens.
  void forget() noexcept;

 private:
  struct Cell;
  friend struct Records;
  Cell& cell() const;
  void swap(NameRecord& other) noexcept {
    std::swap(block_, other.block_);
    std::swap(owner_, other.owner_);
    std::swap(epoch_, other.epoch_);
    std::swap(kept_, other.kept_);
  }

  arena::Offset block_ = 0;
  arena::Owner owner_;  // tells the record from a later block in its place
  std::uint32_t epoch_ = 0;
  bool kept_ = false;
};

// A name was removed, whose record, if there is one, is not at hand: such records are looked for
// now and then, so that they do not pile up.
void name_was_removed() noexcept;

}  // namespace cohort::shared
