#include "os/socket_file.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "os/call.hpp"
#include "os/net.hpp"
#include "os/random.hpp"

namespace cohort::os {
namespace {

constexpr std::string_view kFolder = "/cohort-";
constexpr std::size_t kRandomLetters = 12;
constexpr std::size_t kRoomForName = 16;
constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz234567";

std::string random_letters() {
  std::array<char, kRandomLetters> bytes;
  fill_random(bytes);
  std::string letters;
  for (char byte : bytes) letters += kLetters[static_cast<unsigned char>(byte) % kLetters.size()];
  return letters;
}

}  // namespace

std::string new_folder_path() {
  std::error_code none;
  std::string path = std::filesystem::temp_directory_path(none).string();
  if (none || path.size() + kFolder.size() + kRandomLetters + kRoomForName > kLongestUnixName)
    path = "/tmp";
  while (path.ends_with('/')) path.pop_back();
  return path.append(kFolder).append(random_letters());
}

bool make_private_folder(const std::string& path) {
  if (::mkdir(path.c_str(), S_IRWXU) == 0) return true;
  if (errno != EEXIST) fail("mkdir", errno, path);
  return false;
}

FileId file_at(const char* path) noexcept {
  struct stat status {};
  if (::lstat(path, &status) != 0) return {};
  return {status.st_dev, status.st_ino};
}

void remove_socket_file(const char* path, FileId id) noexcept {
  if (id.inode == 0 || file_at(path) == id) ::unlink(path);
}

void remove_empty_folder(const char* path) noexcept { ::rmdir(path); }

}  // namespace cohort::os
