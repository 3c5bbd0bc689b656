// Worker processes and what runs on them, untyped: what Pool and ProcessPoolExecutor are made of.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cohort/detail/task_body.hpp"
#include "cohort/detail/task_client.hpp"
#include "cohort/pool_options.hpp"

namespace cohort::detail {

struct CallSettings {
  std::size_t chunksize = 0;  // items per batch; 0: by measuring
  bool progress = false;
  std::optional<std::chrono::nanoseconds> timeout{};       // none: the pool's; 0: no limit
  std::optional<std::chrono::nanoseconds> soft_timeout{};  // likewise
  std::optional<unsigned> retries{};                       // likewise
};

class WorkerPool {
 public:
  enum class Kind {
    pool,     // all workers at once; dropped while it runs it is terminated
    executor  // workers as they are needed; dropped while it runs it finishes its work
  };
  WorkerPool(Kind kind, const PoolOptions& options);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Throws InvalidStateError in a forked copy.
  void check_ours() const;

  // Runs all items; returns when body has the results, or throws.
  void run(TaskBody& body, const TaskShape& shape, const CallSettings& settings);
  // Begins a call. `begun` is set before its client can hear of it.
  void submit(const std::shared_ptr<TaskClient>& client, const TaskShape& shape,
              const CallSettings& settings, std::shared_ptr<RunningCall>& begun);

  std::size_t size() const;
  void close();
  void terminate();
  // Ends the workers by this signal; running and waiting calls fail with BrokenPool.
  void end_workers(int signal);
  void cancel_waiting();
  // Waits until the workers have left and every callback has run. Throws InvalidStateError before
  // close() or terminate().
  void join();
  bool closed() const;
  std::vector<WorkerStats> stats() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cohort::detail
