// A queue of descriptors that the kernel keeps, while any process has its two sockets: nobody's
// death loses what is in it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "os/fd.hpp"

namespace cohort::os {

// What stands beside a descriptor to know it by.
struct DescriptorTag {
  std::uint64_t place = 0;
  std::uint64_t number = 0;
  friend bool operator==(const DescriptorTag&, const DescriptorTag&) = default;
};

// Whoever looks must be the only one, and so must whoever drops: callers hold locks. Should another
// one look at the same time, copy() still never answers anything but what was asked for. Functions
// throw std::system_error.
class DescriptorQueue {
 public:
  DescriptorQueue() = default;  // none
  DescriptorQueue(Fd in, Fd out) noexcept : in_(std::move(in)), out_(std::move(out)) {}
  // An empty queue, with room for some 500.
  static DescriptorQueue make();

  int in() const noexcept { return in_.get(); }
  int out() const noexcept { return out_.get(); }

  // Whether there is room for another descriptor, and a few beyond it for moves to the back.
  bool has_room() const;
  // A copy of the descriptor, at the back. Answers false when there is no room at all.
  bool put(const DescriptorTag& tag, int fd) const;
  // From the front on, until `go_on` says no.
  std::vector<DescriptorTag> tags(const std::function<bool()>& go_on = nullptr) const;
  // A new descriptor for what is at this place, counted from the front, and stays there. Empty when
  // that is something else. EMFILE when there is no number left.
  std::optional<Fd> copy(std::size_t index, const DescriptorTag& expected) const;
  // Gives up the front.
  void drop_front() const;

 private:
  Fd in_;
  Fd out_;
};

}  // namespace cohort::os
