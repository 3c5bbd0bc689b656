// One call of the owner's: a run of items, sent to the workers in batches.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "arena/space.hpp"
#include "cohort/detail/block_ref.hpp"
#include "cohort/detail/task_client.hpp"
#include "cohort/error.hpp"
#include "schedule/batches.hpp"
#include "schedule/cells.hpp"

namespace cohort::schedule {

class Scheduler;

// Encoded results of one batch, taken from its worker.
struct ResultChunk {
  std::uint64_t first = 0;  // item
  std::uint64_t items = 0;
  std::uint64_t bytes = 0;
  Offset block = 0;                       // 0: in small
  std::vector<detail::BlockRef> handles;  // keep what the results refer to
  alignas(16) std::array<std::byte, kInlineBytes> small;
};

struct JobOptions {
  std::size_t chunksize = 0;
  unsigned retries = 0;
  std::chrono::nanoseconds time_limit{};  // for an item, in its worker; 0: none
  std::chrono::nanoseconds soft_limit{};
};

// Why an item has no outcome of its own.
enum class Verdict : std::uint8_t { died, too_long, cancelled, no_room };

// The thread that made the call encodes the items and decodes the results; of an asynchronous call
// whoever collects. What is in between is guarded by the scheduler's mutex. A job outlives its call
// while a worker still runs a part of it.
class Job final : public detail::RunningCall, public std::enable_shared_from_this<Job> {
 public:
  // Encodes the callable. Throws what that throws. `client` is null for a call whose thread waits.
  Job(std::shared_ptr<Scheduler> scheduler, detail::TaskBody& body, const detail::TaskShape& shape,
      const JobOptions& options, std::shared_ptr<detail::TaskClient> client);
  ~Job() override;
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  // ---- for the handles
  bool await(detail::CallState& state, detail::CallDeadline deadline) override;
  void poll(detail::CallState& state) override;
  bool cancel(bool also_running) override;
  void want_delivery() override;
  void deliver() override;
  void post(std::function<void()> callback) override;

  // ---- for the scheduler
  detail::TaskBody& body() const { return body_; }
  bool asynchronous() const { return asynchronous_; }

  Offset callable() const { return memory_; }
  std::uint32_t callable_bytes() const { return callable_bytes_; }
  Offset items_from(std::uint64_t i) const {
    return shape.item_bytes ? items_ + i * shape.item_bytes : 0;
  }
  Offset results_from(std::uint64_t i) const {
    return shape.result_bytes && results_ ? results_ + i * shape.result_bytes : 0;
  }
  ResultChunk& add_chunk();

  // An item's worker died: answers whether to run the item again.
  bool try_again(std::uint64_t item);
  // The item has no outcome of its own.
  void lose(std::uint64_t item, Verdict verdict, const WorkerDeath& death);
  // Of all items, before the call has ended.
  std::exception_ptr failure_of(Verdict verdict, const WorkerDeath& death) const;

  const detail::TaskShape shape;
  const JobOptions options;
  const std::string name;  // only where there is a trace
  Batches batches;
  std::uint64_t sent = 0;
  std::uint64_t settled = 0;    // items with an outcome
  std::uint64_t failed = 0;     // of them
  std::size_t in_flight = 0;    // tasks
  std::uint32_t last_task = 0;  // that was sent
  unsigned unread = 0;          // deaths in a row before the callable was read
  std::exception_ptr failure;   // of the whole job
  bool over = false;            // its call has ended
  bool cancelled = false;
  bool feeding = false;  // a thread is at it
  bool starved = false;  // waits for a task cell
  bool eager = false;    // somebody has to complete it though nobody may wait

  // Its client, and itself, as long as the call has not ended.
  std::shared_ptr<detail::TaskClient> client;
  std::shared_ptr<Job> keep;
  Job* previous = nullptr;  // among the active ones
  Job* next = nullptr;

 private:
  struct Lost {
    std::uint64_t item;
    Verdict verdict;
    WorkerDeath how;
  };

  std::span<ResultChunk> all_chunks();
  void deliver_each();
  void deliver_all_or_throw();
  std::exception_ptr error_of(const Lost& lost) const;
  std::exception_ptr error_of(std::string task, Verdict verdict, const WorkerDeath& death) const;

  std::shared_ptr<Scheduler> scheduler_;
  arena::Space& space_;
  detail::TaskBody& body_;
  bool asynchronous_;
  Offset memory_ = 0;  // callable, items and results; 0: none
  Offset items_ = 0;
  Offset results_ = 0;
  std::uint32_t callable_bytes_ = 0;
  std::vector<detail::BlockRef> handles_;  // keep what the callable refers to
  bool has_only_chunk_ = false;
  ResultChunk only_chunk_;  // of a single call
  std::vector<ResultChunk> chunks_;
  std::vector<Lost> lost_;
  std::map<std::uint64_t, unsigned> deaths_;  // by item
};

}  // namespace cohort::schedule
