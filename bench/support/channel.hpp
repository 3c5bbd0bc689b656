// Ways for messages from one process to another, all measured alike.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "ping_pong.hpp"
#include "two_processes.hpp"

namespace bench {

// What passes through a channel: messages of `size` bytes, at least 8, handed over `batch` at a
// time.
struct Load {
  std::size_t size = 8;
  std::size_t batch = 1;
};

// Made before the processes that use it. Each message begins with its number, from 1 on.
class Channel {
 public:
  Channel() = default;
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;
  virtual ~Channel() = default;

  // `count` messages, a multiple of the batch.
  virtual void send(std::size_t count) = 0;
  // Answers the sum of their numbers.
  virtual std::uint64_t receive(std::size_t count) = 0;
};

inline void set_number(std::span<std::byte> message, std::uint64_t number) {
  std::memcpy(message.data(), &number, sizeof number);
}
inline std::uint64_t number_of(std::span<const std::byte> message) {
  std::uint64_t number;
  std::memcpy(&number, message.data(), sizeof number);
  return number;
}

// Carries bytes: send() takes so many messages laid one behind the other and sends them all;
// receive() waits for at least one and for at most that many, and answers how many came.
template <class T>
concept CarriesBytes = requires(T& carrier, std::span<const std::byte> sent,
                                std::span<std::byte> received, std::size_t count) {
  carrier.send(sent, count);
  { carrier.receive(received, count) } -> std::same_as<std::size_t>;
};

template <CarriesBytes Carrier>
class BytesChannel : public Channel {
 public:
  template <class... Args>
  explicit BytesChannel(const Load& load, Args&&... args)
      : load_(load), carrier_(std::forward<Args>(args)...) {}

  void send(std::size_t count) override {
    std::vector<std::byte> messages(load_.size * load_.batch);
    for (std::size_t sent = 0; sent < count; sent += load_.batch) {
      for (std::size_t i = 0; i < load_.batch; ++i) set_number(message(messages, i), sent + i + 1);
      carrier_.send(messages, load_.batch);
    }
  }
  std::uint64_t receive(std::size_t count) override {
    std::vector<std::byte> messages(load_.size * load_.batch);
    std::uint64_t sum = 0;
    for (std::size_t got = 0; got < count;) {
      const std::size_t most = std::min(load_.batch, count - got);
      const std::size_t came = carrier_.receive(std::span(messages).first(most * load_.size), most);
      for (std::size_t i = 0; i < came; ++i) sum += number_of(message(messages, i));
      got += came;
    }
    return sum;
  }

 private:
  std::span<std::byte> message(std::vector<std::byte>& messages, std::size_t i) const {
    return std::span(messages).subspan(i * load_.size, load_.size);
  }

  Load load_;
  Carrier carrier_;
};

// Seconds per message, from when all are ready until the last has come: about `count` messages
// from `pairs` processes, four at most, to as many others. Throws when messages were lost or came
// twice.
double time_transfer(Placement placement, Channel& channel, const Load& load, std::size_t count,
                     std::size_t pairs = 1);

// Seconds until a message has gone one way and another has come back, when neither process does
// anything else.
double time_round_trip(Placement placement, Channel& there, Channel& back, std::size_t count);
double time_round_trip(Placement placement, FutexSignal& there, FutexSignal& back,
                       std::size_t count);

// The same when each has gone to sleep before its message comes: twice the mean of one way.
double time_sleeping_round_trip(Placement placement, Channel& there, Channel& back,
                                std::size_t count);

// Seconds from one CPU to another and back, through a line that both spin on.
double time_between_cpus();

// Whether that is so little that the CPUs are threads of one core: virtual ones may be, for a time.
bool on_one_core(double between_cpus);

}  // namespace bench
