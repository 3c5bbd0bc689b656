// A scope for blocks and lists in shared memory: all that is made through it goes with it.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <memory>
#include <utility>
#include <vector>

#include "cohort/shareable_list.hpp"
#include "cohort/shared_memory.hpp"

namespace cohort {

// Needs no server process: should this process be killed, the fork server removes the names at the
// program's end, as of every tracked block. Not for several threads at a time.
class SharedMemoryManager {
 public:
  SharedMemoryManager();
  SharedMemoryManager(SharedMemoryManager&&) noexcept;
  SharedMemoryManager& operator=(SharedMemoryManager&&) noexcept;
  // Shuts down.
  ~SharedMemoryManager();

  // As SharedMemory::create(bytes) and ShareableList(items). Throw InvalidStateError after
  // shutdown().
  SharedMemory shared_memory(std::size_t bytes);
  ShareableList shareable_list(const std::vector<ShareableItem>& items);
  ShareableList shareable_list(std::initializer_list<ShareableItem> items) {
    return shareable_list(std::vector<ShareableItem>(items));
  }

  // Unlinks all that was made and that nobody unlinked before; views of it stay. Repeating it does
  // nothing; nor does calling it in a child that inherited the object by fork.
  void shutdown();

 private:
  struct State;
  State& open() const;
  std::unique_ptr<State> state_;
};

}  // namespace cohort
