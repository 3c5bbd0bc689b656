// The values that a pickle has made so far, those that it may refer to again, and what they cost.
// Whatever goes beyond a limit is refused here, before memory is taken.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "cohort/object.hpp"
#include "wire/pickle.hpp"
#include "wire/pickle_classes.hpp"
#include "wire/pickle_input.hpp"

namespace cohort::wire {

// Of a value with everything in it, what is shared counted at every place.
struct PickleWeight {
  std::uint64_t bytes = 0;
  std::uint32_t values = 1;
  std::uint16_t depth = 0;
};

struct PickleEntry {
  // What may be more than a value.
  enum class Role : std::uint8_t {
    value,
    label,               // a class, to be called; the value is (module, name)
    unfinished,          // a Token that waits for its state
    reconstructor_args,  // a tuple with a class in front
  };
  static constexpr std::uint32_t kNoMemo = 0xffff'ffff;

  managers::Object value{};
  PickleWeight weight{};
  std::uint32_t memo = kNoMemo;  // where it is remembered
  Role role = Role::value;
  ClassKind kind = ClassKind::unknown;  // of a label
  bool settled = false;                 // others have it too: it may not change any more
};

class PickleStack {
 public:
  PickleStack(const PickleInput& input, const PickleLimits& limits);

  const PickleLimits& limits() const noexcept { return limits_; }

  // Memory that is about to be taken. What is thrown away again counts as well: nobody needs it.
  void charge(std::uint64_t bytes);
  void check_depth(std::size_t depth) const;

  PickleEntry& push(managers::Object value, PickleWeight weight = {});
  PickleEntry& push_string(managers::Object value, std::uint64_t bytes);
  PickleEntry& top() { return entries_[first_of(1)]; }
  PickleEntry pop();
  // Where the last `number` values begin. They do not reach across an open mark.
  std::size_t first_of(std::size_t number) const;
  std::size_t size() const noexcept { return entries_.size(); }
  PickleEntry& operator[](std::size_t index) { return entries_[index]; }
  std::span<PickleEntry> above(std::size_t from) { return std::span(entries_).subspan(from); }
  // The values above, taken out of their entries.
  std::vector<managers::Object> take_above(std::size_t from);
  void drop(std::size_t from) { entries_.resize(from); }
  // The only value, at the end.
  managers::Object finish();

  void open_mark();
  std::size_t take_mark();
  void pop_value_or_mark();

  void remember(std::uint64_t index);
  void remember_next() { remember(memo_.size()); }
  void recall(std::uint64_t index);

  // Refuses what is no value: a class, an object without its state.
  void require_value(const PickleEntry& entry) const;
  // Refuses a change of what was referred to, so that nothing can come to contain itself.
  void require_changeable(const PickleEntry& entry) const;
  // What a container of these weighs.
  PickleWeight weigh(std::span<const PickleEntry> entries) const;
  // An entry has got what weighs so much.
  void grow(PickleEntry& entry, const PickleWeight& weight);

 private:
  void count(std::uint64_t values, std::uint64_t bytes);
  void push_entry(PickleEntry entry);

  const PickleInput& input_;
  PickleLimits limits_;
  std::vector<PickleEntry> entries_;
  std::vector<std::size_t> marks_;
  std::vector<PickleEntry> memo_;
  std::uint64_t memory_ = 0;
  std::uint64_t values_ = 0;
  std::uint64_t expanded_ = 0;
};

}  // namespace cohort::wire
