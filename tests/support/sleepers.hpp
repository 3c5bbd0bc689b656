// Who sleeps on a synchronisation object: so that tests act when others wait, and not before.
#pragma once

#include <cstddef>

#include "arena/space.hpp"
#include "member.hpp"

namespace test {

// The block behind a handle.
template <class H>
cohort::arena::Offset block_of(const H& handle) {
  struct Opened : H {
    static auto door() { return &Opened::block; }
  };
  return (handle.*Opened::door())().offset();
}

// How many threads of the family are about to sleep on the object, or sleep.
template <class H>
std::size_t sleepers_on(const H& handle) {
  auto& space = cohort::arena::Space::here();
  auto start = block_of(handle);
  auto end = start + space.heap().capacity(start);
  std::size_t count = 0;
  for (std::uint32_t i = 0; i < space.members().used(); ++i) {
    auto member = space.members().at(i);
    if (!member || space.members().is_dead(member)) continue;
    for (auto& wait : space.members().slot(i).waits) {
      auto place = wait.load();
      count += place >= start && place < end ? 1 : 0;
    }
  }
  return count;
}

template <class H>
bool sleep_comes(const H& handle, std::size_t count) {
  return eventually([&] { return sleepers_on(handle) >= count; });
}

}  // namespace test
