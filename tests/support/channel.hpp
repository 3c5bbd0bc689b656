// A way back from a child process, for tests and their programs.
#pragma once

#include <fcntl.h>

#include <chrono>
#include <cohort/process.hpp>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "launch/handle_io.hpp"
#include "ring/ring.hpp"

namespace test {

using cohort::Process;
using cohort::StartMethod;

// When to give up a wait that should have ended long before.
inline cohort::os::Deadline in_time() {
  return cohort::os::Clock::now() + std::chrono::seconds(30);
}

// A handle that carries any serializable values between processes, in order.
class Channel {
 public:
  Channel() = default;
  static Channel make(std::size_t bytes = std::size_t{64} << 10) {
    Channel channel;
    channel.ring_ = cohort::ring::Ring(bytes);
    return channel;
  }

  template <class T>
  void send(const T& value) const {
    cohort::launch::HandleWriter message;
    cohort::detail::encode(message, value);
    if (!ring_.put(message.bytes(), in_time(), message.blocks))
      throw std::runtime_error("the channel stayed full");
  }
  template <class T>
  T receive() const {
    auto message = ring_.take(in_time());
    if (!message) throw std::runtime_error("nothing came through the channel");
    cohort::launch::HandleReader reader(message->bytes());
    return cohort::detail::decode<T>(reader);
  }
  bool empty() const { return ring_.empty(); }

  template <class Archive>
  void serialize(Archive& archive) {
    archive(ring_);
  }

 private:
  cohort::ring::Ring ring_;
};

inline StartMethod method_of(const std::string& name) {
  for (auto method : {StartMethod::fork, StartMethod::forkserver, StartMethod::spawn}) {
    if (cohort::to_string(method) == name) return method;
  }
  throw std::invalid_argument("no start method: " + name);
}

// The open descriptors of this process, the one that lists them left out.
inline std::vector<int> open_descriptors() {
  std::vector<int> numbers;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
    numbers.push_back(std::stoi(entry.path().filename()));
  std::erase_if(numbers, [](int fd) { return ::fcntl(fd, F_GETFD) == -1; });
  return numbers;
}

}  // namespace test
