// How the templates of cohort/queue.hpp put and get.
#pragma once

#include "cohort/queue.hpp"

namespace cohort {

// Makes one T of a message.
template <class T>
struct Queue<T>::Receiver final : detail::QueueReceiver {
  std::optional<T> object;

  void encoded(detail::Reader& reader) override { object.emplace(detail::decode<T>(reader)); }
  void raw(std::span<const std::byte> bytes) override {
    if constexpr (kLends && !kRaw) {
      auto elements = detail::elements_in<Lent>(bytes);
      object.emplace(elements.begin(), elements.end());
    } else {
      throw SerializationError("a lent message is of another size than this queue's objects");
    }
  }
};

template <class T>
std::optional<T> Queue<T>::get_until_deadline(detail::Deadline deadline) const {
  if constexpr (kRaw) {
    alignas(T) std::byte bytes[sizeof(T)];
    if (!get_bytes(bytes, sizeof(T), deadline)) return std::nullopt;
    return *std::launder(reinterpret_cast<T*>(bytes));
  } else {
    Receiver receiver;
    if (!get_object(receiver, deadline)) return std::nullopt;
    return std::move(receiver.object);
  }
}

// ---- batches

namespace detail {

template <class Container, class T>
concept Appendable = requires(Container& container, T&& object) {
  container.push_back(std::forward<T>(object));
};

// Where a T's bytes may be put as they are.
template <class Out, class T>
concept ArrayOf = std::contiguous_iterator<Out> && std::is_same_v<std::iter_value_t<Out>, T>;

template <class Out, class T>
void hand_out(Out& out, T&& object) {
  if constexpr (Appendable<Out, T>) {
    out.push_back(std::forward<T>(object));
  } else if constexpr (std::is_arithmetic_v<std::remove_cvref_t<T>> &&
                       std::is_arithmetic_v<typename std::iterator_traits<Out>::value_type>) {
    // The array's type asks for the conversion.
    *out = static_cast<typename std::iterator_traits<Out>::value_type>(object);
    ++out;
  } else {
    *out = std::forward<T>(object);
    ++out;
  }
}

inline constexpr std::size_t kStagedBytes = 8192;

}  // namespace detail

// Hands out the objects of a batch. One that fails is left out, and the others are not lost by it:
// the first failure is thrown after them.
template <class T>
template <class Out>
struct Queue<T>::ManyReceiver final : detail::QueueReceiver {
  explicit ManyReceiver(Out& to) : out(to) {}
  Out& out;
  std::exception_ptr failure;

  void encoded(detail::Reader& reader) override {
    one([&](Receiver& receiver) { receiver.encoded(reader); });
  }
  void raw(std::span<const std::byte> bytes) override {
    one([&](Receiver& receiver) { receiver.raw(bytes); });
  }
  template <class Make>
  void one(Make&& make) {
    try {
      Receiver receiver;
      make(receiver);
      detail::hand_out(out, std::move(*receiver.object));
    } catch (...) {
      if (!failure) failure = std::current_exception();
    }
  }
};

template <class T>
template <class Out>
std::size_t Queue<T>::get_many_into(Out& out, std::size_t most, detail::Deadline deadline) const {
  if constexpr (std::ranges::contiguous_range<Out> && !detail::Appendable<Out, T>) {
    auto to = std::ranges::data(out);
    return get_many_until(to, std::min<std::size_t>(most, std::ranges::size(out)), deadline);
  } else {
    return get_many_until(out, most, deadline);
  }
}

template <class T>
template <class Out>
std::size_t Queue<T>::get_many_until(Out& out, std::size_t most, detail::Deadline deadline) const {
  if (most == 0) return 0;
  if constexpr (kRaw && detail::ArrayOf<Out, T>) {
    std::size_t count = get_array(std::to_address(out), sizeof(T), most, deadline);
    out += static_cast<std::iter_difference_t<Out>>(count);
    return count;
  } else if constexpr (kRaw && sizeof(T) <= detail::kStagedBytes) {
    constexpr std::size_t kStaged = detail::kStagedBytes / sizeof(T);
    alignas(T) std::byte staged[kStaged * sizeof(T)];
    std::size_t total = 0;
    while (total < most) {
      const std::size_t wanted = std::min(kStaged, most - total);
      const std::size_t count = total ? get_more(staged, sizeof(T), wanted)
                                      : get_array(staged, sizeof(T), wanted, deadline);
      const T* objects = std::launder(reinterpret_cast<const T*>(staged));
      for (std::size_t i = 0; i < count; ++i) detail::hand_out(out, objects[i]);
      total += count;
      if (count < wanted) break;
    }
    return total;
  } else {
    ManyReceiver<Out> receiver(out);
    std::size_t count = get_objects(receiver, most, deadline);
    if (receiver.failure) std::rethrow_exception(receiver.failure);
    return count;
  }
}

template <class T>
template <std::ranges::input_range Range>
void Queue<T>::put_many(Range&& objects) const {
  using Given = std::remove_cvref_t<std::ranges::range_reference_t<Range>>;
  if constexpr (kRaw && std::ranges::contiguous_range<Range> && std::ranges::sized_range<Range> &&
                std::is_same_v<Given, T>) {
    put_array(std::ranges::data(objects), sizeof(T), std::ranges::size(objects), std::nullopt);
  } else if constexpr (kRaw && sizeof(T) <= detail::kStagedBytes) {
    constexpr std::size_t kStaged = detail::kStagedBytes / sizeof(T);
    alignas(T) std::byte staged[kStaged * sizeof(T)];
    std::size_t count = 0;
    for (auto&& object : objects) {
      const T given = static_cast<T>(object);
      std::memcpy(staged + count * sizeof(T), std::addressof(given), sizeof(T));
      if (++count < kStaged) continue;
      put_array(staged, sizeof(T), std::exchange(count, 0), std::nullopt);
    }
    if (count) put_array(staged, sizeof(T), count, std::nullopt);
  } else {
    PutMany batch(*this);
    for (auto&& object : objects) {
      if constexpr (std::is_same_v<Given, T>) {
        batch.add(std::addressof(object), encode_one);
      } else {
        const T given(static_cast<T>(object));
        batch.add(std::addressof(given), encode_one);
      }
    }
    batch.flush();
  }
}

// ---- views

template <class T>
struct Queue<T>::Viewer final : detail::QueueReceiver {
  View<Lent> view;

  void encoded(detail::Reader& reader) override {
    const T object = detail::decode<T>(reader);
    if constexpr (kRaw) {
      view.content_ = std::vector<Lent>{object};
    } else {
      view.content_ = std::vector<Lent>(object.begin(), object.end());
    }
  }
  void raw(std::span<const std::byte> bytes) override {
    auto elements = detail::elements_in<Lent>(bytes);
    view.content_ = std::vector<Lent>(elements.begin(), elements.end());
  }
  void block(detail::QueueBlock block) override { view.content_ = std::move(block); }
};

template <class T>
std::optional<View<typename Queue<T>::Lent>> Queue<T>::view_until(detail::Deadline deadline) const {
  Viewer viewer;
  if (!get_object(viewer, deadline)) return std::nullopt;
  return std::move(viewer.view);
}

// ---- draining

template <class T>
class Queue<T>::Drain {
 public:
  class Iterator {
   public:
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::input_iterator_tag;

    Iterator() = default;
    T&& operator*() const { return std::move(*drain_->current_); }
    Iterator& operator++() {
      drain_->advance();
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const { return !drain_->current_; }

   private:
    friend class Drain;
    explicit Iterator(Drain* drain) : drain_(drain) {}
    Drain* drain_ = nullptr;
  };

  Iterator begin() {
    advance();
    return Iterator(this);
  }
  std::default_sentinel_t end() const { return {}; }

 private:
  friend class Queue;
  explicit Drain(Queue queue) : queue_(std::move(queue)) {}
  void advance() {
    current_.reset();
    try {
      current_.emplace(queue_.get());
    } catch (const QueueShutDown&) {
    }
  }

  Queue queue_;
  mutable std::optional<T> current_;
};

}  // namespace cohort
