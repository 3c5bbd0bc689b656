// Start and join of an empty process: through the fork server, against the least that a fork server
// can be; with a large heap in the caller as well, which must make no difference; and beside them
// fork, spawn and Python.
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cohort/cohort.hpp>
#include <cstdio>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>

#include "support/bare_fork_server.hpp"
#include "support/comparison.hpp"
#include "support/python_peer.hpp"

namespace {

void nothing() {}

void start_and_join(cohort::StartMethod method) {
  cohort::Process process({.start_method = method}, nothing);
  process.start();
  process.join();
}

// After some that do not count, since what was measured before left the caches cold.
template <class Start>
double time_starts(std::size_t times, Start&& start) {
  for (std::size_t i = 0; i < times / 5; ++i) start();
  return bench::time_each(times, start);
}

void fork_and_wait() {
  const pid_t child = fork();
  if (child == 0) _exit(0);
  if (child < 0 || waitpid(child, nullptr, 0) != child) throw std::runtime_error("fork failed");
}

// Memory of which every page was written.
class TouchedHeap {
 public:
  explicit TouchedHeap(std::size_t bytes)
      : bytes_(bytes),
        data_(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    if (data_ == MAP_FAILED) throw std::runtime_error("no memory for the large heap");
    for (std::size_t i = 0; i < bytes_; i += 4096) static_cast<volatile char*>(data_)[i] = 1;
  }
  ~TouchedHeap() { munmap(data_, bytes_); }
  TouchedHeap(const TouchedHeap&) = delete;
  TouchedHeap& operator=(const TouchedHeap&) = delete;

 private:
  std::size_t bytes_;
  void* data_;
};

// 4 GiB, less where that is more than half of the memory that is free.
std::size_t heap_bytes() {
  std::ifstream meminfo("/proc/meminfo");
  for (std::string key, unit; meminfo >> key;) {
    std::size_t kilobytes = 0;
    meminfo >> kilobytes;
    std::getline(meminfo, unit);
    if (key == "MemAvailable:") return std::min<std::size_t>(4UL << 30, kilobytes * 1024 / 2);
  }
  return 1UL << 30;
}

// A good part of the difference: the pages that a child touches, each copied or mapped on its own.
template <class Start>
void tell_faults(const std::string& name, Start&& start) {
  constexpr int kTimes = 200;
  const auto faults = [] {
    rusage use{};
    getrusage(RUSAGE_CHILDREN, &use);
    return use.ru_minflt;
  };
  const long before = faults();
  for (int i = 0; i < kTimes; ++i) start();
  std::printf("  page faults of a child: %-20s %10.1f\n", name.c_str(),
              static_cast<double>(faults() - before) / kTimes);
}

void add_python(bench::Comparison& comparison, bench::PythonPeer& python) {
  for (const std::string method : {"fork", "forkserver", "spawn"}) {
    const std::string name = "python " + method;
    if (python.missing().empty()) {
      comparison.add(name, [&python, method] { return python.ask(method + " 3"); });
    } else {
      comparison.skip(name, python.missing());
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  const bench::Options options = bench::parse_options(argc, argv);
  bench::BareForkServer server;
  bench::PythonPeer python("start.py");
  using Method = cohort::StartMethod;

  const std::size_t bytes = heap_bytes();
  const std::string large = ", " + std::to_string((bytes + (1 << 29)) >> 30) + " GiB heap";
  std::optional<TouchedHeap> heap;

  bench::Comparison comparison("start and join", options.rounds);
  const auto ours = [] { return time_starts(50, [] { start_and_join(Method::forkserver); }); };
  const auto bare = [&] { return time_starts(50, [&] { server.start_and_join(); }); };
  comparison.add("bare server", bare);
  comparison.add("forkserver", ours);
  comparison.add("fork", [] { return time_starts(50, [] { start_and_join(Method::fork); }); });
  comparison.add("bare fork()", [] { return time_starts(50, fork_and_wait); });
  comparison.add("spawn", [] { return time_starts(10, [] { start_and_join(Method::spawn); }); });
  add_python(comparison, python);
  comparison.step([&] { heap.emplace(bytes); });
  comparison.add("bare server" + large, bare);
  comparison.add("forkserver" + large, ours);
  comparison.add("fork" + large,
                 [] { return time_starts(2, [] { start_and_join(Method::fork); }); });
  comparison.add("bare fork()" + large, [] { return time_starts(2, fork_and_wait); });
  comparison.step([&] { heap.reset(); });

  comparison.run();
  tell_faults("bare server", [&] { server.start_and_join(); });
  tell_faults("forkserver", [] { start_and_join(Method::forkserver); });
  tell_faults("fork", [] { start_and_join(Method::fork); });
  tell_faults("bare fork()", fork_and_wait);
  comparison.ratio("forkserver", "bare server", 1.3);
  comparison.ratio("forkserver" + large, "bare server" + large, 1.3);
  comparison.ratio("forkserver" + large, "forkserver", 1.1);
  comparison.ratio("fork", "bare fork()");
  comparison.ratio("fork" + large, "bare fork()" + large);
  comparison.ratio("forkserver", "python forkserver");
  comparison.ratio("fork", "python fork");
  comparison.ratio("spawn", "python spawn");
}
