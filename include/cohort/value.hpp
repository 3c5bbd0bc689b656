// One value in shared memory.
#pragma once

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <type_traits>
#include <utility>

#include "cohort/detail/handle.hpp"
#include "cohort/detail/shared_type.hpp"
#include "cohort/lock.hpp"

namespace cohort {
namespace detail {

template <class T>
consteval bool is_atomic() {
  if constexpr (std::is_trivially_copyable_v<T>) {
    return std::atomic_ref<T>::is_always_lock_free;
  } else {
    return false;
  }
}

// One machine instruction, or a loop of such, reads and writes it.
template <class T>
concept AtomicType = is_atomic<T>();
template <class T>
concept AtomicBits = AtomicType<T> && std::integral<T> && !std::same_as<T, bool>;
template <class T>
concept AtomicNumber = AtomicBits<T> ||(AtomicType<T>&& std::floating_point<T>);

// What Value and RawValue have in common: all that takes no lock.
template <class T>
class SharedCell : public Handle {
  static_assert(check_shared_type<T>());

 public:
  using value_type = T;

  // The value itself, in shared memory. No lock is taken and nothing is atomic: `*v += 1` in two
  // processes loses counts, v.fetch_add(1) or v.with_lock does not. There while a handle is.
  T& data() const { return *std::launder(reinterpret_cast<T*>(place())); }
  T& operator*() const { return data(); }
  T* operator->() const { return std::addressof(data()); }

  // As the members of std::atomic<T>. They take no lock, and so do not wait for a with_lock.
  using Order = std::memory_order;
  T load(Order order = Order::seq_cst) const requires AtomicType<T> { return atomic().load(order); }
  void store(T value, Order order = Order::seq_cst) const requires AtomicType<T> {
    atomic().store(value, order);
  }
  T exchange(T value, Order order = Order::seq_cst) const requires AtomicType<T> {
    return atomic().exchange(value, order);
  }
  // Puts `desired` in the place of `expected`. Answers false when something else was there: then
  // `expected` says what.
  bool compare_exchange(T& expected, T desired,
                        Order order = Order::seq_cst) const requires AtomicType<T> {
    return atomic().compare_exchange_strong(expected, desired, order);
  }
  // These answer the value before.
  T fetch_add(T value, Order order = Order::seq_cst) const requires AtomicNumber<T> {
    return atomic().fetch_add(value, order);
  }
  T fetch_sub(T value, Order order = Order::seq_cst) const requires AtomicNumber<T> {
    return atomic().fetch_sub(value, order);
  }
  T fetch_and(T value, Order order = Order::seq_cst) const requires AtomicBits<T> {
    return atomic().fetch_and(value, order);
  }
  T fetch_or(T value, Order order = Order::seq_cst) const requires AtomicBits<T> {
    return atomic().fetch_or(value, order);
  }
  T fetch_xor(T value, Order order = Order::seq_cst) const requires AtomicBits<T> {
    return atomic().fetch_xor(value, order);
  }

 protected:
  explicit SharedCell(const T& initial) : Handle(make_plain_block(sizeof(T) + kSlack)) {
    std::construct_at(reinterpret_cast<T*>(place()), initial);
  }
  template <class Archive>
  SharedCell(Restore restore, Archive& archive) : Handle(restore, archive) {}

 private:
  static constexpr std::size_t kSlack = alignof(T) > kCellAlignment ? alignof(T) : 0;

  std::byte* place() const {
    std::byte* cell = block().data();
    if constexpr (kSlack == 0) {
      return cell;
    } else {
      const auto address = reinterpret_cast<std::uintptr_t>(cell);
      return cell + (alignof(T) - address % alignof(T)) % alignof(T);
    }
  }
  std::atomic_ref<T> atomic() const { return std::atomic_ref<T>(data()); }
};

}  // namespace detail

// One T, which every process that has a handle reads and writes. T is trivially copyable: a number,
// an enum, a plain struct. Copies of the handle mean the same value; `RawValue<T>(v.get())` is a
// copy of the value.
//
// Any thread of any process of the program may use it. Throws cohort::Error in a child that the
// program itself forked.
template <class T>
class RawValue : public detail::SharedCell<T> {
 public:
  // Throws cohort::Error when shared memory is exhausted.
  explicit RawValue(const T& initial = T()) : detail::SharedCell<T>(initial) {}
  template <class Archive>
  RawValue(detail::Restore restore, Archive& archive) : detail::SharedCell<T>(restore, archive) {}

  // Atomic where a T is; others may be seen half written.
  T get() const {
    if constexpr (detail::AtomicType<T>) {
      return this->load();
    } else {
      return this->data();
    }
  }
  void set(const T& value) const {
    if constexpr (detail::AtomicType<T>) {
      this->store(value);
    } else {
      this->data() = value;
    }
  }
};

// The same with a lock: an RLock of its own, or one of the caller's that several values may share.
//
// When a process dies while it holds the lock, the value may be half changed: get, set and
// with_lock then throw LockOwnerDied, until somebody calls lock().recover(), repairs the value, and
// unlocks.
template <class T>
class Value : public detail::SharedCell<T> {
 public:
  explicit Value(const T& initial = T()) : Value(initial, RLock()) {}
  Value(const T& initial, const BasicLock& lock) : detail::SharedCell<T>(initial), lock_(lock) {}

  T get() const {
    const std::lock_guard guard(lock_);
    return this->data();
  }
  void set(const T& value) const {
    const std::lock_guard guard(lock_);
    this->data() = value;
  }
  // Answers f(value), called with the lock held.
  template <std::invocable<T&> F>
  decltype(auto) with_lock(F&& f) const {
    const std::lock_guard guard(lock_);
    return std::invoke(std::forward<F>(f), this->data());
  }

  const BasicLock& lock() const noexcept { return lock_; }

  template <class Archive>
  void save(Archive& archive) const {
    detail::Handle::save(archive);
    lock_.save(archive);
  }
  template <class Archive>
  Value(detail::Restore restore, Archive& archive)
      : detail::SharedCell<T>(restore, archive), lock_(restore, archive) {}

 private:
  BasicLock lock_;
};

}  // namespace cohort
