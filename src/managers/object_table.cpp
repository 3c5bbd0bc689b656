#include "managers/object_table.hpp"

#include <algorithm>
#include <bit>
#include <stdexcept>
#include <utility>

#include "managers/object_nodes.hpp"

namespace cohort::managers {

namespace {

constexpr std::size_t kNowhere = ~std::size_t{0};

std::uint32_t short_hash(const Object& key) { return static_cast<std::uint32_t>(key.hash()); }

}  // namespace

std::size_t ObjectTable::find_slot(const Object& key, std::uint32_t hash) const {
  if (slots_.empty()) return kNowhere;
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t i = hash & mask;; i = (i + 1) & mask) {
    const auto& slot = slots_[i];
    if (slot.place == kFree) return kNowhere;
    if (slot.place != kErased && slot.hash == hash &&
        same_element(cells_[slot.place * stride_], key)) {
      return i;
    }
  }
}

Object* ObjectTable::find(const Object& key) const {
  const auto slot = find_slot(key, short_hash(key));
  if (slot == kNowhere) return nullptr;
  return const_cast<Object*>(&cells_[slots_[slot].place * stride_]);
}

std::pair<Object*, bool> ObjectTable::insert(Object key) {
  const auto hash = short_hash(key);
  if (const auto found = find_slot(key, hash); found != kNowhere) {
    return {&cells_[slots_[found].place * stride_], false};
  }
  if ((used_ + 1) * 3 > slots_.size() * 2) rebuild(live_ + 1);
  const auto place = static_cast<std::uint32_t>(cells_.size() / stride_);
  cells_.push_back(std::move(key));
  if (stride_ == 2) cells_.emplace_back();
  const std::size_t mask = slots_.size() - 1;
  std::size_t i = hash & mask;
  while (slots_[i].place != kFree) i = (i + 1) & mask;
  slots_[i] = {place, hash};
  ++live_;
  ++used_;
  return {&cells_[place * stride_], true};
}

bool ObjectTable::erase(const Object& key) {
  const auto found = find_slot(key, short_hash(key));
  if (found == kNowhere) return false;
  const std::size_t cell = slots_[found].place * stride_;
  slots_[found].place = kErased;
  for (std::size_t i = 0; i < stride_; ++i) cells_[cell + i] = ObjectAccess::hole();
  --live_;
  // Holes at the end are gone at once, so that taking the last item again and again is cheap.
  while (!cells_.empty() && ObjectAccess::is_hole(cells_[cells_.size() - stride_])) {
    cells_.resize(cells_.size() - stride_);
  }
  if (live_ == 0) clear();
  return true;
}

void ObjectTable::clear() noexcept {
  cells_.clear();
  slots_.clear();
  live_ = 0;
  used_ = 0;
}

void ObjectTable::reserve(std::size_t keys) {
  if (keys <= live_) return;
  rebuild(keys);
  cells_.reserve(keys * stride_);
}

// Without holes, and with room for half as many keys again.
void ObjectTable::rebuild(std::size_t keys) {
  compact();
  if (keys >= kErased / 2) throw std::length_error("a dict or set has too many elements");
  std::vector<Slot> slots(std::bit_ceil(std::max<std::size_t>(8, keys * 9 / 4)));
  const std::size_t mask = slots.size() - 1;
  for (std::size_t place = 0; place < live_; ++place) {
    const auto hash = short_hash(cells_[place * stride_]);
    std::size_t i = hash & mask;
    while (slots[i].place != kFree) i = (i + 1) & mask;
    slots[i] = {static_cast<std::uint32_t>(place), hash};
  }
  slots_ = std::move(slots);
  used_ = live_;
}

void ObjectTable::compact() {
  if (cells_.size() == live_ * stride_) return;
  std::size_t to = 0;
  for (std::size_t from = 0; from < cells_.size(); from += stride_) {
    if (ObjectAccess::is_hole(cells_[from])) continue;
    if (to != from) {
      for (std::size_t i = 0; i < stride_; ++i) cells_[to + i] = std::move(cells_[from + i]);
    }
    to += stride_;
  }
  cells_.resize(to);
}

}  // namespace cohort::managers
