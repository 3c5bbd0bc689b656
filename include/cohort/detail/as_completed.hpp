// Futures in the order of their ends.
#pragma once

#include <cstddef>
#include <deque>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cohort/detail/completions.hpp"
#include "cohort/future.hpp"

namespace cohort::futures {

// A single-pass range: each future once, and nothing of it kept afterwards. Moves, for one thread.
// begin() and ++ wait, and throw TimeoutError when the limit has passed first; then ++ may be
// tried again.
template <class R>
class AsCompleted {
 public:
  class Iterator {
   public:
    using value_type = Future<R>;
    using difference_type = std::ptrdiff_t;

    // Gives the future away: once.
    Future<R>&& operator*() const { return std::move(*range_->front_); }
    Iterator& operator++() {
      range_->advance();
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const Iterator& it, std::default_sentinel_t) { return it.at_end(); }

   private:
    friend class AsCompleted;
    explicit Iterator(AsCompleted* range) : range_(range) {}
    bool at_end() const { return !range_->front_; }
    AsCompleted* range_;
  };

  AsCompleted(std::vector<std::shared_ptr<detail::ResultState<R>>> calls,
              detail::CallDeadline deadline)
      : calls_(std::move(calls)), left_(calls_.size()), deadline_(deadline) {
    for (std::size_t i = 0; i < calls_.size(); ++i) {
      if (calls_[i]->settled()) ready_.push_back(i);
    }
    std::size_t next_ready = 0;
    for (std::size_t i = 0; i < calls_.size(); ++i) {
      if (next_ready < ready_.size() && ready_[next_ready] == i) {
        ++next_ready;
      } else {
        completions_.watch(*calls_[i], i);
      }
    }
  }
  AsCompleted(AsCompleted&&) noexcept = default;
  AsCompleted& operator=(AsCompleted&&) = delete;
  ~AsCompleted() {
    for (const auto& call : calls_) {
      if (call) completions_.forget(*call);
    }
  }

  Iterator begin() {
    if (!begun_) advance();
    return Iterator(this);
  }
  std::default_sentinel_t end() const noexcept { return {}; }

 private:
  void advance() {
    begun_ = true;
    front_.reset();
    if (left_ == 0) return;
    std::size_t number = next();
    front_.emplace(std::move(calls_[number]));
    --left_;
  }

  std::size_t next() {
    if (!ready_.empty()) {
      std::size_t number = ready_.front();
      ready_.pop_front();
      return number;
    }
    if (auto number = completions_.next(deadline_)) return *number;
    throw TimeoutError(std::to_string(left_) + " (of " + std::to_string(calls_.size()) +
                       ") futures unfinished");
  }

  std::vector<std::shared_ptr<detail::ResultState<R>>> calls_;  // null once given out
  std::size_t left_;
  detail::CallDeadline deadline_;
  std::deque<std::size_t> ready_;  // done before
  detail::Completions completions_;
  std::optional<Future<R>> front_;
  bool begun_ = false;
};

}  // namespace cohort::futures
