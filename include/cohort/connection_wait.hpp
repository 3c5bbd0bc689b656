// Waiting for several things at once: connections, listeners, queues, the ends of processes, and
// any descriptors.
//
//   auto ready = connection::wait({a, b, p.sentinel()}, 2s);
//   if (!ready.empty() && ready[0] == a) ...
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <optional>
#include <ranges>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "cohort/connection.hpp"
#include "cohort/detail/block_ref.hpp"
#include "cohort/detail/deadline.hpp"

namespace cohort::connection {

template <class T>
concept HasDescriptor = requires(const T& object) {
  { object.fileno() } -> std::convertible_to<int>;
};
template <class T>
concept HasWatchedBlock = requires(const T& object) {
  { object.watched_block() } -> std::convertible_to<const detail::BlockRef&>;
};
// What may be waited for: connections and whatever else has a fileno(), queues, descriptors.
template <class T>
concept WaitableObject = HasWatchedBlock<T> || HasDescriptor<T> || std::same_as<T, int>;

// One thing that is waited for. Equal to what it was made from.
class Waitable {
 public:
  Waitable(int fd) noexcept : fd_(fd) {}
  // Throws std::system_error (EBADF) when it is closed.
  template <HasDescriptor T>
  requires(!HasWatchedBlock<T>) Waitable(const T& object) : fd_(object.fileno()) {}
  template <HasWatchedBlock T>
  Waitable(const T& object) : block_(object.watched_block()) {}

  // The descriptor; -1 for a queue.
  int fileno() const noexcept { return fd_; }
  // The queue; empty for a descriptor.
  const detail::BlockRef& watched_block() const noexcept { return block_; }

  friend bool operator==(const Waitable& a, const Waitable& b) noexcept {
    return a.fd_ == b.fd_ && a.block_.offset() == b.block_.offset();
  }
  template <WaitableObject T>
  requires(!std::same_as<T, Waitable>) friend bool operator==(const Waitable& a, const T& b) {
    if constexpr (requires { b.closed(); }) {
      if (b.closed()) return false;
    }
    return a == Waitable(b);
  }

 private:
  int fd_ = -1;
  detail::BlockRef block_{};
};

// How long to wait: any duration, a negative one being none; without one, as long as it takes.
class WaitLimit {
 public:
  WaitLimit(std::nullopt_t = std::nullopt) noexcept {}
  template <class Rep, class Period>
  WaitLimit(std::chrono::duration<Rep, Period> limit) : deadline_(detail::deadline_after(limit)) {}
  template <class Rep, class Period>
  WaitLimit(std::optional<std::chrono::duration<Rep, Period>> limit)
      : deadline_(limit ? detail::deadline_after(*limit) : detail::Deadline()) {}

  detail::Deadline deadline() const noexcept { return deadline_; }

 private:
  detail::Deadline deadline_{};
};

}  // namespace cohort::connection

namespace cohort::detail {
// The positions of those that are ready.
std::vector<std::size_t> wait_for_ready(std::span<const connection::Waitable> objects,
                                        Deadline deadline);
}  // namespace cohort::detail

namespace cohort::connection {

// Waits until at least one is ready, and answers all that are, in the given order; none when the
// limit has passed. Ready is what can be received from at once, be it the end, and it stays ready
// until then. Throws std::system_error: EBADF for a descriptor that is not open.
std::vector<Waitable> wait(std::initializer_list<Waitable> objects, WaitLimit limit = {});

// The same for a range of one kind: the answer's elements are of that kind, too.
template <std::ranges::input_range Range>
requires(WaitableObject<std::ranges::range_value_t<Range>> ||
         std::same_as<std::ranges::range_value_t<Range>, Waitable>)  //
    std::vector<std::ranges::range_value_t<Range>> wait(Range&& objects, WaitLimit limit = {}) {
  std::vector<std::ranges::range_value_t<Range>> all;
  for (auto&& one : objects) all.emplace_back(std::forward<decltype(one)>(one));
  const std::vector<Waitable> waitables(all.begin(), all.end());
  std::vector<std::ranges::range_value_t<Range>> ready;
  for (std::size_t i : detail::wait_for_ready(waitables, limit.deadline()))
    ready.push_back(std::move(all[i]));
  return ready;
}

}  // namespace cohort::connection
