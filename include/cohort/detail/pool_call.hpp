// An asynchronous call in a pool: what its handles share, with the typed body in it.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "cohort/detail/call_state.hpp"
#include "cohort/detail/lazy_map.hpp"
#include "cohort/detail/pool_calls.hpp"
#include "cohort/detail/task_client.hpp"
#include "cohort/detail/worker_pool.hpp"

namespace cohort::detail {

template <class R>
struct ResultCallback {
  using type = std::function<void(const R&)>;
};
template <>
struct ResultCallback<void> {
  using type = std::function<void()>;
};

// Called before the call counts as done.
template <class R>
struct Callbacks {
  typename ResultCallback<R>::type on_result = {};
  std::function<void(std::exception_ptr)> on_error = {};
};

template <class Body>
using OutcomeOf = decltype(std::declval<Body&>().outcome());

template <class Body>
class PoolCall final : public ResultState<OutcomeOf<Body>>,
                       public TaskClient,
                       public std::enable_shared_from_this<PoolCall<Body>> {
 public:
  using Result = OutcomeOf<Body>;

  // `may_kill`: cancel() ends a running call too, and its worker with it.
  // The other arguments make the body.
  template <class... Args>
  PoolCall(Callbacks<Result> callbacks, bool may_kill, Args&&... args)
      : body_(std::in_place, std::forward<Args>(args)...),
        callbacks_(std::move(callbacks)),
        may_kill_(may_kill) {}

  template <class... Args>
  static std::shared_ptr<PoolCall> begin(WorkerPool& pool, const CallSettings& settings,
                                         Callbacks<Result> callbacks, bool may_kill,
                                         Args&&... args) {
    auto call =
        std::make_shared<PoolCall>(std::move(callbacks), may_kill, std::forward<Args>(args)...);
    pool.submit(call, call->body_->shape(), settings, call->running_);
    return call;
  }

  bool cancel() override {
    if (!this->ended()) {
      if (!running_->cancel(may_kill_)) return false;
      this->cancel_running();  // the error callback may come later: this may be its thread
    }
    return this->cancelled();
  }

 private:
  bool await_end(CallDeadline deadline) override { return running_->await(*this, deadline); }
  void poll() override { running_->poll(*this); }
  void callback_wanted() override { running_->want_delivery(); }
  // Callbacks know this call weakly, and its last handle may be gone by the time they run.
  void post_callback(std::function<void()> callback) override {
    running_->post(
        [self = this->shared_from_this(), callback = std::move(callback)] { callback(); });
  }

  TaskBody& task_body() override { return *body_; }
  bool has_callbacks() const override { return callbacks_.on_result || callbacks_.on_error; }
  void call_ended() override {
    if (has_callbacks()) call_back();
    this->finish();
  }
  void call_cancelled() override {
    if (callbacks_.on_error)
      run_callback([&] { callbacks_.on_error(std::make_exception_ptr(CancelledError())); });
    callbacks_ = {};
    this->cancel_running();
  }
  void call_back() {
    auto error = this->look([&]([[maybe_unused]] const auto& value) {
      if (!callbacks_.on_result) return;
      if constexpr (std::is_void_v<Result>) {
        run_callback(callbacks_.on_result);
      } else {
        run_callback([&] { callbacks_.on_result(value); });
      }
    });
    if (error && callbacks_.on_error) run_callback([&] { callbacks_.on_error(error); });
    callbacks_ = {};
  }

  void deliver() override {
    running_->deliver();
    if constexpr (std::is_void_v<Result>) {
      this->put_value();
    } else {
      this->put_value(body_->outcome());
    }
    body_.reset();
  }

  std::optional<Body> body_;
  Callbacks<Result> callbacks_;
  bool may_kill_;
  std::shared_ptr<RunningCall> running_;
};

template <class Item>
struct KeptItems {
  std::vector<Item> kept;
};

// A map that outlives the statement: with the items.
template <class Invoke, class F, class Item>
class OwningMapBody final : private KeptItems<Item>, public MapBody<Invoke, F, std::vector<Item>> {
 public:
  OwningMapBody(F f, std::vector<Item> items)
      : KeptItems<Item>{std::move(items)},
        MapBody<Invoke, F, std::vector<Item>>(std::move(f), this->kept) {}
  OwningMapBody(const OwningMapBody&) = delete;
  OwningMapBody& operator=(const OwningMapBody&) = delete;
};

// A few items, each with an outcome of its own.
template <class Invoke, class F, class Item>
class ChunkBody final : public TaskBody {
 public:
  using Thunk = MapThunk<Invoke, F, Item, false>;
  using Result = typename Thunk::Result;

  ChunkBody(F f, std::vector<Item> items)
      : callable_(std::move(f)), items_(std::move(items)), count_(items_.size()) {
    check_result<Result>();
    outcomes_.reserve(count_);
  }

  TaskShape shape() const {
    return {.thunk = refer_once<Thunk>(),
            .count = count_,
            .has_results = !std::is_void_v<Result>,
            .each_apart = true};
  }
  void encode_callable(Writer& writer) override { callable_.encode_to(writer); }
  void encode_next(Writer& writer) override { encode(writer, items_[next_++]); }
  void take_result([[maybe_unused]] Reader& reader) override {
    ItemOutcome<Result>& one = outcomes_.emplace_back();
    try {
      if constexpr (std::is_void_v<Result>) {
        one.value.emplace(true);
      } else {
        one.value.emplace(decode<Result>(reader));
      }
    } catch (...) {
      one.error = std::current_exception();
    }
  }
  void take_failure(std::exception_ptr error) override {
    outcomes_.emplace_back().error = std::move(error);
  }
  std::string name() const override {
    return describe_callable(code_address(callable_.get()), type_name<F>());
  }
  Chunk<Result> outcome() { return std::move(outcomes_); }

 private:
  mutable Callable<F> callable_;
  std::vector<Item> items_;
  std::size_t next_ = 0;
  std::size_t count_;
  Chunk<Result> outcomes_;
};

}  // namespace cohort::detail
