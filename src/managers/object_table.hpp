// The hash table behind dicts and sets: elements in the order of insertion, with an index beside
// them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "cohort/object.hpp"

namespace cohort::managers {

class ObjectTable {
 public:
  // 2: keys with values, 1: keys alone.
  explicit ObjectTable(std::size_t stride) noexcept : stride_(stride) {}

  std::size_t size() const noexcept { return live_; }
  std::size_t stride() const noexcept { return stride_; }
  // Key, value, key, value, with holes where something was erased.
  const std::vector<Object>& cells() const noexcept { return cells_; }
  std::vector<Object>& cells() noexcept { return cells_; }

  // The key's cell, after which its value lies; null when missing.
  Object* find(const Object& key) const;
  // The key's cell, new (with None as value) or not.
  std::pair<Object*, bool> insert(Object key);
  bool erase(const Object& key);
  void clear() noexcept;
  void reserve(std::size_t keys);

 private:
  struct Slot {
    std::uint32_t place = kFree;  // of the key, counted in strides
    std::uint32_t hash = 0;
  };
  static constexpr std::uint32_t kFree = 0xffff'ffff;
  static constexpr std::uint32_t kErased = 0xffff'fffe;

  std::size_t find_slot(const Object& key, std::uint32_t hash) const;
  void rebuild(std::size_t keys);
  void compact();

  std::size_t stride_;
  std::size_t live_ = 0;
  std::size_t used_ = 0;  // slots that are not free: those erased are in the way until a rebuild
  std::vector<Object> cells_;
  std::vector<Slot> slots_;  // a power of two
};

}  // namespace cohort::managers
