#include "own_channels.hpp"

#include <algorithm>
#include <array>
#include <cohort/connection.hpp>
#include <cohort/queue.hpp>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace bench {
namespace {

using Number = std::uint64_t;
using Bytes = std::vector<std::byte>;
template <std::size_t size>
using Block = std::array<std::byte, size>;

template <class T>
void number(T& message, std::uint64_t n) {
  if constexpr (std::same_as<T, Number>) {
    message = n;
  } else {
    set_number(message, n);
  }
}

template <class T>
std::uint64_t number_in(const T& message) {
  if constexpr (std::same_as<T, Number>) {
    return message;
  } else {
    return number_of(message);
  }
}

template <class T>
T make_message(std::size_t size) {
  if constexpr (std::same_as<T, Bytes>) {
    return Bytes(size);
  } else {
    return T{};
  }
}

template <class T>
class QueueChannel : public Channel {
 public:
  QueueChannel(const Load& load, std::size_t maxsize) : load_(load), queue_(maxsize) {}

  void send(std::size_t count) override {
    if (load_.batch > 1) return send_batches(count);
    T message = make_message<T>(load_.size);
    for (std::size_t i = 1; i <= count; ++i) {
      number(message, i);
      queue_.put(message);
    }
  }
  std::uint64_t receive(std::size_t count) override {
    if (load_.batch > 1) return receive_batches(count);
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < count; ++i) sum += number_in(queue_.get());
    return sum;
  }

 private:
  void send_batches(std::size_t count) {
    std::vector<T> messages(load_.batch, make_message<T>(load_.size));
    for (std::size_t sent = 0; sent < count; sent += load_.batch) {
      for (std::size_t i = 0; i < load_.batch; ++i) number(messages[i], sent + i + 1);
      queue_.put_many(messages);
    }
  }
  std::uint64_t receive_batches(std::size_t count) {
    std::vector<T> messages(load_.batch, make_message<T>(load_.size));
    std::uint64_t sum = 0;
    for (std::size_t got = 0; got < count;) {
      const std::size_t most = std::min(load_.batch, count - got);
      const std::size_t came = queue_.get_many(messages.begin(), most);
      for (std::size_t i = 0; i < came; ++i) sum += number_in(messages[i]);
      got += came;
    }
    return sum;
  }

  Load load_;
  cohort::Queue<T> queue_;
};

// Messages are written where they will be read, and read there.
class LoanChannel : public Channel {
 public:
  explicit LoanChannel(const Load& load) : load_(load) {}

  void send(std::size_t count) override {
    Bytes message(load_.size);
    for (std::size_t i = 1; i <= count; ++i) {
      number(message, i);
      auto loan = queue_.loan(load_.size);
      std::ranges::copy(message, loan.begin());
      queue_.put(std::move(loan));
    }
  }
  std::uint64_t receive(std::size_t count) override {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < count; ++i) sum += number_of(queue_.get_view().bytes());
    return sum;
  }

 private:
  Load load_;
  cohort::Queue<Bytes> queue_;
};

template <class T>
class PipeChannel : public Channel {
 public:
  explicit PipeChannel(const Load& load) : load_(load) {}

  void send(std::size_t count) override {
    const auto& [receiver, sender] = ends_;
    T message = make_message<T>(load_.size);
    for (std::size_t i = 1; i <= count; ++i) {
      number(message, i);
      sender.send(message);
    }
  }
  std::uint64_t receive(std::size_t count) override {
    const auto& [receiver, sender] = ends_;
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < count; ++i) sum += number_in(receiver.template recv<T>());
    return sum;
  }

 private:
  Load load_;
  decltype(cohort::Pipe(false)) ends_ = cohort::Pipe(false);
};

template <template <class> class Ours, class... Args>
std::unique_ptr<Channel> make_own(const Load& load, Args... args) {
  switch (load.size) {
    case 8:
      return std::make_unique<Ours<Number>>(load, args...);
    case 64:
      return std::make_unique<Ours<Block<64>>>(load, args...);
    case 1024:
      return std::make_unique<Ours<Block<1024>>>(load, args...);
    default:
      return std::make_unique<Ours<Bytes>>(load, args...);
  }
}

}  // namespace

Peer own_queue(const Load& load, std::size_t maxsize) {
  const std::string bound = maxsize > 0 ? ", at most " + std::to_string(maxsize) : "";
  return {"Queue" + bound, make_own<QueueChannel>(load, maxsize), ""};
}

Peer own_loans(const Load& load) {
  return {"Queue, lent", std::make_unique<LoanChannel>(load), ""};
}

Peer own_pipe(const Load& load) { return {"Pipe", make_own<PipeChannel>(load), ""}; }

}  // namespace bench
