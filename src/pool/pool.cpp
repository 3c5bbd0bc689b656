#include "cohort/pool.hpp"

#include <mutex>
#include <utility>

#include "arena/space.hpp"
#include "cohort/error.hpp"

namespace cohort {

Pool::Pool(PoolOptions options)
    : workers_(std::make_unique<detail::WorkerPool>(detail::WorkerPool::Kind::pool, options)) {}
Pool::Pool(Pool&&) noexcept = default;
Pool& Pool::operator=(Pool&& other) noexcept {
  std::swap(workers_, other.workers_);
  return *this;
}
Pool::~Pool() = default;

detail::WorkerPool& Pool::open() const {
  if (!workers_) throw InvalidStateError("this pool was moved from");
  workers_->check_ours();
  return *workers_;
}

void Pool::close() { open().close(); }
void Pool::terminate() { open().terminate(); }
void Pool::join() { open().join(); }
std::vector<WorkerStats> Pool::stats() const { return open().stats(); }

Pool& default_pool() {
  // Never destroyed: the pool ends itself when the program does.
  static std::mutex mutex;
  static Pool* pool = nullptr;
  static std::uint32_t epoch = 0;
  static arena::MemberId owner;
  arena::Space& space = arena::Space::here();
  std::lock_guard guard(mutex);
  if (!pool || epoch != arena::Space::epoch() || owner != space.self()) {
    pool = new Pool();
    epoch = arena::Space::epoch();
    owner = space.self();
  }
  return *pool;
}

}  // namespace cohort
