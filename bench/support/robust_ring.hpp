// The least that a queue can be whose processes may be killed: a byte ring under two robust
// mutexes, one for each side, with messages handed over by one store. No types, no handles, nothing
// that is ever freed; the mark for a queue to come close to.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "lock_peers.hpp"

namespace bench {

class RobustRing {
 public:
  // `capacity`: a power of two, of bytes; room for two messages. `pauses`: of the CPU between looks
  // at an empty or full ring, before it yields. Few answer sooner, many let the other side work.
  RobustRing(std::size_t capacity, int pauses);
  ~RobustRing();
  RobustRing(const RobustRing&) = delete;
  RobustRing& operator=(const RobustRing&) = delete;

  // As bench::CarriesBytes says.
  void send(std::span<const std::byte> messages, std::size_t count);
  std::size_t receive(std::span<std::byte> messages, std::size_t count);

 private:
  // What sleepers leave word in. A wake-up that is lost with a process costs 100 ms.
  class Bell {
   public:
    template <class Condition>
    void wait(int pauses, Condition&& condition);
    void ring();

   private:
    void sleep();
    std::atomic<std::uint32_t> sleeps_{0};
  };
  struct Side {
    PthreadMutex mutex;
    std::atomic<std::uint64_t> position{0};
    std::uint64_t seen = 0;  // of the other side's position
  };
  struct Cell {
    alignas(64) Side put;
    alignas(64) Side take;
    alignas(64) Bell filled;
    alignas(64) Bell drained;
  };

  std::size_t put_some(std::span<const std::byte> messages, std::size_t size);
  std::size_t take_some(std::span<std::byte> messages, std::size_t size);
  bool has_room(std::size_t size) const;
  bool has_message() const;
  void copy_in(std::uint64_t position, std::span<const std::byte> bytes);
  void copy_out(std::uint64_t position, std::span<std::byte> bytes) const;

  std::size_t capacity_;
  int pauses_;
  Cell* cell_;
  std::byte* data_;
};

}  // namespace bench
