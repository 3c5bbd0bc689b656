#include "schedule/worker_run.hpp"

#include <cstring>
#include <stdexcept>

#include "cohort/detail/remote_exception.hpp"
#include "launch/throw_trace.hpp"

namespace cohort::schedule {
namespace {

std::span<const std::byte> arguments_of(arena::Space& space, const TaskCell& task) {
  const std::byte* start = task.arguments ? space.at(task.arguments) : task.inline_arguments.data();
  std::uint64_t from = 0;
  for (std::uint64_t i = 0; i < task.skip; ++i) {
    std::uint64_t size = 0;
    std::memcpy(&size, start + from, sizeof size);
    from += sizeof size + size;
  }
  return {start + from, task.argument_bytes - from};
}

}  // namespace

WorkerRun::WorkerRun(arena::Space& space, TaskCell& task)
    : TaskRun(task.count, task.progress, {space.at(task.callable), task.callable_bytes},
              task.items ? std::span<const std::byte>() : arguments_of(space, task),
              task.items ? space.at(task.items) : nullptr,
              task.results ? space.at(task.results) : nullptr),
      task_(task),
      writer_(space, task.inline_results) {
  writer_.publish_block_in(task.result_block);
  if (task.time_limit != 0 || task.soft_limit != 0) time_items(task.started);
}

detail::Writer& WorkerRun::open_result(std::size_t i) {
  writer_.truncate(written_);
  writer_.take_references();
  item_ = i;
  writer_.reserve(sizeof(ResultRecord));
  return writer_;
}

void WorkerRun::close(ResultRecord::Kind kind) {
  std::size_t bytes = writer_.size() - written_ - sizeof(ResultRecord);
  writer_.pad_to(8);
  auto references = writer_.take_references();
  for (auto& handle : references) {
    arena::Offset block = handle.offset();
    writer_.write(&block, sizeof block);
    held_.push_back(std::move(handle));
  }
  ResultRecord record{item_, bytes, kind, static_cast<std::uint32_t>(references.size())};
  std::memcpy(writer_.at(written_), &record, sizeof record);
  written_ = writer_.size();
  if (!references.empty()) {
    task_.result_references.fetch_add(references.size(), std::memory_order_relaxed);
  }
  task_.result_bytes.store(written_, std::memory_order_release);
}

void WorkerRun::fail(std::size_t i, const std::exception_ptr& error) {
  try {
    // The caller gets to see the first only, and naming a stack is slow.
    std::string trace = std::exchange(failed_before_, true) ? "" : detail::throw_trace();
    detail::encode_exception(open_result(i), error, trace);
  } catch (...) {
    auto plain = std::make_exception_ptr(
        std::runtime_error("the task threw an exception that could not be serialized"));
    detail::encode_exception(open_result(i), plain, {});
  }
  close(ResultRecord::Kind::error);
  task_.failed.fetch_add(1, std::memory_order_relaxed);
}

std::vector<detail::BlockRef> WorkerRun::finish() {
  writer_.take_block();
  return std::move(held_);
}

}  // namespace cohort::schedule
