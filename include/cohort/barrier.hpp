// Barriers between processes: a number of parties wait for each other.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <type_traits>
#include <utility>

#include "cohort/detail/action.hpp"
#include "cohort/detail/deadline.hpp"
#include "cohort/detail/handle.hpp"
#include "cohort/error.hpp"

namespace cohort {

namespace sync {
struct BarrierCell;
}

// Each round, the last of `parties` to come runs the action, then all go on. A party that dies
// after it came breaks the barrier: the others get BrokenBarrier instead of waiting for ever. (One
// that dies before is known only by a timeout.) A broken barrier stays so until reset().
class Barrier : public detail::Handle {
 public:
  // `parties`: 1 to 2^16, else std::invalid_argument. `action`: a callable without arguments that
  // can cross to other processes; cohort::bind gives it arguments. `timeout`: of waits without one.
  explicit Barrier(std::int64_t parties)
      : Barrier(parties, detail::Action(), std::optional<std::chrono::nanoseconds>()) {}
  // nullptr: no action.
  template <class F>
  Barrier(std::int64_t parties, F&& action,
          std::optional<std::chrono::nanoseconds> timeout = std::nullopt)
      : Barrier(parties, make_action(std::forward<F>(action)), timeout) {}

  // Waits for the other parties. Answers this one's place in the round, 0 for the first that came.
  // Throws BrokenBarrier when the barrier is broken, is reset, a party dies, or time is up, which
  // breaks it for all; and what the action throws, which breaks it for the others.
  std::size_t wait() const { return wait_until_deadline(default_deadline()); }
  template <class Rep, class Period>
  std::size_t wait_for(std::chrono::duration<Rep, Period> limit) const {
    return wait_until_deadline(detail::deadline_after(limit));
  }

  void abort() const;  // breaks it
  // Those who wait get BrokenBarrier; then it is as new. An action that is running then runs on.
  void reset() const;
  std::size_t parties() const;
  std::size_t n_waiting() const;
  bool broken() const;

  friend bool operator==(const Barrier& a, const Barrier& b) noexcept { return a.same_block(b); }
  // <Barrier waiting=N of M>, <Barrier broken>
  friend std::ostream& operator<<(std::ostream& out, const Barrier& barrier);

  template <class Archive>
  void save(Archive& archive) const {
    Handle::save(archive);
    action_.save(archive);
  }
  template <class Archive>
  Barrier(detail::Restore restore, Archive& archive)
      : Handle(restore, archive), action_(restore, archive) {}

 private:
  Barrier(std::int64_t parties, detail::Action action,
          std::optional<std::chrono::nanoseconds> timeout);
  template <class F>
  static detail::Action make_action(F&& action) {
    if constexpr (std::is_null_pointer_v<std::remove_cvref_t<F>>) {
      return {};
    } else {
      return detail::Action(std::forward<F>(action));
    }
  }
  detail::Deadline default_deadline() const;
  std::size_t wait_until_deadline(detail::Deadline deadline) const;
  sync::BarrierCell& cell() const;

  detail::Action action_;
};

}  // namespace cohort
