#include "schedule/job.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "cohort/detail/remote_exception.hpp"
#include "cohort/detail/task_run.hpp"
#include "launch/symbols.hpp"
#include "schedule/arena_writer.hpp"
#include "schedule/scheduler.hpp"

namespace cohort::schedule {
namespace {

constexpr std::size_t aligned(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

// Calls visit(item, record, bytes) for each record of a chunk, in the order of the items.
template <class Visit>
void for_each_record(arena::Space& space, const ResultChunk& chunk, Visit&& visit) {
  const std::byte* at = chunk.block ? space.at(chunk.block) : chunk.small.data();
  for (const std::byte* end = at + chunk.bytes; at < end;) {
    ResultRecord record;
    std::memcpy(&record, at, sizeof record);
    at += sizeof record;
    // An item that was running at its worker's death counts as unknown, even with a result here.
    if (record.item < chunk.items)
      visit(chunk.first + record.item, record, std::span(at, record.bytes));
    at += record.whole();
  }
}

}  // namespace

Job::Job(std::shared_ptr<Scheduler> scheduler, detail::TaskBody& body,
         const detail::TaskShape& asked, const JobOptions& how,
         std::shared_ptr<detail::TaskClient> told)
    : shape(asked),
      options(how),
      name(scheduler->traced_as() ? body.name() : std::string()),
      batches(asked.count, scheduler->workers(), how.chunksize),
      client(std::move(told)),
      scheduler_(std::move(scheduler)),
      space_(arena::Space::here()),
      body_(body),
      asynchronous_(client != nullptr) {
  alignas(64) std::array<std::byte, 256> small;
  ArenaWriter writer(space_, small);
  body.encode_callable(writer);
  handles_ = writer.take_references();
  callable_bytes_ = static_cast<std::uint32_t>(writer.size());
  std::size_t items_at = aligned(callable_bytes_);
  std::size_t results_at = aligned(items_at + shape.item_bytes * shape.count);
  // The result of a single call goes beside it.
  bool array = shape.result_bytes != 0 && shape.count > 1;
  std::size_t whole = results_at + (array ? shape.result_bytes * shape.count : 0);
  if (whole == 0) return;
  memory_ = space_.heap().allocate(whole, space_.self(), arena::Purpose::message);
  if (callable_bytes_) std::memcpy(space_.at(memory_), writer.at(0), callable_bytes_);
  items_ = memory_ + items_at;
  if (array) results_ = memory_ + results_at;
}

Job::~Job() {
  if (!scheduler_->ours()) return;  // a forked copy's blocks are its creator's
  for (const auto& chunk : all_chunks()) {
    if (chunk.block) space_.release(chunk.block);
  }
  if (memory_) space_.release(memory_);
}

bool Job::await(detail::CallState& state, detail::CallDeadline deadline) {
  return scheduler_->await_end(*this, deadline) && state.wait_for_phase(deadline);
}

void Job::poll(detail::CallState& state) {
  if (scheduler_->poll(*this)) state.begin_running();
}

bool Job::cancel(bool also_running) { return scheduler_->cancel(*this, also_running); }
void Job::want_delivery() { scheduler_->want_delivery(*this); }
void Job::post(std::function<void()> callback) { scheduler_->post(std::move(callback)); }

ResultChunk& Job::add_chunk() {
  if (shape.count > 1) return chunks_.emplace_back();
  has_only_chunk_ = true;
  return only_chunk_;
}

std::span<ResultChunk> Job::all_chunks() {
  if (shape.count > 1) return chunks_;
  return {&only_chunk_, has_only_chunk_ ? 1UL : 0UL};
}

bool Job::try_again(std::uint64_t item) { return ++deaths_[item] <= options.retries; }

void Job::lose(std::uint64_t item, Verdict verdict, const WorkerDeath& death) {
  ++settled;
  ++failed;
  if (!shape.each_apart && !lost_.empty()) {
    if (item < lost_.front().item) lost_.front() = {item, verdict, death};
    return;
  }
  lost_.push_back({item, verdict, death});
}

std::exception_ptr Job::error_of(const Lost& lost) const {
  std::string task = body_.name();
  if (shape.count > 1) task += ", item " + std::to_string(lost.item);
  return error_of(std::move(task), lost.verdict, lost.how);
}

std::exception_ptr Job::failure_of(Verdict verdict, const WorkerDeath& death) const {
  return error_of(body_.name() + ", as its callable was read", verdict, death);
}

std::exception_ptr Job::error_of(std::string task, Verdict verdict,
                                 const WorkerDeath& death) const {
  if (verdict == Verdict::cancelled) return std::make_exception_ptr(CancelledError());
  if (verdict == Verdict::no_room)
    return std::make_exception_ptr(
        Error("the arena has no room for the result of the task " + task));
  if (verdict == Verdict::too_long) {
    auto limit = std::chrono::duration<double>(options.time_limit).count();
    char seconds[32];
    std::snprintf(seconds, sizeof seconds, "%g s", limit);
    return std::make_exception_ptr(
        TimeoutError("the task " + task + " ran longer than its limit of " + seconds +
                     "; its worker (pid " + std::to_string(death.pid) + ") was killed"));
  }
  WorkerDeath how = death;
  how.task = std::move(task);
  return std::make_exception_ptr(WorkerDied(std::move(how)));
}

void Job::deliver() {
  if (failure) std::rethrow_exception(failure);
  scheduler_->check_ours();
  auto chunks = all_chunks();
  std::sort(chunks.begin(), chunks.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  if (shape.each_apart) {
    deliver_each();
  } else {
    deliver_all_or_throw();
  }
  for (auto& chunk : all_chunks()) {
    if (chunk.block) space_.release(std::exchange(chunk.block, 0));
    chunk.handles.clear();
    chunk.bytes = 0;
  }
}

// Every item has one outcome: a record, or it was lost.
void Job::deliver_each() {
  std::sort(lost_.begin(), lost_.end(),
            [](const auto& a, const auto& b) { return a.item < b.item; });
  auto lost = lost_.begin();
  std::uint64_t at = 0;
  auto up_to = [&](std::uint64_t item) {
    for (; at < item; ++at) {
      if (lost != lost_.end() && lost->item == at) {
        body_.take_failure(error_of(*lost++));
      } else {  // a void result leaves no record
        detail::TaskReader nothing(std::span<const std::byte>{});
        body_.take_result(nothing);
      }
    }
  };
  for (const auto& chunk : all_chunks()) {
    for_each_record(space_, chunk, [&](std::uint64_t item, const ResultRecord& record, auto bytes) {
      up_to(item);
      detail::TaskReader reader(bytes);
      if (record.kind == ResultRecord::Kind::error) {
        body_.take_failure(detail::decode_exception(reader));
      } else {
        body_.take_result(reader);
      }
      at = item + 1;
    });
  }
  up_to(shape.count);
}

void Job::deliver_all_or_throw() {
  std::uint64_t failed_item = lost_.empty() ? UINT64_MAX : lost_.front().item;
  std::exception_ptr error;
  for (const auto& chunk : all_chunks()) {
    for_each_record(space_, chunk, [&](std::uint64_t item, const ResultRecord& record, auto bytes) {
      if (record.kind != ResultRecord::Kind::error || item >= failed_item) return;
      detail::TaskReader reader(bytes);
      error = detail::decode_exception(reader);
      failed_item = item;
    });
  }
  if (error) std::rethrow_exception(error);
  if (!lost_.empty()) std::rethrow_exception(error_of(lost_.front()));
  if (!shape.has_results) return;
  if (results_) {
    body_.take_results(space_.at(results_));
    return;
  }
  for (const auto& chunk : all_chunks()) {
    for_each_record(space_, chunk, [&](std::uint64_t, const ResultRecord&, auto bytes) {
      detail::TaskReader reader(bytes);
      body_.take_result(reader);
    });
  }
}

}  // namespace cohort::schedule

namespace cohort::detail {

std::string describe_callable(const void* address, std::string_view type) {
  if (!address) return std::string(type);
  // To read a symbol table takes milliseconds.
  static std::mutex mutex;
  static std::map<const void*, std::string>* known = new std::map<const void*, std::string>;
  std::unique_lock lock(mutex, std::try_to_lock);  // a fork may have copied it locked
  if (lock) {
    if (auto found = known->find(address); found != known->end()) return found->second;
  }
  auto symbol = Symbols().find(reinterpret_cast<std::uintptr_t>(address));
  std::string name = symbol.function.empty() ? std::string(type) : symbol.function;
  if (lock) known->emplace(address, name);
  return name;
}

}  // namespace cohort::detail
