// Memory files that have a name: in /dev/shm, where shm_open(3) and other languages look for them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "os/fd.hpp"

namespace cohort::os {

// Tests put another one here, to see what happens where it is missing.
inline constinit const char* named_memory_folder = "/dev/shm";

inline constexpr std::size_t kLongestMemoryName = 255;  // in bytes

// Tells a file from a later one of the same name.
struct FileId {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  friend bool operator==(FileId, FileId) = default;
};
FileId file_id(int fd);

// A sparse memory file of `bytes` without a name, gone with its last descriptor unless it is given
// one. Empty where the file system has no such files.
Fd make_nameless_memory(std::size_t bytes);
// The same with a name, which nobody may have.
Fd make_named_memory(std::string_view name, std::size_t bytes);

// Give a complete file its name, all at once. Answer the errno: 0, EEXIST, or ENOENT where /proc is
// missing; throw on any other.
int name_memory(int nameless, std::string_view name);
int name_memory(std::string_view present_name, std::string_view name);

// For reading and writing. Throws: ENOENT, EACCES, ...
Fd open_named_memory(std::string_view name);

bool is_named(std::string_view name, FileId file) noexcept;
// Answers 0 or an errno.
int remove_name(std::string_view name) noexcept;
void remove_name_of(FileId file, std::string_view name) noexcept;

}  // namespace cohort::os
