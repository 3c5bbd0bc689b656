// What queues of all types have in common.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "cohort/detail/deadline.hpp"
#include "cohort/detail/handle.hpp"
#include "cohort/detail/memory_io.hpp"

namespace cohort::ring {
class RingView;
}

namespace cohort::detail {

// A type as a queue's block notes it.
struct QueuedType {
  std::uint64_t fingerprint;
  std::string_view name;
};

// A block of bytes that travels without being copied.
class QueueBlock {
 public:
  QueueBlock() noexcept = default;
  explicit QueueBlock(std::size_t bytes);
  QueueBlock(QueueBlock&& other) noexcept
      : parcel_(std::exchange(other.parcel_, 0)), epoch_(other.epoch_) {}
  QueueBlock& operator=(QueueBlock&& other) noexcept {
    std::swap(parcel_, other.parcel_);
    std::swap(epoch_, other.epoch_);
    return *this;
  }
  ~QueueBlock();

  explicit operator bool() const noexcept { return parcel_ != 0; }
  // Throws InvalidStateError when empty, or in a child that the host forked.
  std::span<std::byte> bytes() const;

 private:
  friend class QueueBase;
  std::uint64_t parcel_ = 0;
  std::uint32_t epoch_ = 0;
};

// How a received message becomes an object.
struct QueueReceiver {
  virtual void encoded(Reader& reader) = 0;
  // The bytes of a loan.
  virtual void raw(std::span<const std::byte> bytes) = 0;
  // The same, for who can keep the block. Default: raw().
  virtual void block(QueueBlock block) { raw(block.bytes()); }

 protected:
  ~QueueReceiver() = default;
};

class QueueBase : public Handle {
 public:
  // How many messages are there now, the largest number that there may be (0: memory alone bounds
  // it).
  std::size_t size() const;
  std::size_t maxsize() const;
  bool empty() const { return size() == 0; }
  bool full() const;

  // This process puts and gets no more: both throw InvalidStateError. What was put stays for
  // others.
  void close() const;
  bool closed() const noexcept { return block().closed(); }
  // For all processes: no more is put, by anybody, and getting ends when what is there was taken;
  // with `immediate` that is dropped. Whoever waits is woken.
  void shutdown(bool immediate = false) const;
  bool is_shutdown() const;

  friend bool operator==(const QueueBase& a, const QueueBase& b) noexcept {
    return a.same_block(b);
  }
  // What connection::wait needs.
  const BlockRef& watched_block() const noexcept { return block(); }

 protected:
  enum class Kind { plain, joinable };
  QueueBase(std::size_t maxsize, Kind kind, const QueuedType& type)
      : Handle(make(maxsize, kind, type)) {}
  template <class Archive>
  QueueBase(Restore restore, Archive& archive, Kind kind, const QueuedType& type)
      : Handle(restore, archive) {
    check_type(kind, type);
  }

  // ---- putting; false: it stayed full until the deadline
  using Encode = void (*)(Writer&, const void* object);
  bool put_object(const void* object, Encode encode, Deadline deadline) const;
  bool put_bytes(const void* bytes, std::size_t size, Deadline deadline) const;
  bool put_block(QueueBlock& block, Deadline deadline) const;
  // `count` objects of `size` bytes each, in order; answers how many were put before the deadline.
  std::size_t put_array(const void* bytes, std::size_t size, std::size_t count,
                        Deadline deadline) const;
  // Puts encoded objects, many under one lock.
  class PutMany {
   public:
    explicit PutMany(const QueueBase& queue);
    ~PutMany();
    PutMany(const PutMany&) = delete;
    PutMany& operator=(const PutMany&) = delete;
    void add(const void* object, Encode encode);
    void flush();

   private:
    struct State;
    const QueueBase& queue_;
    std::unique_ptr<State> state_;
  };

  // ---- getting; false or 0: it stayed empty until the deadline
  bool get_object(QueueReceiver& receiver, Deadline deadline) const;
  bool get_bytes(void* bytes, std::size_t size, Deadline deadline) const;
  // Waits for one, then takes what is there, up to `most`.
  std::size_t get_array(void* bytes, std::size_t size, std::size_t most, Deadline deadline) const;
  // Takes what is there, and stops before what might fail.
  std::size_t get_more(void* bytes, std::size_t size, std::size_t most) const;
  std::size_t get_objects(QueueReceiver& receiver, std::size_t most, Deadline deadline) const;

  // ---- of joinable queues
  void finish_one() const;
  bool join_until(Deadline deadline) const;
  std::size_t count_unfinished() const;
  std::uint64_t count_lost() const;

  std::ostream& print(std::ostream& out, std::string_view kind) const;
  [[noreturn]] static void refuse_full();
  [[noreturn]] static void refuse_empty();

 private:
  static BlockRef make(std::size_t maxsize, Kind kind, const QueuedType& type);
  void check_type(Kind kind, const QueuedType& type) const;
  void check_open() const;
  template <class Sink>
  std::size_t get_batch(Sink&& sink, std::size_t most, Deadline deadline) const;
  ring::RingView ring() const;
};

}  // namespace cohort::detail
