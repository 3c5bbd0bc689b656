#include "connection/listener_file.hpp"

#include <atomic>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <utility>

#include "arena/shared_block.hpp"
#include "arena/space.hpp"
#include "os/socket_file.hpp"
#include "os/step.hpp"

namespace cohort::connection {

using arena::BlockKind;
using arena::Offset;
using arena::Space;

// Behind it lie two texts, each with a zero at its end: the paths of the file and of its folder.
// Written in such an order that the note of a process that was killed says no more than is true.
struct ListenerNote {
  std::uint64_t folder_at;  // where the folder's path begins; 0: it has no folder of its own
  std::uint64_t device;
  std::atomic<std::uint64_t> inode;  // 0: not bound, as far as is known

  char* text() noexcept { return reinterpret_cast<char*>(this + 1); }
};

namespace {

constexpr const char* kNameInFolder = "/listener";

ListenerNote& note_in(Space& space, Offset block) {
  return space.cell<ListenerNote>(arena::cell_of(block));
}

void remove_noted(Space& space, Offset block) {
  ListenerNote& note = note_in(space, block);
  const std::uint64_t inode = note.inode.load(std::memory_order_acquire);
  // In a folder of its own it may be there though that was not noted any more.
  if (inode != 0 || note.folder_at != 0) os::remove_socket_file(note.text(), {note.device, inode});
  if (note.folder_at != 0) os::remove_empty_folder(note.text() + note.folder_at);
}

const bool registered = [] {
  arena::set_finalizer(BlockKind::socket_file, remove_noted);
  return true;
}();

// Held by this process alone: when it is gone, however that came, the finalizer runs.
Offset make_note(const std::string& path, const std::string& folder) {
  Space& space = Space::here();
  const Offset block = arena::make_shared_block(
      space, sizeof(ListenerNote) + path.size() + folder.size() + 2, BlockKind::socket_file);
  ListenerNote& note = note_in(space, block);
  std::memcpy(note.text(), path.data(), path.size());
  std::memcpy(note.text() + path.size() + 1, folder.data(), folder.size());
  if (!folder.empty()) note.folder_at = path.size() + 1;
  return block;
}

}  // namespace

std::unique_ptr<ListenerFile> ListenerFile::at(const std::string& path) {
  return std::unique_ptr<ListenerFile>(new ListenerFile(path, {}));
}

std::unique_ptr<ListenerFile> ListenerFile::in_new_folder() {
  for (;;) {
    const std::string folder = os::new_folder_path();
    std::unique_ptr<ListenerFile> file(new ListenerFile(folder + kNameInFolder, folder));
    os::step("listener.noted");
    if (os::make_private_folder(folder)) return file;
  }
}

// The note has the absolute path: the working directory may be another when the file is removed.
ListenerFile::ListenerFile(std::string path, std::string folder) : path_(std::move(path)) {
  const Offset block = make_note(std::filesystem::absolute(path_), folder);
  note_ = &note_in(Space::here(), block);
  removal_.emplace(
      [block, epoch = Space::epoch()] {
        Space& space = Space::here();
        if (epoch == Space::epoch()) arena::let_go(space, block, space.self());
      },
      FinalizerOptions{.exit_priority = 0});
}

void ListenerFile::bound() noexcept {
  os::step("listener.bound");
  const os::FileId file = os::file_at(note_->text());
  note_->device = file.device;
  note_->inode.store(file.inode, std::memory_order_release);
  os::step("listener.bound_and_noted");
}

}  // namespace cohort::connection
