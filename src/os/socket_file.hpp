// The files that Unix sockets with a path leave in the file system.
#pragma once

#include <string>

#include "os/named_memory.hpp"

namespace cohort::os {

// A path for a folder that does not exist yet, under the temporary directory or, where the path of
// a socket in there would be too long, under /tmp.
std::string new_folder_path();
// Makes the folder, for this user alone. False when there is one already.
bool make_private_folder(const std::string& path);

// What lies at this path; inode 0 when nothing does.
FileId file_at(const char* path) noexcept;
// Removes what lies there. An `id` with an inode: only if it is that file.
void remove_socket_file(const char* path, FileId id) noexcept;
void remove_empty_folder(const char* path) noexcept;

}  // namespace cohort::os
