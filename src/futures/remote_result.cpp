#include "cohort/detail/remote_result.hpp"

#include "cohort/process.hpp"
#include "cohort/threading.hpp"

namespace cohort::detail {

void watch_in_thread(std::function<void()> watch) {
  // A daemon's calls are daemons as well, which the end of their parent does not wait for.
  threading::Thread thread({.name = "async watch", .daemon = current_process().daemon()},
                           [watch = std::move(watch)] { watch(); });
  thread.start();
}

}  // namespace cohort::detail
