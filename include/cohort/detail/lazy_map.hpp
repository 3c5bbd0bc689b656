// Results of many items, in chunks that are drawn from the input as results are taken.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <deque>
#include <exception>
#include <iterator>
#include <memory>
#include <optional>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cohort/detail/call_state.hpp"
#include "cohort/detail/completions.hpp"
#include "cohort/detail/deadline.hpp"
#include "cohort/error.hpp"

namespace cohort::detail {

// One item of a chunk: what it returned, or what it threw.
template <class R>
struct ItemOutcome {
  std::optional<StoredResult<R>> value{};
  std::exception_ptr error{};
};

// Only moved, so that nothing is kept of results that were given out.
template <class R>
struct Chunk : std::vector<ItemOutcome<R>> {
  using std::vector<ItemOutcome<R>>::vector;
  Chunk() = default;
  Chunk(Chunk&&) noexcept = default;
  Chunk& operator=(Chunk&&) noexcept = default;
};
template <class R>
using ChunkState = ResultState<Chunk<R>>;

struct LazyMapOptions {
  std::size_t window = 0;  // chunks out at most; 0: all are submitted by the constructor
  bool ordered = true;     // in the order of the items; else chunks in the order of their ends
  CallDeadline deadline{};
};

// A single-pass input range that only moves, for one thread at a time.
//
// An item that failed throws when it is asked for, by * or next(), and the next item can be asked
// for after it, by ++, next() or another loop. A chunk that failed as a whole counts as one item.
// So does what the input throws, after which nothing comes. When the deadline has passed, what is
// not there yet is given up: TimeoutError, and then the end. The items of calls that return void
// are `true`.
template <class R>
class LazyMap {
  class Impl;

 public:
  using Options = LazyMapOptions;
  using value_type = StoredResult<R>;

  class Iterator {
   public:
    using value_type = StoredResult<R>;
    using difference_type = std::ptrdiff_t;

    // Gives the item away: once.
    value_type&& operator*() const { return impl_->give(); }
    Iterator& operator++() {
      impl_->skip();
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const Iterator& it, std::default_sentinel_t) {
      return !it.impl_ || it.impl_->at_end();
    }

   private:
    friend class LazyMap;
    explicit Iterator(Impl* impl) : impl_(impl) {}
    Impl* impl_;
  };

  LazyMap() = default;  // at its end
  // `draw` answers a shared pointer to the ChunkState of the next chunk, submitted, or null at the
  // end of the input.
  template <class Draw>
  requires std::convertible_to<std::invoke_result_t<Draw&>, std::shared_ptr<ChunkState<R>>> LazyMap(
      Draw draw, Options options)
      : impl_(std::make_unique<Impl>(std::make_unique<DrawFrom<Draw>>(std::move(draw)), options)) {}

  Iterator begin() {
    if (impl_) impl_->have_front(std::nullopt);
    return Iterator(impl_.get());
  }
  std::default_sentinel_t end() const noexcept { return {}; }

  // The next item, or nothing at the end. Throws what the item threw.
  std::optional<value_type> next() { return take_next(std::nullopt); }
  // Throws TimeoutError when it is not there in time; it can be asked for again.
  template <class Rep, class Period>
  std::optional<value_type> next(std::chrono::duration<Rep, Period> limit) {
    return take_next(deadline_after(limit));
  }

  // Cancels what has not begun, lets go of all results, and is at its end. So does destruction.
  void close() {
    if (impl_) impl_->close();
  }

  // Throws what the input threw while it was drawn from, if it did, and closes then.
  void check_input() {
    if (impl_) impl_->check_input();
  }

 private:
  struct Source {
    virtual ~Source() = default;
    virtual std::shared_ptr<ChunkState<R>> next() = 0;
  };
  template <class Draw>
  struct DrawFrom final : Source {
    explicit DrawFrom(Draw from) : draw(std::move(from)) {}
    std::shared_ptr<ChunkState<R>> next() override { return draw(); }
    Draw draw;
  };

  std::optional<value_type> take_next(CallDeadline limit) {
    if (!impl_) return std::nullopt;
    if (!impl_->have_front(limit)) throw TimeoutError("the next result was not there in time");
    if (impl_->at_end()) return std::nullopt;
    return std::optional<value_type>(impl_->give());
  }

  std::unique_ptr<Impl> impl_;
};

template <class R>
class LazyMap<R>::Impl {
 public:
  Impl(std::unique_ptr<Source> source, Options options)
      : source_(std::move(source)), options_(options) {
    draw();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { close(); }

  // Fetches an item where none is in front, or the one in front was given; answers false when the
  // limit passed before.
  bool have_front(CallDeadline limit) {
    if (front_ && !given_) return true;
    front_.reset();
    while (at_ == chunk_.size()) {
      chunk_ = {};
      at_ = 0;
      if (waiting() == 0) {
        if (failure_) set_front({std::nullopt, std::exchange(failure_, nullptr)});
        return true;
      }
      if (!fetch_chunk(limit)) return false;
      if (front_) return true;
    }
    ItemOutcome<R>& item = chunk_[at_++];
    set_front(std::move(item));
    item.value.reset();
    return true;
  }
  bool at_end() const { return !front_; }
  StoredResult<R>&& give() {
    given_ = true;
    if (front_->error) std::rethrow_exception(std::exchange(front_->error, nullptr));
    if (!front_->value) throw InvalidStateError("this item threw, and that was told before");
    return std::move(*front_->value);
  }
  void skip() {
    given_ = true;
    have_front(std::nullopt);
  }

  void close() {
    source_.reset();
    for (const auto& call : ordered_) call->cancel();
    for (const auto& [number, call] : unordered_) {
      completions_.forget(*call);
      call->cancel();
    }
    ordered_.clear();
    unordered_.clear();
    chunk_ = {};
    at_ = 0;
    front_.reset();
    failure_ = nullptr;
  }

  void check_input() {
    if (!failure_) return;
    auto failure = failure_;
    close();
    std::rethrow_exception(failure);
  }

 private:
  std::size_t waiting() const { return options_.ordered ? ordered_.size() : unordered_.size(); }

  void set_front(ItemOutcome<R> outcome) {
    front_.emplace(std::move(outcome));
    given_ = false;
  }

  void draw() {
    while (source_ && (options_.window == 0 || waiting() < options_.window)) {
      std::shared_ptr<ChunkState<R>> call;
      try {
        call = source_->next();
      } catch (...) {
        failure_ = std::current_exception();
      }
      if (!call) {
        source_.reset();
        return;
      }
      if (options_.ordered) {
        ordered_.push_back(std::move(call));
      } else {
        auto& kept = unordered_[drawn_] = std::move(call);
        completions_.watch(*kept, drawn_++);
      }
    }
  }

  // Puts the next chunk in place, or what it failed with in front; answers false when the limit
  // passed before.
  bool fetch_chunk(CallDeadline limit) {
    bool own = options_.deadline && (!limit || *options_.deadline <= *limit);
    auto ended = next_ended(own ? options_.deadline : limit);
    if (!ended && !own) return false;
    if (!ended) {
      close();
      set_front({std::nullopt,
                 std::make_exception_ptr(TimeoutError("the results were not there in time"))});
      return true;
    }
    draw();
    try {
      chunk_ = ended->take();
    } catch (...) {
      set_front({std::nullopt, std::current_exception()});
    }
    return true;
  }

  std::shared_ptr<ChunkState<R>> next_ended(CallDeadline deadline) {
    std::shared_ptr<ChunkState<R>> ended;
    if (options_.ordered) {
      // Its own wait may do the work of collecting.
      if (!ordered_.front()->wait_until(deadline)) return nullptr;
      ended = std::move(ordered_.front());
      ordered_.pop_front();
    } else {
      auto number = completions_.next(deadline);
      if (!number) return nullptr;
      ended = std::move(unordered_.extract(*number).mapped());
    }
    return ended;
  }

  std::unique_ptr<Source> source_;  // null at the end of the input
  Options options_;
  std::deque<std::shared_ptr<ChunkState<R>>> ordered_;
  std::unordered_map<std::size_t, std::shared_ptr<ChunkState<R>>> unordered_;
  Completions completions_;
  std::size_t drawn_ = 0;
  std::exception_ptr failure_;  // of the input
  Chunk<R> chunk_;
  std::size_t at_ = 0;
  std::optional<ItemOutcome<R>> front_;
  bool given_ = false;
};

}  // namespace cohort::detail
