// The archives that a class's own `serialize` sees: real cereal archives over memory, so that types
// which serialize with cereal work as they are.
//
// They take over cereal's dispatch (`process`), so that everything cohort knows goes through its
// own codecs whether or not the user includes <cereal/types/...> too. They are made only when a
// message contains such a class, since cereal's base class holds several hash tables.
#pragma once

#include <cereal/cereal.hpp>
#include <cereal/types/memory.hpp>
#include <cohort/detail/memory_io.hpp>
#include <cohort/detail/restore.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace cohort::detail {

class Encoder;
class Decoder;

template <class T>
inline constexpr char type_tag = 0;  // its address identifies T inside one process
template <class T>
constexpr const void* tag_of() {
  return &type_tag<std::remove_cv_t<T>>;
}

// Class versions seen in this message, by type_tag.
using Versions = std::vector<std::pair<const void*, std::uint32_t>>;

class OutArchive : public cereal::OutputArchive<OutArchive> {
 public:
  explicit OutArchive(Encoder& encoder)
      : cereal::OutputArchive<OutArchive>(this), encoder_(encoder) {}

  Writer& writer() const noexcept;

  // All ways in lead to process: cereal's own would not.
  template <class... T>
  OutArchive& operator()(T&&... values) {
    process(values...);
    return *this;
  }
  template <class T>
  OutArchive& operator&(T&& value) {
    return (*this)(value);
  }
  template <class T>
  OutArchive& operator<<(T&& value) {
    return (*this)(value);
  }
  template <class... T>
  void process(T&&... values) {
    (process_one(values), ...);
  }

  // Runs the class's own save or serialize, however it is spelled.
  template <class T>
  void save_class(const T& object);

  // An identifier of the pointer's object; the top bit is set the first time. Shadows cereal's,
  // which ignores the type: a struct and its first member share an address.
  std::uint32_t share(const std::shared_ptr<const void>& pointer, const void* tag);
  std::uint32_t registerSharedPointer(const std::shared_ptr<const void>& pointer) {
    return share(pointer, shared_tag_);
  }
  void serializeDeferments();

 private:
  template <class T>
  void process_one(const T& value);
  template <class T>
  std::uint32_t class_version();

  Encoder& encoder_;
  const void* shared_tag_ = nullptr;
  std::map<std::pair<const void*, const void*>, std::uint32_t> shared_;
  std::vector<std::shared_ptr<const void>> keep_alive_;  // so that no address is used twice
  std::vector<std::pair<const void*, const void*>> virtual_bases_;
  std::vector<std::function<void()>> deferred_;
  Versions versions_;
};

class InArchive : public cereal::InputArchive<InArchive> {
 public:
  explicit InArchive(Decoder& decoder) : cereal::InputArchive<InArchive>(this), decoder_(decoder) {}

  Reader& reader() const noexcept;

  // All ways in lead to process: cereal's own would not.
  template <class... T>
  InArchive& operator()(T&&... values) {
    process(values...);
    return *this;
  }
  template <class T>
  InArchive& operator&(T&& value) {
    return (*this)(value);
  }
  template <class T>
  InArchive& operator>>(T&& value) {
    return (*this)(value);
  }
  template <class... T>
  void process(T&&... values) {
    (process_one(values), ...);
  }

  template <class T>
  void load_class(T& object);

  // Counterparts of OutArchive::share. The type is checked: bytes from a broken sender must not
  // make a pointer to one type point to another.
  void expect_new(std::uint32_t id, const void* tag);  // before the object is decoded
  void set_shared(std::uint32_t id, std::shared_ptr<void> pointer);
  std::shared_ptr<void> shared(std::uint32_t id, const void* tag) const;

  void registerSharedPointer(std::uint32_t id, std::shared_ptr<void> pointer) {
    expect_new(id, shared_tag_);
    set_shared(id, std::move(pointer));
  }
  std::shared_ptr<void> getSharedPointer(std::uint32_t id) const { return shared(id, shared_tag_); }
  void serializeDeferments();

 private:
  struct Shared {
    std::shared_ptr<void> pointer;
    const void* tag;
  };

  template <class T>
  void process_one(T& value);
  template <class T>
  std::uint32_t class_version();

  Decoder& decoder_;
  const void* shared_tag_ = nullptr;
  std::vector<Shared> shared_;
  std::vector<std::pair<const void*, const void*>> virtual_bases_;
  std::vector<std::function<void()>> deferred_;
  Versions versions_;
};

inline constexpr unsigned kMaxDepth = 3000;
[[noreturn]] void throw_too_deep();

// One message being written: where to, and what must be remembered inside it.
class Encoder {
 public:
  explicit Encoder(Writer& writer) : out(writer) {}
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;

  OutArchive& archive() { return archive_ ? *archive_ : archive_.emplace(*this); }
  // A length: one byte, or nine if it is 255 or more.
  void count(std::size_t n) {
    if (n < 0xFF) [[likely]] {
      const auto byte = static_cast<unsigned char>(n);
      out.write(&byte, 1);
    } else {
      std::byte* place = out.reserve(9);
      const std::uint64_t wide = n;
      place[0] = std::byte{0xFF};
      std::memcpy(place + 1, &wide, 8);
    }
  }
  void byte(unsigned char b) { out.write(&b, 1); }

  Writer& out;
  unsigned depth = 0;

 private:
  std::optional<OutArchive> archive_;
};

// One message being read.
class Decoder {
 public:
  explicit Decoder(Reader& reader) : in(reader) {}
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  InArchive& archive() { return archive_ ? *archive_ : archive_.emplace(*this); }
  // A length, checked before anything is allocated: that many elements of at least `each` bytes (at
  // least one) fit into the rest.
  std::size_t count(std::size_t each) {
    std::uint64_t n = byte();
    if (n == 0xFF) [[unlikely]]
      in.read(&n, 8);
    if (n > in.remaining() / (each == 0 ? 1 : each)) [[unlikely]] {
      throw_serialization_error("a length exceeds the message");
    }
    return static_cast<std::size_t>(n);
  }
  unsigned char byte() {
    unsigned char b = 0;
    in.read(&b, 1);
    return b;
  }

  Reader& in;
  unsigned depth = 0;

 private:
  std::optional<InArchive> archive_;
};

inline Writer& OutArchive::writer() const noexcept { return encoder_.out; }
inline Reader& InArchive::reader() const noexcept { return decoder_.in; }

// Bounds recursion, so that a long chain of pointers is an error and not a stack overflow.
template <class Coder>
class Nesting {
 public:
  explicit Nesting(Coder& coder) : depth_(coder.depth) {
    if (depth_ >= kMaxDepth) [[unlikely]]
      throw_too_deep();
    ++depth_;
  }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;
  ~Nesting() { --depth_; }

 private:
  unsigned& depth_;
};

}  // namespace cohort::detail

CEREAL_REGISTER_ARCHIVE(cohort::detail::OutArchive)
CEREAL_REGISTER_ARCHIVE(cohort::detail::InArchive)
CEREAL_SETUP_ARCHIVE_TRAITS(cohort::detail::InArchive, cohort::detail::OutArchive)
