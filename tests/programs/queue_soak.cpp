// Very many messages through one queue, whose memory shall not grow meanwhile.
//
// usage: queue_soak [MESSAGES] [BOUND]
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cohort/process.hpp>
#include <cohort/queue.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <string>
#include <vector>

#include "arena/space.hpp"

namespace {

using cohort::Queue;
using cohort::arena::Space;

struct Memory {
  std::size_t arena;   // bytes of shared memory, of all processes
  std::size_t own;     // bytes that this process alone has
  std::size_t blocks;  // of the arena
};

Memory memory() {
  struct stat status {};
  ::fstat(Space::here().memory_fd(), &status);
  Memory now{static_cast<std::size_t>(status.st_blocks) * 512, 0,
             Space::here().heap().blocks_held()};
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("RssAnon:")) now.own = std::stoul(line.substr(8)) * 1024;
  }
  return now;
}

// Half of them one by one, half in batches.
void produce(const Queue<std::uint64_t>& queue, std::uint64_t count) {
  std::vector<std::uint64_t> batch(64);
  std::uint64_t next = 0;
  while (next < count) {
    if (next / 4096 % 2 == 0 || count - next < batch.size()) {
      queue.put(next++);
      continue;
    }
    for (auto& one : batch) one = next++;
    queue.put_many(batch);
  }
  queue.shutdown();
}

int run(std::uint64_t count, std::size_t bound) {
  const Queue<std::uint64_t> queue(bound);
  cohort::Process producer(produce, queue, count);
  producer.start();
  const auto begin = std::chrono::steady_clock::now();
  const std::uint64_t settled = count / 10;  // what it takes by then it may keep
  Memory first{}, most{};
  std::uint64_t expected = 0;
  std::vector<std::uint64_t> some(256);
  const auto look = [&] {
    const Memory now = memory();
    most.arena = std::max(most.arena, now.arena);
    most.own = std::max(most.own, now.own);
    most.blocks = std::max(most.blocks, now.blocks);
    return now;
  };
  try {
    for (;;) {
      const std::size_t got = queue.get_many(some.data(), some.size());
      for (std::size_t i = 0; i < got; ++i) {
        if (some[i] != expected++) {
          std::printf("message %llu came as %llu\n", static_cast<unsigned long long>(expected - 1),
                      static_cast<unsigned long long>(some[i]));
          return 1;
        }
      }
      if (expected >= settled && first.arena == 0) most = first = memory();
      if (first.arena != 0 && expected % 65'536 < got) look();
    }
  } catch (const cohort::QueueShutDown&) {
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  producer.join();
  const Memory last = look();
  std::printf("%llu messages in %.1f s, %.0f ns each\n", static_cast<unsigned long long>(expected),
              seconds, seconds * 1e9 / static_cast<double>(expected));
  const auto line = [](const char* what, std::size_t a, std::size_t b, std::size_t c) {
    std::printf("%-20s %10zu after a tenth, %10zu at most, %10zu at the end\n", what, a, b, c);
  };
  line("arena, KiB:", first.arena >> 10, most.arena >> 10, last.arena >> 10);
  line("this process, KiB:", first.own >> 10, most.own >> 10, last.own >> 10);
  line("blocks:", first.blocks, most.blocks, last.blocks);
  if (expected != count) {
    std::printf("%llu were put\n", static_cast<unsigned long long>(count));
    return 1;
  }
  constexpr std::size_t kMiB = std::size_t{1} << 20;
  const bool flat = most.arena <= first.arena + 4 * kMiB && most.own <= first.own + kMiB &&
                    most.blocks <= first.blocks + 8;
  if (!flat) std::printf("the memory has grown\n");
  return flat && producer.exitcode() == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  const std::uint64_t count = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 100'000'000;
  const std::size_t bound = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 10'000;
  return run(count, bound);
}
