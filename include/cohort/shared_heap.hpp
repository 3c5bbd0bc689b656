// C++ containers in shared memory.
//
//   using String = boost::container::basic_string<char, std::char_traits<char>,
//                                                 cohort::SharedAllocator<char>>;
//   cohort::SharedObject<std::vector<int, cohort::SharedAllocator<int>>> numbers;
//   numbers.with_lock([](auto& all) { all.push_back(1); });
//
// Boost.Container's containers and strings work with SharedAllocator; of the standard library's
// only std::vector does, since the others keep addresses of this process.
#pragma once

#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include "cohort/detail/handle.hpp"
#include "cohort/detail/shared_content.hpp"
#include "cohort/lock.hpp"

namespace cohort {

template <class T>
class SharedAllocator;

namespace detail {
template <class U, class T>
concept ConvertsTo = std::convertible_to<U*, T*>;
template <class U, class T>
concept CastsTo = !ConvertsTo<U, T> && requires(U * pointer) {
  static_cast<T*>(pointer);
};
}  // namespace detail

// A pointer that lies in shared memory and points into it: it keeps the distance from itself, so it
// means the same wherever a process has the memory.
template <class T>
class OffsetPtr {
 public:
  using element_type = T;
  using value_type = std::remove_cv_t<T>;
  using difference_type = std::ptrdiff_t;
  using pointer = OffsetPtr;
  using reference = std::add_lvalue_reference_t<T>;
  using iterator_category = std::random_access_iterator_tag;
  using iterator_concept = std::contiguous_iterator_tag;
  template <class U>
  using rebind = OffsetPtr<U>;

  OffsetPtr() noexcept = default;
  OffsetPtr(T* target) noexcept { set(target); }
  OffsetPtr(const OffsetPtr& other) noexcept { set(other.get()); }
  template <detail::ConvertsTo<T> U>
  OffsetPtr(const OffsetPtr<U>& other) noexcept {
    set(other.get());
  }
  template <detail::CastsTo<T> U>
  explicit OffsetPtr(const OffsetPtr<U>& other) noexcept {
    set(static_cast<T*>(other.get()));
  }
  OffsetPtr& operator=(const OffsetPtr& other) noexcept {
    set(other.get());
    return *this;
  }

  template <std::same_as<T> U>
  static OffsetPtr pointer_to(U& target) noexcept {
    return OffsetPtr(std::addressof(target));
  }

  T* get() const noexcept {
    if (distance_ == kNull) return nullptr;
    return reinterpret_cast<T*>(here() + static_cast<std::uintptr_t>(distance_));
  }
  reference operator*() const noexcept { return *get(); }
  T* operator->() const noexcept { return get(); }
  reference operator[](difference_type index) const noexcept { return get()[index]; }
  explicit operator bool() const noexcept { return distance_ != kNull; }

  OffsetPtr& operator+=(difference_type steps) noexcept {
    set(get() + steps);
    return *this;
  }
  OffsetPtr& operator-=(difference_type steps) noexcept {
    set(get() - steps);
    return *this;
  }
  OffsetPtr& operator++() noexcept { return *this += 1; }
  OffsetPtr& operator--() noexcept { return *this -= 1; }
  OffsetPtr operator++(int) noexcept {
    OffsetPtr before(*this);
    ++*this;
    return before;
  }
  OffsetPtr operator--(int) noexcept {
    OffsetPtr before(*this);
    --*this;
    return before;
  }
  friend OffsetPtr operator+(const OffsetPtr& a, difference_type steps) noexcept {
    return OffsetPtr(a.get() + steps);
  }
  friend OffsetPtr operator+(difference_type steps, const OffsetPtr& a) noexcept {
    return OffsetPtr(a.get() + steps);
  }
  friend OffsetPtr operator-(const OffsetPtr& a, difference_type steps) noexcept {
    return OffsetPtr(a.get() - steps);
  }
  friend difference_type operator-(const OffsetPtr& a, const OffsetPtr& b) noexcept {
    return a.get() - b.get();
  }
  friend bool operator==(const OffsetPtr& a, const OffsetPtr& b) noexcept {
    return a.get() == b.get();
  }
  friend bool operator==(const OffsetPtr& a, std::nullptr_t) noexcept { return !a; }
  friend std::strong_ordering operator<=>(const OffsetPtr& a, const OffsetPtr& b) noexcept {
    return std::compare_three_way()(a.get(), b.get());
  }

 private:
  // The address one behind its own start, where nothing else can begin.
  static constexpr std::ptrdiff_t kNull = 1;

  std::uintptr_t here() const noexcept { return reinterpret_cast<std::uintptr_t>(this); }
  void set(T* target) noexcept {
    distance_ = target
                    ? static_cast<std::ptrdiff_t>(reinterpret_cast<std::uintptr_t>(target) - here())
                    : kNull;
  }

  std::ptrdiff_t distance_ = kNull;
};

// Memory that goes all at once, with the last handle: what containers in shared memory allocate
// from. A process that is killed in the middle of an allocation loses nothing for ever.
class SharedHeap : public detail::Handle {
 public:
  // Throws cohort::Error when shared memory is exhausted.
  SharedHeap() : SharedHeap(0) {}
  template <class T = std::byte>
  SharedAllocator<T> allocator() const {
    return SharedAllocator<T>(*this);
  }
  // How many allocations were made and not given back. Looks at all of shared memory.
  std::size_t allocations() const;

  friend bool operator==(const SharedHeap& a, const SharedHeap& b) noexcept {
    return a.same_block(b);
  }

  template <class Archive>
  SharedHeap(detail::Restore restore, Archive& archive) : Handle(restore, archive) {}

 protected:
  // With a cell of so many zero bytes, aligned to 64.
  explicit SharedHeap(std::size_t cell_bytes);
  std::byte* cell() const { return block().data(); }
  // Everything allocated so far, to be given back later.
  std::vector<std::uint64_t> all_allocations() const;
  void give_back(const std::vector<std::uint64_t>& allocations) const;

 private:
  template <class T>
  friend class SharedAllocator;
  std::uint64_t identity() const {
    (void)block().data();
    return block().offset();
  }
};

namespace detail {
void* allocate_shared(std::uint64_t heap, std::size_t bytes);
void deallocate_shared(std::uint64_t heap, void* place) noexcept;
}  // namespace detail

// A standard allocator from a SharedHeap. It lies in shared memory itself, so it is no handle: the
// heap has to live as long as what was allocated, by a handle elsewhere.
template <class T>
class SharedAllocator {
 public:
  using value_type = T;
  using pointer = OffsetPtr<T>;
  using const_pointer = OffsetPtr<const T>;
  using void_pointer = OffsetPtr<void>;
  using const_void_pointer = OffsetPtr<const void>;
  using size_type = std::size_t;
  using difference_type = std::ptrdiff_t;

  explicit SharedAllocator(const SharedHeap& heap) : heap_(heap.identity()) {}
  template <class U>
  SharedAllocator(const SharedAllocator<U>& other) noexcept : heap_(other.heap_) {}

  // Throws std::bad_array_new_length for more than could ever be; cohort::Error when shared memory
  // is exhausted, or when the heap is gone or another family's.
  pointer allocate(std::size_t count) {
    static_assert(alignof(T) <= detail::kCellAlignment, "allocations are aligned to 64 bytes");
    if (count > max_size()) throw std::bad_array_new_length();
    return pointer(static_cast<T*>(detail::allocate_shared(heap_, count * sizeof(T))));
  }
  void deallocate(pointer place, std::size_t) noexcept {
    detail::deallocate_shared(heap_, place.get());
  }
  std::size_t max_size() const noexcept {
    return std::size_t{std::numeric_limits<std::ptrdiff_t>::max()} / sizeof(T);
  }

  // Whether one can give back what the other has allocated.
  template <class U>
  bool operator==(const SharedAllocator<U>& other) const noexcept {
    return heap_ == other.heap_;
  }

 private:
  template <class U>
  friend class SharedAllocator;
  std::uint64_t heap_;
};

// One C in shared memory with a heap of its own and an RLock. C is a container whose allocator is a
// SharedAllocator, or a class that takes one as the last argument of its constructors; what is in
// it owns nothing but memory of this heap.
//
// When the last handle in all processes goes, the memory goes at once, and **no destructor runs**.
//
// When a process dies while it holds the lock, C may be torn, and may not even be safe to clear:
// with_lock then throws LockOwnerDied until somebody calls lock().recover(); then reset() makes a
// new C, whatever state the old one is in.
template <class C>
class SharedObject : public SharedHeap {
  static_assert(detail::check_shared_content<C>());
  static_assert(alignof(C) <= detail::kCellAlignment, "objects are aligned to 64 bytes");

 public:
  using value_type = C;
  using Allocator = detail::AllocatorOf<C, SharedAllocator<std::byte>>;

  // C(args..., allocator)
  template <class... Args>
  requires std::constructible_from<C, Args..., Allocator>
  explicit SharedObject(Args&&... args) : SharedHeap(sizeof(C)) {
    construct(std::forward<Args>(args)...);
  }
  template <class E>
  requires std::constructible_from<C, std::initializer_list<E>, Allocator>
  explicit SharedObject(std::initializer_list<E> elements) : SharedHeap(sizeof(C)) {
    construct(elements);
  }

  // Answers f(object), called with the lock held.
  template <std::invocable<C&> F>
  decltype(auto) with_lock(F&& f) const {
    const std::lock_guard guard(lock_);
    return std::invoke(std::forward<F>(f), data());
  }
  const BasicLock& lock() const noexcept { return lock_; }

  // The object itself, without the lock.
  C& data() const { return *std::launder(reinterpret_cast<C*>(cell())); }
  C& operator*() const { return data(); }
  C* operator->() const { return std::addressof(data()); }

  // Makes a new C(args..., allocator) in the place of this one, and gives back all that was ever
  // allocated from the heap, by whomever: allocate from it under the lock only. The old one is not
  // looked at: it may be torn, and its destructor does not run. Throws InvalidStateError when this
  // thread does not hold the lock; when C's constructor throws, nothing was given back and C is as
  // torn as before.
  template <class... Args>
  requires std::constructible_from<C, Args..., Allocator>
  void reset(Args&&... args) const {
    if (!lock_.owned()) throw InvalidStateError("reset needs the object's lock");
    const auto old = all_allocations();
    alignas(C) std::byte before[sizeof(C)];
    std::memcpy(before, cell(), sizeof(C));
    try {
      construct(std::forward<Args>(args)...);
    } catch (...) {
      std::memcpy(cell(), before, sizeof(C));
      throw;
    }
    give_back(old);
  }

  template <class Archive>
  void save(Archive& archive) const {
    detail::Handle::save(archive);
    lock_.save(archive);
  }
  template <class Archive>
  SharedObject(detail::Restore restore, Archive& archive)
      : SharedHeap(restore, archive), lock_(restore, archive) {}

 private:
  template <class... Args>
  void construct(Args&&... args) const {
    ::new (static_cast<void*>(cell())) C(std::forward<Args>(args)..., Allocator(*this));
  }

  BasicLock lock_ = RLock();
};

}  // namespace cohort
