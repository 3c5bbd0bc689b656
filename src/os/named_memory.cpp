#include "os/named_memory.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "os/call.hpp"
#include "os/memory.hpp"

namespace cohort::os {
namespace {

constexpr mode_t kOwnerOnly = 0600;

std::string path_of(std::string_view name) {
  std::string path(named_memory_folder);
  return path.append("/").append(name);
}

FileId id_of(const struct stat& status) { return {status.st_dev, status.st_ino}; }

[[noreturn]] void fail_in_folder(const char* call, int error, const std::string& path) {
  std::string folder(named_memory_folder);
  if (error == ENOENT || error == ENOTDIR)
    fail(call, error, folder + " is missing: mount a tmpfs there");
  if (error == EROFS || error == EACCES)
    fail(call, error, folder + " cannot be written: mount a writable tmpfs there");
  if (error == EMFILE || error == ENFILE)
    fail(call, error, path + ": no descriptors left, raise ulimit -n");
  fail(call, error, path);
}

void set_size(int fd, std::size_t bytes) {
  // Else the system would answer with a signal.
  if (bytes > file_size_limit()) fail("ftruncate", EFBIG, "raise the limit on files, ulimit -f");
  if (retry([&] { return ::ftruncate(fd, static_cast<off_t>(bytes)); }) == 0) return;
  // More than an off_t can say is as much too large as more than the system takes.
  fail("ftruncate", errno == EINVAL ? EFBIG : errno, std::to_string(bytes) + " bytes");
}

Fd sized(int raw, std::size_t bytes) {
  Fd file = Fd::clear_of_stdio(raw);
  set_size(file.get(), bytes);
  return file;
}

int link_to(const std::string& from, int flags, std::string_view name) {
  std::string path = path_of(name);
  if (::linkat(AT_FDCWD, from.c_str(), AT_FDCWD, path.c_str(), flags) == 0) return 0;
  if (errno == EEXIST || errno == ENOENT) return errno;
  fail_in_folder("linkat", errno, path);
}

}  // namespace

FileId file_id(int fd) {
  struct stat status {};
  must("fstat", [&] { return ::fstat(fd, &status); });
  return id_of(status);
}

Fd make_nameless_memory(std::size_t bytes) {
  int raw =
      retry([] { return ::open(named_memory_folder, O_TMPFILE | O_RDWR | O_CLOEXEC, kOwnerOnly); });
  if (raw >= 0) return sized(raw, bytes);
  if (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL) return Fd();
  fail_in_folder("open(O_TMPFILE)", errno, named_memory_folder);
}

Fd make_named_memory(std::string_view name, std::size_t bytes) {
  std::string path = path_of(name);
  int raw = retry([&] {
    return ::open(path.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, kOwnerOnly);
  });
  if (raw < 0) fail_in_folder("open(O_CREAT)", errno, path);
  return sized(raw, bytes);
}

int name_memory(int nameless, std::string_view name) {
  return link_to("/proc/self/fd/" + std::to_string(nameless), AT_SYMLINK_FOLLOW, name);
}

int name_memory(std::string_view present_name, std::string_view name) {
  return link_to(path_of(present_name), 0, name);
}

Fd open_named_memory(std::string_view name) {
  std::string path = path_of(name);
  // Not to wait, should it be no memory file but a pipe.
  int raw =
      retry([&] { return ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK); });
  if (raw < 0 && (errno == EMFILE || errno == ENFILE))
    fail("shm_open", errno, path + ": no descriptors left, raise ulimit -n");
  if (raw < 0) fail("shm_open", errno, path);
  return Fd::clear_of_stdio(raw);
}

bool is_named(std::string_view name, FileId file) noexcept {
  struct stat status {};
  return ::lstat(path_of(name).c_str(), &status) == 0 && id_of(status) == file;
}

int remove_name(std::string_view name) noexcept {
  return ::unlink(path_of(name).c_str()) == 0 ? 0 : errno;
}

void remove_name_of(FileId file, std::string_view name) noexcept {
  if (is_named(name, file)) remove_name(name);
}

}  // namespace cohort::os
