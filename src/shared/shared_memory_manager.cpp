#include "cohort/shared_memory_manager.hpp"

#include <system_error>

#include "arena/space.hpp"
#include "cohort/error.hpp"

namespace cohort {

struct SharedMemoryManager::State {
  // Whose it is: a copy in a forked child ends nothing.
  arena::MemberId owner = arena::Space::here().self();
  std::uint32_t epoch = arena::Space::epoch();
  std::vector<SharedMemory> made;
  bool shut_down = false;

  bool is_ours() const {
    return epoch == arena::Space::epoch() && owner == arena::Space::here().self();
  }
  SharedMemory keep(SharedMemory memory) {
    try {
      made.push_back(memory);
    } catch (...) {
      memory.unlink();
      throw;
    }
    return memory;
  }
};

SharedMemoryManager::SharedMemoryManager() : state_(std::make_unique<State>()) {}
SharedMemoryManager::SharedMemoryManager(SharedMemoryManager&&) noexcept = default;

SharedMemoryManager& SharedMemoryManager::operator=(SharedMemoryManager&& other) noexcept {
  SharedMemoryManager before(std::move(*this));  // shut down here
  state_ = std::move(other.state_);
  return *this;
}

SharedMemoryManager::~SharedMemoryManager() {
  try {
    shutdown();
  } catch (const std::exception&) {
    // What could not be unlinked goes with the program.
  }
}

SharedMemoryManager::State& SharedMemoryManager::open() const {
  if (!state_ || state_->shut_down)
    throw InvalidStateError("this SharedMemoryManager was shut down");
  return *state_;
}

SharedMemory SharedMemoryManager::shared_memory(std::size_t bytes) {
  return open().keep(SharedMemory::create(bytes));
}

ShareableList SharedMemoryManager::shareable_list(const std::vector<ShareableItem>& items) {
  State& state = open();
  ShareableList list(items);
  state.keep(list.shm());
  return list;
}

void SharedMemoryManager::shutdown() {
  if (!state_ || state_->shut_down || !state_->is_ours()) return;
  state_->shut_down = true;
  std::exception_ptr failure;
  for (const SharedMemory& memory : state_->made) {
    try {
      memory.unlink();
    } catch (const std::system_error& error) {
      if (error.code() != std::errc::no_such_file_or_directory) failure = std::current_exception();
    }
  }
  state_->made.clear();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace cohort
