#include <algorithm>
#include <cohort/detail/memory_io.hpp>
#include <cohort/error.hpp>
#include <new>

namespace cohort::detail {
namespace {

// Most messages fit, and a larger one grows less often: reallocation is what encoding costs most.
constexpr std::size_t kFirstBytes = 1024;

}  // namespace

void throw_serialization_error(const char* what) { throw SerializationError(what); }

void Writer::attach(std::uint64_t) {
  throw SerializationError("this destination cannot carry cohort handles");
}

void HeapWriter::grow(std::size_t at_least) {
  const std::size_t used = size();
  const std::size_t wanted = std::max<std::size_t>({used + at_least, 2 * used, kFirstBytes});
  if (wanted < at_least) throw std::bad_alloc();
  void* memory = std::realloc(begin_, wanted);
  if (memory == nullptr) throw std::bad_alloc();
  begin_ = static_cast<std::byte*>(memory);
  cursor_ = begin_ + used;
  end_ = begin_ + wanted;
}

HeapBytes HeapWriter::take() noexcept {
  HeapBytes bytes(begin_, size());
  begin_ = cursor_ = end_ = nullptr;
  return bytes;
}

Reader::~Reader() = default;

void Reader::adopt(std::uint64_t) {
  throw SerializationError("this source cannot carry cohort handles");
}

}  // namespace cohort::detail
