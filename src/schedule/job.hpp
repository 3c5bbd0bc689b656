// One call of the owner's: a run of items, sent to the workers in batches.
#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "arena/space.hpp"
#include "cohort/detail/block_ref.hpp"
#include "cohort/detail/task_body.hpp"
#include "cohort/error.hpp"
#include "schedule/batches.hpp"
#include "schedule/cells.hpp"

namespace cohort::schedule {

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
};

// The thread that made the call encodes the items and decodes the results; what is in between is
// guarded by the scheduler's mutex. A job outlives its call while a worker still runs a part of it.
class Job {
 public:
  // Encodes the callable. Throws what that throws.
  Job(arena::Space& space, detail::TaskBody& body, const detail::TaskShape& shape,
      std::size_t workers, const JobOptions& options);
  ~Job();
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  // For the thread that made the call.
  detail::TaskBody& body() const { return body_; }

  Offset callable() const { return memory_; }
  std::uint32_t callable_bytes() const { return callable_bytes_; }
  Offset items_from(std::uint64_t i) const {
    return shape.item_bytes ? items_ + i * shape.item_bytes : 0;
  }
  Offset results_from(std::uint64_t i) const {
    return shape.result_bytes && results_ ? results_ + i * shape.result_bytes : 0;
  }

  // After all items are settled: hands the results to the body, or throws the first error.
  void deliver();

  // An item's worker died: answers whether to run the item again.
  bool try_again(std::uint64_t item);

  struct Death {
    std::uint64_t item;
    WorkerDeath how;
  };

  const detail::TaskShape shape;
  Batches batches;
  std::uint64_t sent = 0;
  std::uint64_t settled = 0;   // items with an outcome
  std::size_t in_flight = 0;   // tasks
  std::exception_ptr failure;  // of the whole job
  bool over = false;           // its call has ended
  std::optional<Death> first_death;
  std::vector<ResultChunk> chunks;

  // For the waiting thread: something happened since it looked.
  bool news = false;
  bool starved = false;  // waits for a task cell
  std::condition_variable changed;

 private:
  arena::Space& space_;
  detail::TaskBody& body_;
  unsigned retries_;
  Offset memory_ = 0;  // callable, items and results; 0: none
  Offset items_ = 0;
  Offset results_ = 0;
  std::uint32_t callable_bytes_ = 0;
  std::vector<detail::BlockRef> handles_;  // keep what the callable refers to
  std::unordered_map<std::uint64_t, unsigned> deaths_;
};

}  // namespace cohort::schedule
