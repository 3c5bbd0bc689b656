// Contiguous memory to serialize into and out of. Not thread-safe: one message, one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <utility>

namespace cohort::detail {

[[noreturn]] void throw_serialization_error(const char* what);

// Growing output. The derived class decides where the memory lies.
class Writer {
 public:
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  void write(const void* data, std::size_t size) {
    if (static_cast<std::size_t>(end_ - cursor_) < size) [[unlikely]]
      grow(size);
    if (size != 0) std::memcpy(cursor_, data, size);  // memcpy(x, nullptr, 0) is undefined
    cursor_ += size;
  }

  // The next `size` bytes, uninitialized, for the caller to fill before the next call.
  std::byte* reserve(std::size_t size) {
    if (static_cast<std::size_t>(end_ - cursor_) < size) [[unlikely]]
      grow(size);
    std::byte* place = cursor_;
    cursor_ += size;
    return place;
  }

  // Filler (a length and as many bytes) after which `size` bytes lie at a multiple of `alignment`,
  // a power of two up to 16, in this memory.
  void align(std::size_t alignment, std::size_t size) {
    if (static_cast<std::size_t>(end_ - cursor_) < size + 17) [[unlikely]]
      grow(size + 17);
    const auto filler = -(reinterpret_cast<std::uintptr_t>(cursor_) + 1) & (alignment - 1);
    *cursor_++ = static_cast<std::byte>(filler);
    std::memset(cursor_, 0, 16);
    cursor_ += filler;
  }

  std::size_t size() const noexcept { return static_cast<std::size_t>(cursor_ - begin_); }

  // A handle inside the data refers to this arena block. Default: throws SerializationError, since
  // this destination cannot carry handles.
  virtual void attach(std::uint64_t block);

 protected:
  Writer() = default;
  ~Writer() = default;

  // Afterwards at least `at_least` bytes lie between cursor_ and end_, or it has thrown.
  virtual void grow(std::size_t at_least) = 0;

  std::byte* begin_ = nullptr;
  std::byte* cursor_ = nullptr;
  std::byte* end_ = nullptr;
};

// Bytes from malloc.
class HeapBytes {
 public:
  HeapBytes() = default;
  HeapBytes(std::byte* data, std::size_t size) : data_(data), size_(size) {}

  std::byte* data() const noexcept { return data_.get(); }
  std::size_t size() const noexcept { return size_; }
  operator std::span<const std::byte>() const noexcept { return {data_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::byte* p) const noexcept { std::free(p); }
  };
  std::unique_ptr<std::byte, Free> data_;
  std::size_t size_ = 0;
};

class HeapWriter : public Writer {
 public:
  HeapWriter() = default;
  explicit HeapWriter(std::size_t capacity) {
    if (capacity != 0) grow(capacity);
  }
  virtual ~HeapWriter() { std::free(begin_); }

  // Valid until the next call of a non-const member.
  std::span<const std::byte> bytes() const noexcept { return {begin_, size()}; }
  // Hands the memory over; the writer is empty afterwards.
  HeapBytes take() noexcept;
  // Forgets the content, keeps the memory.
  void clear() noexcept { cursor_ = begin_; }

 private:
  void grow(std::size_t at_least) final;
};

// Bounded input. Reading past the end throws SerializationError.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes)
      : begin_(bytes.data()), cursor_(bytes.data()), end_(bytes.data() + bytes.size()) {}
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  virtual ~Reader();

  void read(void* data, std::size_t size) {
    const std::byte* source = take(size);
    if (size != 0) std::memcpy(data, source, size);
  }
  // The next `size` bytes in place; they live as long as the memory under the reader.
  std::span<const std::byte> view(std::size_t size) { return {take(size), size}; }

  std::size_t remaining() const noexcept { return static_cast<std::size_t>(end_ - cursor_); }
  std::size_t position() const noexcept { return static_cast<std::size_t>(cursor_ - begin_); }

  // Counterpart of Writer::attach: a handle is being decoded that refers to this arena block.
  virtual void adopt(std::uint64_t block);

 private:
  const std::byte* take(std::size_t size) {
    if (remaining() < size) [[unlikely]]
      throw_serialization_error("the message is truncated");
    const std::byte* place = cursor_;
    cursor_ += size;
    return place;
  }

  const std::byte* begin_;
  const std::byte* cursor_;
  const std::byte* end_;
};

}  // namespace cohort::detail
