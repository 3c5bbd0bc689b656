// How blocks with a name are made.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "cohort/shared_memory.hpp"

namespace cohort {

struct SharedMemoryMaker {
  // Writes the first content, before anybody can open the block.
  using Fill = std::function<void(std::span<std::byte>)>;

  // An empty name: a generated one.
  static SharedMemory make(std::string_view name, std::size_t bytes, SharedMemoryOptions options,
                           const Fill& fill = {});

  // Where generated names come from, and whether files without a name are tried first. Tests put
  // others here.
  static std::string random_name();
  using NameSource = std::string (*)();
  static inline constinit NameSource name_source = random_name;
  static inline constinit bool nameless_first = true;

 private:
  // Empty when the name is taken.
  static std::optional<SharedMemory> make_once(std::string_view name, std::size_t bytes,
                                               SharedMemoryOptions options, const Fill& fill,
                                               bool nameless);
};

}  // namespace cohort
