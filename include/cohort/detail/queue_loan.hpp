// Large payloads that are written and read where they lie.
#pragma once

#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "cohort/detail/codec.hpp"
#include "cohort/detail/queue_base.hpp"
#include "cohort/error.hpp"

namespace cohort::detail {

// What the bytes of a T's payload are, where they lie in one piece: T itself, or the elements of a
// std::vector or std::basic_string. Void for others: they cannot be lent.
template <class T>
struct LoanElement {
  using Type = std::conditional_t<Raw<T> && std::is_trivially_copyable_v<T> &&
                                      !std::is_empty_v<T> && !std::is_same_v<T, bool>,
                                  T, void>;
};
template <class E, class A>
struct LoanElement<std::vector<E, A>> {
  using Type =
      std::conditional_t<std::is_trivially_copyable_v<E> && !std::is_same_v<E, bool>, E, void>;
};
template <class E, class Traits, class A>
struct LoanElement<std::basic_string<E, Traits, A>> {
  using Type = E;
};
template <class T>
using LoanElementOf = typename LoanElement<T>::Type;

template <class E>
std::span<E> elements_in(std::span<std::byte> bytes) {
  return {reinterpret_cast<E*>(bytes.data()), bytes.size() / sizeof(E)};
}
template <class E>
std::span<const E> elements_in(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const E*>(bytes.data()), bytes.size() / sizeof(E)};
}

}  // namespace cohort::detail

namespace cohort {

// Room for a message, to be filled and put. Its bytes are not initialized. Given back when it was
// not put. Movable; for one thread.
template <class E>
class Loan {
 public:
  explicit operator bool() const noexcept { return static_cast<bool>(block_); }
  std::span<std::byte> bytes() const { return block_.bytes(); }
  std::span<E> span() const { return detail::elements_in<E>(bytes()); }
  std::size_t size() const { return span().size(); }
  E* data() const { return span().data(); }
  E* begin() const { return data(); }
  E* end() const { return data() + size(); }
  E& operator[](std::size_t i) const { return span()[i]; }
  E& operator*() const { return span().front(); }
  E* operator->() const { return data(); }

 private:
  template <class T>
  friend class Queue;
  explicit Loan(std::size_t bytes) : block_(bytes) {}
  detail::QueueBlock block_;
};

// A message that is read where it lies, and given back with this. Movable; for one thread.
template <class E>
class View {
 public:
  std::span<const std::byte> bytes() const { return std::as_bytes(span()); }
  std::span<const E> span() const {
    if (auto* block = std::get_if<detail::QueueBlock>(&content_))
      return detail::elements_in<E>(std::span<const std::byte>(block->bytes()));
    return std::get<std::vector<E>>(content_);
  }
  std::size_t size() const { return span().size(); }
  const E* data() const { return span().data(); }
  const E* begin() const { return data(); }
  const E* end() const { return data() + size(); }
  const E& operator[](std::size_t i) const { return span()[i]; }
  const E& operator*() const { return span().front(); }
  const E* operator->() const { return data(); }

 private:
  template <class T>
  friend class Queue;
  View() = default;
  std::variant<std::vector<E>, detail::QueueBlock> content_;  // copied, or in place
};

}  // namespace cohort
