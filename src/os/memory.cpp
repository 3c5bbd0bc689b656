#include "os/memory.hpp"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <limits>

#include "os/call.hpp"

namespace cohort::os {

Fd make_memory_file(const char* label, std::size_t bytes) {
  Fd file =
      Fd::clear_of_stdio(must("memfd_create", [&] { return ::memfd_create(label, MFD_CLOEXEC); }));
  must("ftruncate", [&] { return ::ftruncate(file.get(), static_cast<off_t>(bytes)); });
  return file;
}

std::size_t file_size(int fd) {
  struct stat status {};
  must("fstat", [&] { return ::fstat(fd, &status); });
  return static_cast<std::size_t>(status.st_size);
}

Mapping::Mapping(int fd, std::size_t bytes) : bytes_(bytes) {
  void* place = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (place == MAP_FAILED) fail("mmap", errno);
  data_ = static_cast<std::byte*>(place);
  ::madvise(place, bytes, MADV_DONTDUMP);
}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

Mapping::~Mapping() {
  if (data_) ::munmap(data_, bytes_);
}

void Mapping::punch(std::size_t offset, std::size_t bytes) const noexcept {
  static const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  std::size_t first = (offset + page - 1) / page * page;
  std::size_t last = (offset + bytes) / page * page;
  if (first >= last) return;
  // Locked memory (mlockall) cannot be given back: then it is only zeroed.
  if (::madvise(data_ + first, last - first, MADV_REMOVE) != 0)
    std::memset(data_ + first, 0, last - first);
}

std::size_t file_size_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
    return std::numeric_limits<std::size_t>::max();
  return limit.rlim_cur;
}

}  // namespace cohort::os
