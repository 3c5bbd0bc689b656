// Anonymous shared memory and its mapping.
#pragma once

#include <cstddef>
#include <utility>

#include "os/fd.hpp"

namespace cohort::os {

// An unnamed, sparse memory file of `bytes`. Throws std::system_error.
Fd make_memory_file(const char* label, std::size_t bytes);
std::size_t file_size(int fd);

// Owns one shared mapping of a whole file.
class Mapping {
 public:
  Mapping() = default;
  // Reserves address space only; left out of core dumps.
  Mapping(int fd, std::size_t bytes);
  Mapping(Mapping&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  std::byte* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return bytes_; }

  // Gives the pages wholly inside [offset, offset + bytes) back to the system; they read as zero.
  void punch(std::size_t offset, std::size_t bytes) const noexcept;

 private:
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

// The most bytes a file of this process may have, by RLIMIT_FSIZE.
std::size_t file_size_limit();

}  // namespace cohort::os
