// The least that two worker processes can be, to measure a pool's against: they copy their half of
// a shared input, apply a function to each item, and copy the results to a shared output.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <span>
#include <vector>

namespace bench {

class BareWorkers {
 public:
  using Function = int (*)(int);

  // For up to `most` items at once.
  BareWorkers(Function function, std::size_t most);
  ~BareWorkers();
  BareWorkers(const BareWorkers&) = delete;
  BareWorkers& operator=(const BareWorkers&) = delete;

  std::vector<int> map(const std::vector<int>& items);
  int apply(int item);  // by the first worker

 private:
  struct Shared;
  static constexpr std::size_t kWorkers = 2;

  [[noreturn]] void work(std::size_t worker) const;
  void start(std::size_t worker, std::span<const int> items, std::size_t from);
  std::span<const int> finish(std::size_t worker);

  Function function_;
  std::size_t most_;
  std::size_t bytes_;
  Shared* shared_;
  std::array<pid_t, kWorkers> pids_{};
};

}  // namespace bench
