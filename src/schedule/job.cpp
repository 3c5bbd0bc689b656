#include "schedule/job.hpp"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <string>
#include <utility>

#include "cohort/detail/remote_exception.hpp"
#include "cohort/detail/task_run.hpp"
#include "launch/symbols.hpp"
#include "schedule/arena_writer.hpp"

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

Job::Job(arena::Space& space, detail::TaskBody& body, const detail::TaskShape& asked,
         std::size_t workers, const JobOptions& options)
    : shape(asked),
      batches(asked.count, workers, options.chunksize),
      space_(space),
      body_(body),
      retries_(options.retries) {
  alignas(64) std::array<std::byte, 256> small;
  ArenaWriter writer(space, small);
  body.encode_callable(writer);
  handles_ = writer.take_references();
  callable_bytes_ = static_cast<std::uint32_t>(writer.size());
  std::size_t items_at = aligned(callable_bytes_);
  std::size_t results_at = aligned(items_at + shape.item_bytes * shape.count);
  // The result of a single call goes beside it.
  bool array = shape.result_bytes != 0 && shape.count > 1;
  std::size_t whole = results_at + (array ? shape.result_bytes * shape.count : 0);
  if (whole == 0) return;
  memory_ = space.heap().allocate(whole, space.self(), arena::Purpose::message);
  if (callable_bytes_) std::memcpy(space.at(memory_), writer.at(0), callable_bytes_);
  items_ = memory_ + items_at;
  if (array) results_ = memory_ + results_at;
}

Job::~Job() {
  for (const auto& chunk : chunks) {
    if (chunk.block) space_.release(chunk.block);
  }
  if (memory_) space_.release(memory_);
}

bool Job::try_again(std::uint64_t item) { return ++deaths_[item] <= retries_; }

void Job::deliver() {
  std::sort(chunks.begin(), chunks.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  std::uint64_t failed_item = first_death ? first_death->item : UINT64_MAX;
  std::exception_ptr error;
  for (const auto& chunk : chunks) {
    for_each_record(space_, chunk, [&](std::uint64_t item, const ResultRecord& record, auto bytes) {
      if (record.kind != ResultRecord::Kind::error || item >= failed_item) return;
      detail::TaskReader reader(bytes);
      error = detail::decode_exception(reader);
      failed_item = item;
    });
  }
  if (error) std::rethrow_exception(error);
  if (first_death) {
    first_death->how.task = body_.name();
    if (shape.count > 1) first_death->how.task += ", item " + std::to_string(first_death->item);
    throw WorkerDied(std::move(first_death->how));
  }
  if (!shape.has_results) return;
  if (results_) {
    body_.take_results(space_.at(results_));
    return;
  }
  for (const auto& chunk : chunks) {
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
  auto symbol = Symbols().find(reinterpret_cast<std::uintptr_t>(address));
  return symbol.function.empty() ? std::string(type) : symbol.function;
}

}  // namespace cohort::detail
