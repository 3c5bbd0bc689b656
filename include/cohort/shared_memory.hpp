// Memory blocks with a name, as Python's multiprocessing.shared_memory.
#pragma once

#include <cstddef>
#include <iosfwd>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "cohort/detail/restore.hpp"

namespace cohort {

struct SharedMemoryOptions {
  // Whether the name goes with the program, if nobody unlinked it before, however the program ends.
  // false: it stays until somebody unlinks it, or the system is started again.
  bool track = true;
};

// A block of memory that any process of this user may open by its name: of this program, of
// another, of another language. It is the file /dev/shm/NAME, which CPython's SharedMemory opens
// and creates by the same name.
//
// Copies are one object. close() and the last copy's end take this process's view away; the block
// itself lives until unlink() removed its name and the last view of it is gone. Handles may be sent
// to other processes: what is sent is the name.
//
// Names have 1 to 255 bytes, none of them NUL or '/': else std::invalid_argument. Failures of the
// system are std::system_error, which tells the call and the name.
//
// Any thread; but close() not beside other uses of the same object.
class SharedMemory {
 public:
  // A new block of exactly `bytes` zeroes. Nobody ever sees it incomplete. EEXIST: the name is
  // taken. Memory is taken page by page as it is written to; writing when the system has none left
  // is SIGBUS.
  static SharedMemory create(std::string_view name, std::size_t bytes,
                             SharedMemoryOptions options = {});
  // The same under a new name, "psm_" and eight hexadecimal digits.
  static SharedMemory create(std::size_t bytes, SharedMemoryOptions options = {});
  // ENOENT: there is none. Never makes the block go with this program.
  static SharedMemory open(std::string_view name);
  // Opens it, whatever its size, or creates it.
  static SharedMemory open_or_create(std::string_view name, std::size_t bytes,
                                     SharedMemoryOptions options = {});

  const std::string& name() const;
  std::size_t size() const;  // in bytes
  // This process's view. Throws InvalidStateError after close().
  std::span<std::byte> bytes() const;

  // Ends this process's view; repeating it does nothing. What was taken from bytes() must not be
  // used any more.
  void close() const;
  bool closed() const;

  // Removes the name: nobody can open the block any more, views stay. ENOENT: it was removed
  // before, also when the name is another block's by now. May follow close().
  void unlink() const;
  static void unlink(std::string_view name);

  // SharedMemory('psm_00c0ffee', size=4096)
  friend std::ostream& operator<<(std::ostream& out, const SharedMemory& memory);

  // Restoring opens the block. ENOENT: it was unlinked meanwhile.
  template <class Archive>
  void save(Archive& archive) const {
    archive(name());
  }
  template <class Archive>
  SharedMemory(detail::Restore, Archive& archive) : SharedMemory(open(name_in(archive))) {}

 private:
  struct State;
  friend struct SharedMemoryMaker;
  explicit SharedMemory(std::shared_ptr<State> state) noexcept : state_(std::move(state)) {}
  State& state() const;

  template <class Archive>
  static std::string name_in(Archive& archive) {
    std::string name;
    archive(name);
    return name;
  }

  std::shared_ptr<State> state_;
};

}  // namespace cohort
