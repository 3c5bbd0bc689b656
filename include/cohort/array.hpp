// Arrays in shared memory.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <mutex>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "cohort/detail/handle.hpp"
#include "cohort/detail/shared_type.hpp"
#include "cohort/lock.hpp"

namespace cohort {
namespace detail {

// So many elements of some size, all zero at first.
class ArrayBlock : public Handle {
 protected:
  ArrayBlock(std::size_t count, std::size_t element_bytes, std::size_t alignment);
  template <class Archive>
  ArrayBlock(Restore restore, Archive& archive) : Handle(restore, archive) {
    locate();
  }

  std::size_t count() const noexcept { return count_; }
  // Throws where the handle is of no use (see BlockRef).
  std::byte* place() const {
    (void)block().data();
    return place_;
  }
  [[noreturn]] void refuse_index(std::size_t index) const;
  [[noreturn]] void refuse_slice(std::size_t first, std::size_t count) const;
  [[noreturn]] void refuse_text(std::size_t length) const;

 private:
  void locate();

  // Where it lies in this process.
  std::byte* place_ = nullptr;
  std::size_t count_ = 0;
};

// Of an array's handle it would not be plain whether the elements or the handle are copied.
template <class Range, class T>
concept ElementsFor =
    !std::derived_from<std::remove_cvref_t<Range>, ArrayBlock> && std::ranges::input_range<Range> &&
    std::convertible_to<std::ranges::range_reference_t<Range>, T>;

}  // namespace detail

// `size()` elements of a trivially copyable type, one after another, aligned to 64 bytes or more. A
// contiguous range. Copies of the handle, in whatever process, mean the same elements: an array of
// any size is passed without copying it. `RawArray<T>(a.span())` is a copy of the elements.
//
// Any thread of any process of the program may use it; the elements are shared as raw memory, for
// std::atomic_ref(a[i]), for a lock of one's own, or for parts that are one process's alone. They
// are there while a handle is: do not keep a span or an iterator longer. Throws cohort::Error in a
// child that the program itself forked.
template <class T>
class RawArray : public detail::ArrayBlock {
  static_assert(detail::check_shared_type<T>());

 public:
  using value_type = T;
  using size_type = std::size_t;
  using difference_type = std::ptrdiff_t;
  using iterator = T*;

  // All bytes zero. Costs no memory until it is touched, from a MiB on. Throws cohort::Error when
  // shared memory is exhausted.
  explicit RawArray(std::size_t size) : ArrayBlock(size, sizeof(T), alignof(T)) {}
  explicit RawArray(std::initializer_list<T> elements) : RawArray(elements.size()) {
    std::ranges::copy(elements, data());
  }
  template <detail::ElementsFor<T> Range>
  explicit RawArray(Range&& elements) : RawArray(from(elements)) {}
  template <class Archive>
  RawArray(detail::Restore restore, Archive& archive) : ArrayBlock(restore, archive) {}

  std::size_t size() const noexcept { return count(); }
  std::size_t size_bytes() const noexcept { return count() * sizeof(T); }
  bool empty() const noexcept { return count() == 0; }

  // Throw IndexError beyond the end. In inner loops take span(), which does not ask.
  T& operator[](std::size_t index) const {
    if (index >= count()) [[unlikely]]
      refuse_index(index);
    return data()[index];
  }
  T& at(std::size_t index) const { return (*this)[index]; }
  T& front() const { return (*this)[0]; }
  T& back() const { return (*this)[empty() ? 0 : count() - 1]; }

  std::span<T> span() const { return {data(), count()}; }
  // `count` elements from `first` on, or all that follow it. Throws IndexError when they are not
  // all there.
  std::span<T> subspan(std::size_t first, std::size_t count = std::dynamic_extent) const {
    if (first > size() || (count != std::dynamic_extent && count > size() - first)) [[unlikely]]
      refuse_slice(first, count);
    return span().subspan(first, count);
  }
  T* data() const { return reinterpret_cast<T*>(place()); }
  T* begin() const { return data(); }
  T* end() const { return data() + count(); }
  void fill(const T& value) const { std::ranges::fill(span(), value); }

  // Of an array of char: the text before its first zero, or all of it.
  std::string text() const requires std::same_as<T, char> {
    return std::string(begin(), std::find(begin(), end(), '\0'));
  }
  // Writes the text, and zeroes behind it. Throws std::length_error when it is longer than the
  // array: then nothing is changed.
  void set_text(std::string_view text) const requires std::same_as<T, char> {
    if (text.size() > count()) refuse_text(text.size());
    std::ranges::fill(std::ranges::copy(text, begin()).out, end(), '\0');
  }

 private:
  template <class Range>
  static RawArray from(Range& elements) {
    if constexpr (std::ranges::forward_range<Range> || std::ranges::sized_range<Range>) {
      const RawArray made(static_cast<std::size_t>(std::ranges::distance(elements)));
      auto element = std::ranges::begin(elements);
      for (T& place : made) {
        place = static_cast<T>(*element);
        ++element;
      }
      return made;
    } else {
      std::vector<T> all;
      for (auto&& element : elements) all.push_back(static_cast<T>(element));
      return from(all);
    }
  }
};

// The same with a lock: an RLock of its own, or one of the caller's that several arrays may share.
// Access to elements does not take it: with_lock does, and std::scoped_lock guard(a.lock()).
//
// When a process dies while it holds the lock, the elements may be half changed: with_lock then
// throws LockOwnerDied, until somebody calls lock().recover(), repairs them, and unlocks.
template <class T>
class Array : public RawArray<T> {
 public:
  explicit Array(std::size_t size) : Array(size, RLock()) {}
  Array(std::size_t size, const BasicLock& lock) : RawArray<T>(size), lock_(lock) {}
  explicit Array(std::initializer_list<T> elements) : Array(elements, RLock()) {}
  Array(std::initializer_list<T> elements, const BasicLock& lock)
      : RawArray<T>(elements), lock_(lock) {}
  template <detail::ElementsFor<T> Range>
  explicit Array(Range&& elements) : Array(std::forward<Range>(elements), RLock()) {}
  template <detail::ElementsFor<T> Range>
  Array(Range&& elements, const BasicLock& lock)
      : RawArray<T>(std::forward<Range>(elements)), lock_(lock) {}

  // Answers f(span), called with the lock held.
  template <std::invocable<std::span<T>> F>
  decltype(auto) with_lock(F&& f) const {
    const std::lock_guard guard(lock_);
    return std::invoke(std::forward<F>(f), this->span());
  }

  const BasicLock& lock() const noexcept { return lock_; }

  template <class Archive>
  void save(Archive& archive) const {
    detail::Handle::save(archive);
    lock_.save(archive);
  }
  template <class Archive>
  Array(detail::Restore restore, Archive& archive)
      : RawArray<T>(restore, archive), lock_(restore, archive) {}

 private:
  BasicLock lock_;
};

template <class T>
RawArray(std::initializer_list<T>) -> RawArray<T>;
template <std::ranges::input_range Range>
RawArray(Range&&) -> RawArray<std::ranges::range_value_t<Range>>;
template <class T>
Array(std::initializer_list<T>) -> Array<T>;
template <std::ranges::input_range Range>
Array(Range&&) -> Array<std::ranges::range_value_t<Range>>;

}  // namespace cohort
