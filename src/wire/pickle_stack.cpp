#include "wire/pickle_stack.hpp"

#include <algorithm>

namespace cohort::wire {

using managers::Object;
using Role = PickleEntry::Role;

PickleStack::PickleStack(const PickleInput& input, const PickleLimits& limits)
    : input_(input), limits_(limits) {
  limits_.depth = std::min(limits_.depth, kMaxDepth);
  limits_.values = std::min<std::size_t>(limits_.values, 0xffff'ffff);
  limits_.memo = std::min<std::size_t>(limits_.memo, PickleEntry::kNoMemo);
}

void PickleStack::charge(std::uint64_t bytes) {
  memory_ += bytes;
  if (memory_ > limits_.memory) input_.refuse("it takes more memory than allowed");
}

void PickleStack::count(std::uint64_t values, std::uint64_t bytes) {
  values_ += values;
  if (values_ > limits_.values) input_.refuse("more values than allowed");
  expanded_ += bytes;
  if (expanded_ > limits_.expanded_bytes) {
    input_.refuse("what is shared would take more memory than allowed");
  }
}

void PickleStack::check_depth(std::size_t depth) const {
  if (depth > limits_.depth) input_.refuse("values are nested too deeply");
}

void PickleStack::push_entry(PickleEntry entry) {
  if (entries_.size() == entries_.capacity()) {
    const auto more = std::max<std::size_t>(16, entries_.capacity());
    charge(more * sizeof(PickleEntry));
    entries_.reserve(entries_.size() + more);
  }
  entries_.push_back(std::move(entry));
}

PickleEntry& PickleStack::push(Object value, PickleWeight weight) {
  count(1, 0);
  PickleEntry entry;
  entry.value = std::move(value);
  entry.weight = weight;
  push_entry(std::move(entry));
  return entries_.back();
}

PickleEntry& PickleStack::push_string(Object value, std::uint64_t bytes) {
  count(0, bytes);
  return push(std::move(value), {.bytes = bytes});
}

PickleEntry PickleStack::pop() {
  auto entry = std::move(top());
  entries_.pop_back();
  return entry;
}

std::size_t PickleStack::first_of(std::size_t number) const {
  const auto bottom = marks_.empty() ? 0 : marks_.back();
  if (entries_.size() - bottom < number) input_.refuse("a value is missing");
  return entries_.size() - number;
}

std::vector<Object> PickleStack::take_above(std::size_t from) {
  std::vector<Object> values;
  values.reserve(entries_.size() - from);
  for (auto& entry : above(from)) values.push_back(std::move(entry.value));
  drop(from);
  return values;
}

Object PickleStack::finish() {
  if (!marks_.empty() || entries_.size() != 1) input_.refuse("an end without exactly one value");
  require_value(entries_.back());
  return std::move(entries_.back().value);
}

void PickleStack::open_mark() {
  if (marks_.size() >= limits_.marks) input_.refuse("more open marks than allowed");
  marks_.push_back(entries_.size());
}

std::size_t PickleStack::take_mark() {
  if (marks_.empty()) input_.refuse("a mark is missing");
  const auto mark = marks_.back();
  marks_.pop_back();
  return mark;
}

void PickleStack::pop_value_or_mark() {
  if (!marks_.empty() && marks_.back() == entries_.size()) {
    marks_.pop_back();
  } else {
    pop();
  }
}

void PickleStack::remember(std::uint64_t index) {
  auto& entry = top();
  if (index != memo_.size()) input_.refuse("a memo entry out of order");
  if (index >= limits_.memo) input_.refuse("more memo entries than allowed");
  if (entry.memo != PickleEntry::kNoMemo) input_.refuse("a value is remembered twice");
  charge(2 * sizeof(PickleEntry));
  entry.memo = static_cast<std::uint32_t>(index);
  memo_.push_back(entry);
}

void PickleStack::recall(std::uint64_t index) {
  if (index >= memo_.size()) input_.refuse("a memo entry that does not exist");
  auto& entry = memo_[index];
  entry.settled = true;
  count(entry.weight.values, entry.weight.bytes);
  push_entry(entry);
}

void PickleStack::require_value(const PickleEntry& entry) const {
  if (entry.role == Role::value) return;
  input_.refuse(entry.role == Role::unfinished ? "an object without its state"
                                               : "a class or function as a value");
}

void PickleStack::require_changeable(const PickleEntry& entry) const {
  const bool recalled = entry.memo != PickleEntry::kNoMemo && memo_[entry.memo].settled;
  if (entry.settled || recalled) {
    input_.refuse("a value changes after it was referred to: it may contain itself");
  }
}

PickleWeight PickleStack::weigh(std::span<const PickleEntry> entries) const {
  PickleWeight sum{.bytes = 0, .values = 1, .depth = 1};
  for (const auto& entry : entries) {
    require_value(entry);
    const auto& weight = entry.weight;
    sum.bytes += weight.bytes;
    sum.values += weight.values;  // all were counted, so that this cannot wrap
    sum.depth = std::max(sum.depth, static_cast<std::uint16_t>(weight.depth + 1));
  }
  check_depth(sum.depth);
  return sum;
}

void PickleStack::grow(PickleEntry& entry, const PickleWeight& weight) {
  entry.weight.bytes += weight.bytes;
  entry.weight.values += weight.values - 1;
  entry.weight.depth = std::max(entry.weight.depth, weight.depth);
  if (entry.memo == PickleEntry::kNoMemo) return;
  memo_[entry.memo].weight = entry.weight;
  memo_[entry.memo].role = entry.role;
}

}  // namespace cohort::wire
