#include "cohort/shared_memory.hpp"

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <ostream>
#include <random>
#include <stdexcept>
#include <system_error>

#include "cohort/error.hpp"
#include "os/call.hpp"
#include "os/memory.hpp"
#include "os/named_memory.hpp"
#include "os/step.hpp"
#include "shared/name_record.hpp"
#include "shared/shared_memory_maker.hpp"

namespace cohort {

struct SharedMemory::State {
  State(std::string_view its_name, const os::Fd& descriptor, std::size_t bytes)
      : name(its_name), size(bytes), file(os::file_id(descriptor.get())) {
    try {
      view = os::Mapping(descriptor.get(), bytes);
    } catch (const std::system_error& error) {
      os::fail("mmap", error.code().value(),
               "shared memory '" + name + "' of " + std::to_string(bytes) + " bytes");
    }
  }

  std::string name;
  std::size_t size;
  os::FileId file;
  os::Mapping view;
  std::atomic<bool> closed{false};
  shared::NameRecord record;  // ours, if this process created the block
};

namespace {

void check_name(std::string_view name) {
  if (name.empty()) throw std::invalid_argument("shared memory needs a name to be opened by");
  if (name.find('\0') != name.npos)
    throw std::invalid_argument(
        "a name of shared memory cannot contain a NUL, at which the system would cut it");
  if (name.find('/') != name.npos)
    throw std::invalid_argument("a name of shared memory cannot contain '/': '" +
                                std::string(name) + "'");
  if (name.size() > os::kLongestMemoryName)
    throw std::invalid_argument("a name of shared memory has at most " +
                                std::to_string(os::kLongestMemoryName) + " bytes, not " +
                                std::to_string(name.size()));
}

void check_size(std::size_t bytes) {
  if (bytes == 0) throw std::invalid_argument("shared memory cannot be created with 0 bytes");
}

[[noreturn]] void throw_taken(std::string_view name) {
  os::fail("shm_open", EEXIST,
           "shared memory '" + std::string(name) +
               "' is there already: open it, unlink it first, or choose another name");
}

}  // namespace

std::string SharedMemoryMaker::random_name() {
  char text[16];
  std::snprintf(text, sizeof text, "psm_%08x", std::random_device()());
  return text;
}

SharedMemory SharedMemoryMaker::make(std::string_view name, std::size_t bytes,
                                     SharedMemoryOptions options, const Fill& fill) {
  bool given = !name.empty();
  if (given) check_name(name);
  check_size(bytes);
  for (;;) {
    std::string generated = given ? std::string() : name_source();
    std::string_view tried = given ? name : generated;
    if (auto made = make_once(tried, bytes, options, fill, nameless_first)) return *made;
    if (given) throw_taken(name);
  }
}

// The block is complete, and its record written, before it gets its name: a kill in between leaves
// nothing, and nobody sees half a block.
std::optional<SharedMemory> SharedMemoryMaker::make_once(std::string_view name, std::size_t bytes,
                                                         SharedMemoryOptions options,
                                                         const Fill& fill, bool nameless) {
  os::Fd file = nameless ? os::make_nameless_memory(bytes) : os::Fd();
  shared::NameRecord record;
  if (options.track || !file) record = shared::NameRecord::make();
  std::string draft;
  if (!file) {
    draft = record.note_draft();
    file = os::make_named_memory(draft, bytes);
  }
  auto state = std::make_shared<SharedMemory::State>(name, file, bytes);
  if (fill) fill({state->view.data(), bytes});
  if (options.track) record.note(name, state->file);
  int error = draft.empty() ? os::name_memory(file.get(), name) : os::name_memory(draft, name);
  os::step("names.linked");
  if (error == EEXIST) return std::nullopt;
  // Without /proc a file that has no name cannot get one.
  if (error != 0 && nameless) return make_once(name, bytes, options, fill, false);
  if (error != 0) os::fail("linkat", error, name);
  if (!draft.empty()) record.forget_draft();
  if (options.track) {
    record.keep();
    state->record = std::move(record);
  }
  return SharedMemory(std::move(state));
}

SharedMemory SharedMemory::create(std::string_view name, std::size_t bytes,
                                  SharedMemoryOptions options) {
  check_name(name);
  return SharedMemoryMaker::make(name, bytes, options);
}

SharedMemory SharedMemory::create(std::size_t bytes, SharedMemoryOptions options) {
  return SharedMemoryMaker::make({}, bytes, options);
}

SharedMemory SharedMemory::open(std::string_view name) {
  check_name(name);
  os::Fd file = os::open_named_memory(name);
  std::size_t bytes = os::file_size(file.get());
  if (bytes == 0)
    throw Error("shared memory '" + std::string(name) +
                "' has no bytes: another program may be about to create it");
  return SharedMemory(std::make_shared<State>(name, file, bytes));
}

SharedMemory SharedMemory::open_or_create(std::string_view name, std::size_t bytes,
                                          SharedMemoryOptions options) {
  check_size(bytes);
  for (;;) {
    try {
      return open(name);
    } catch (const std::system_error& error) {
      if (error.code() != std::errc::no_such_file_or_directory) throw;
    }
    try {
      return create(name, bytes, options);
    } catch (const std::system_error& error) {
      if (error.code() != std::errc::file_exists) throw;
    }
  }
}

SharedMemory::State& SharedMemory::state() const {
  if (!state_) throw Error("this handle of shared memory is empty: it was moved from");
  return *state_;
}

const std::string& SharedMemory::name() const { return state().name; }
std::size_t SharedMemory::size() const { return state().size; }
bool SharedMemory::closed() const { return state().closed.load(); }

std::span<std::byte> SharedMemory::bytes() const {
  State& mine = state();
  if (mine.closed.load())
    throw InvalidStateError("shared memory '" + mine.name + "' is closed in this process");
  return {mine.view.data(), mine.size};
}

void SharedMemory::close() const {
  State& mine = state();
  if (!mine.closed.exchange(true)) mine.view = os::Mapping();
}

void SharedMemory::unlink() const {
  State& mine = state();
  int error = os::is_named(mine.name, mine.file) ? os::remove_name(mine.name) : ENOENT;
  if (error != 0) os::fail("shm_unlink", error, "shared memory '" + mine.name + "'");
  os::step("names.unlinked");
  if (mine.record) {
    mine.record.forget();
  } else {
    shared::name_was_removed();
  }
}

void SharedMemory::unlink(std::string_view name) {
  check_name(name);
  if (int error = os::remove_name(name))
    os::fail("shm_unlink", error, "shared memory '" + std::string(name) + "'");
  shared::name_was_removed();
}

std::ostream& operator<<(std::ostream& out, const SharedMemory& memory) {
  return out << "SharedMemory('" << memory.name() << "', size=" << memory.size() << ')';
}

}  // namespace cohort
