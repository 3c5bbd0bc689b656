// Queues between processes: many producers, many consumers, first in, first out per producer.
//
// Messages are in shared memory: nothing is kept back in the putting process, and what it has put
// outlives it. A process that is killed at any instruction loses what it had taken, and at most
// that; nobody waits for it.
#pragma once

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <initializer_list>
#include <iosfwd>
#include <iterator>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include "cohort/detail/deadline.hpp"
#include "cohort/detail/queue_base.hpp"
#include "cohort/detail/queue_loan.hpp"
#include "cohort/error.hpp"
#include "cohort/serialize.hpp"

namespace cohort {

namespace detail {
template <class T>
constexpr QueuedType queued_type() {
  return {fingerprint<T>(), type_name<T>()};
}
}  // namespace detail

// A queue of T, which is serializable. Every process of the program may use every operation, and
// pass the queue on, also through a queue.
//
// put and get throw QueueShutDown after shutdown(), and InvalidStateError after close(). An object
// that cannot be serialized makes put throw, with nothing put.
template <class T>
class Queue : public detail::QueueBase {
  static_assert(std::is_same_v<T, std::remove_cvref_t<T>>,
                "a queue of values: leave const and & out");
  static constexpr bool kRaw =
      detail::Raw<T> && std::is_trivially_copyable_v<T> && !std::is_empty_v<T>;
  using Element = detail::LoanElementOf<T>;
  static constexpr bool kLends = !std::is_void_v<Element>;
  using Lent = std::conditional_t<kLends, Element, std::byte>;

 public:
  using value_type = T;

  // At most `maxsize` messages at a time, up to 2^31 - 1; 0: as many as memory holds.
  // std::invalid_argument for more.
  explicit Queue(std::size_t maxsize = 0) : Queue(maxsize, Kind::plain) {}

  // Waits for room, without end or until the limit. put_for and try_put answer whether it was put;
  // a limit of zero or less does not wait.
  void put(const T& object) const { put_until_deadline(object, std::nullopt); }
  bool try_put(const T& object) const { return put_until_deadline(object, detail::Clock::now()); }
  template <class Rep, class Period>
  bool put_for(const T& object, std::chrono::duration<Rep, Period> limit) const {
    return put_until_deadline(object, detail::deadline_after(limit));
  }
  template <class Clock, class Duration>
  bool put_until(const T& object, std::chrono::time_point<Clock, Duration> when) const {
    return put_until_deadline(object, detail::deadline_at(when));
  }
  // Throw QueueFull instead.
  void put_nowait(const T& object) const {
    if (!try_put(object)) refuse_full();
  }
  template <class Rep, class Period>
  void put(const T& object, std::chrono::duration<Rep, Period> limit) const {
    if (!put_for(object, limit)) refuse_full();
  }
  // Puts all, in order, many under one lock. Others' messages may come between them.
  // When one of them cannot be serialized, or the queue is shut down meanwhile, some of those
  // before it were put.
  template <std::ranges::input_range Range>
  void put_many(Range&& objects) const;
  void put_many(std::initializer_list<T> objects) const {
    put_many(std::ranges::subrange(objects.begin(), objects.end()));
  }

  // Waits for a message, without end or until the limit; empty when none came.
  T get() const { return std::move(*get_until_deadline(std::nullopt)); }
  std::optional<T> try_get() const { return get_until_deadline(detail::Clock::now()); }
  template <class Rep, class Period>
  std::optional<T> get_for(std::chrono::duration<Rep, Period> limit) const {
    return get_until_deadline(detail::deadline_after(limit));
  }
  template <class Clock, class Duration>
  std::optional<T> get_until(std::chrono::time_point<Clock, Duration> when) const {
    return get_until_deadline(detail::deadline_at(when));
  }
  // Throw QueueEmpty instead.
  T get_nowait() const { return or_refuse(try_get()); }
  template <class Rep, class Period>
  T get(std::chrono::duration<Rep, Period> limit) const {
    return or_refuse(get_for(limit));
  }
  // Waits for a message, then takes those that are there, up to `most`, many under one lock. They
  // go to an output iterator, into an array or span, or to the end of a container. Answers how
  // many: at least one, or, where there is a limit, none when none came.
  template <class Out>
  std::size_t get_many(Out&& out, std::size_t most) const {
    return get_many_into(out, most, std::nullopt);
  }
  template <class Out, class Rep, class Period>
  std::size_t get_many_for(Out&& out, std::size_t most,
                           std::chrono::duration<Rep, Period> limit) const {
    return get_many_into(out, most, detail::deadline_after(limit));
  }
  template <class Out>
  std::size_t try_get_many(Out&& out, std::size_t most) const {
    return get_many_into(out, most, detail::Clock::now());
  }

  // For T that is trivially copyable, or a std::vector or string of such: a message that is written
  // where it will be read, of so many bytes, a multiple of an element's (else
  // std::invalid_argument). Consumers may get() it as well.
  Loan<Lent> loan(std::size_t bytes = sizeof(Lent)) const requires kLends {
    if (bytes % sizeof(Lent) != 0)
      throw std::invalid_argument("loan: the bytes are no multiple of the element's size");
    return Loan<Lent>(bytes);
  }
  // As the others of these names; what was put leaves the loan empty. (Templates, so that braces
  // mean an object.)
  template <std::same_as<Loan<Lent>> L>
  void put(L&& loan) const requires kLends {
    put_block(loan.block_, std::nullopt);
  }
  template <std::same_as<Loan<Lent>> L>
  bool try_put(L&& loan) const requires kLends {
    return put_block(loan.block_, detail::Clock::now());
  }
  template <std::same_as<Loan<Lent>> L, class Rep, class Period>
  bool put_for(L&& loan, std::chrono::duration<Rep, Period> limit) const requires kLends {
    return put_block(loan.block_, detail::deadline_after(limit));
  }
  // As get, without a copy of what was lent.
  View<Lent> get_view() const requires kLends { return std::move(*view_until(std::nullopt)); }
  std::optional<View<Lent>> try_get_view() const requires kLends {
    return view_until(detail::Clock::now());
  }
  template <class Rep, class Period>
  std::optional<View<Lent>> get_view_for(
      std::chrono::duration<Rep, Period> limit) const requires kLends {
    return view_until(detail::deadline_after(limit));
  }

  // `for (T x : q.drain())`: gets until the queue is shut down and empty.
  class Drain;
  Drain drain() const { return Drain(*this); }

  // <Queue of TYPE size=N>
  friend std::ostream& operator<<(std::ostream& out, const Queue& queue) {
    return queue.print(out, "Queue");
  }

  template <class Archive>
  Queue(detail::Restore restore, Archive& archive) : Queue(restore, archive, Kind::plain) {}

 protected:
  Queue(std::size_t maxsize, Kind kind) : QueueBase(maxsize, kind, detail::queued_type<T>()) {
    detail::explain<T, Serializable<T>>();
  }
  template <class Archive>
  Queue(detail::Restore restore, Archive& archive, Kind kind)
      : QueueBase(restore, archive, kind, detail::queued_type<T>()) {}

 private:
  struct Receiver;
  struct Viewer;
  template <class Out>
  struct ManyReceiver;

  static void encode_one(detail::Writer& writer, const void* object) {
    detail::encode(writer, *static_cast<const T*>(object));
  }
  static T or_refuse(std::optional<T> object) {
    if (!object) refuse_empty();
    return std::move(*object);
  }
  bool put_until_deadline(const T& object, detail::Deadline deadline) const {
    if constexpr (kRaw) {
      return put_bytes(std::addressof(object), sizeof(T), deadline);
    } else {
      return put_object(std::addressof(object), encode_one, deadline);
    }
  }
  std::optional<T> get_until_deadline(detail::Deadline deadline) const;
  template <class Out>
  std::size_t get_many_into(Out& out, std::size_t most, detail::Deadline deadline) const;
  template <class Out>
  std::size_t get_many_until(Out& out, std::size_t most, detail::Deadline deadline) const;
  std::optional<View<Lent>> view_until(detail::Deadline deadline) const;
};

// A queue that counts which of its messages were dealt with. A message is unfinished from when it
// is put until the process that got it says task_done(). What a process had got and not said
// task_done() for when it died is *lost*: nobody waits for it.
//
// task_done() in a process that has nothing unfinished counts for another one that has.
template <class T>
class JoinableQueue : public Queue<T> {
 public:
  explicit JoinableQueue(std::size_t maxsize = 0)
      : Queue<T>(maxsize, detail::QueueBase::Kind::joinable) {}

  // Throws InvalidStateError when no message is unfinished that was got.
  void task_done() const { this->finish_one(); }
  // Waits until none is unfinished, or until shutdown(immediate).
  void join() const { this->join_until(std::nullopt); }
  // Answers false when some still were at the end.
  template <class Rep, class Period>
  bool join_for(std::chrono::duration<Rep, Period> limit) const {
    return this->join_until(detail::deadline_after(limit));
  }
  std::size_t unfinished() const { return this->count_unfinished(); }
  // How many were lost so far, as far as it was noticed.
  std::uint64_t lost() const { return this->count_lost(); }

  template <class Archive>
  JoinableQueue(detail::Restore restore, Archive& archive)
      : Queue<T>(restore, archive, detail::QueueBase::Kind::joinable) {}
};

// The least of a queue: without bound, without limits, without shutdown.
template <class T>
class SimpleQueue : private Queue<T> {
 public:
  using value_type = T;

  SimpleQueue() = default;
  using Queue<T>::put;
  using Queue<T>::get;
  using Queue<T>::close;
  using Queue<T>::closed;
  using Queue<T>::save;
  using Queue<T>::watched_block;
  // Throws InvalidStateError when closed.
  bool empty() const {
    if (closed()) throw InvalidStateError("the queue is closed in this process");
    return Queue<T>::empty();
  }
  friend bool operator==(const SimpleQueue& a, const SimpleQueue& b) noexcept {
    return static_cast<const Queue<T>&>(a) == static_cast<const Queue<T>&>(b);
  }

  template <class Archive>
  SimpleQueue(detail::Restore restore, Archive& archive) : Queue<T>(restore, archive) {}
};

}  // namespace cohort

#include "cohort/detail/queue_calls.hpp"
