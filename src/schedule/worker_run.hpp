// One claimed task in its worker: where its outcomes are written, item by item, so that those
// before a death can be used.
#pragma once

#include <vector>

#include "arena/space.hpp"
#include "cohort/detail/block_ref.hpp"
#include "cohort/detail/task_run.hpp"
#include "schedule/arena_writer.hpp"
#include "schedule/cells.hpp"

namespace cohort::schedule {

class WorkerRun final : public detail::TaskRun {
 public:
  WorkerRun(arena::Space& space, TaskCell& task);

  detail::Writer& open_result(std::size_t i) override;
  void close_result() override { close(ResultRecord::Kind::value); }
  void fail(std::size_t i, const std::exception_ptr& error) override;

  // Hands the results to the owner. Answers what handles in them refer to: this process must hold
  // it until the owner has taken them.
  std::vector<detail::BlockRef> finish();

 private:
  void close(ResultRecord::Kind kind);

  TaskCell& task_;
  ArenaWriter writer_;
  std::vector<detail::BlockRef> held_;
  std::size_t written_ = 0;  // whole records, in bytes
  std::uint64_t item_ = 0;
  bool failed_before_ = false;
};

}  // namespace cohort::schedule
