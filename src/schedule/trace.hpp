// What pools did, as a file that Perfetto (ui.perfetto.dev) and chrome://tracing show:
// COHORT_TRACE=run.json in the environment.
//
// Each pool is a process of the picture, each worker a row in it with its tasks, so that a gap is
// idle time; the lives of a worker's processes are on a row below. Times are those of the steady
// clock, and so fit together between files of one machine.
//
// The file can be loaded at any time, also when its writer was killed: it lacks at most the last
// second. A process that does not own the family, such as a worker with a pool of its own, and one
// that finds the file in use, writes beside it: run.PID.json.
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "os/fd.hpp"

namespace cohort::trace {

using Time = os::Clock::time_point;

// One run of a task in a worker. Long names are cut.
struct Task {
  std::string_view name;
  int pool;
  std::uint32_t worker;
  pid_t pid;
  Time submitted, started, ended;
  std::uint64_t items, bytes;
  std::string_view outcome;  // "ok", "error", "died", "timeout", "cancelled"
};

// One process in a worker's place, from its start to its end.
struct Life {
  int pool;
  std::uint32_t worker;
  pid_t pid;
  Time started, ended;
  std::string_view how;  // "left", "killed by SIGKILL", ...
};

// All members may be called from any thread.
class Recorder {
 public:
  // This process's own, which is never destroyed; null unless COHORT_TRACE is set. A forked child
  // must not use its parent's: ask again there.
  static Recorder* current();

  // The number of a new pool, from 1.
  int new_pool();
  void task(const Task& task) noexcept;
  void life(const Life& life) noexcept;
  // Writes what is still in memory. Happens by itself within a second.
  void flush() noexcept;

 private:
  explicit Recorder(const std::string& path);
  ~Recorder() = default;

  bool in_its_process() const noexcept;
  static Recorder* make_current(Recorder* stale);
  void open() noexcept;
  void watch() noexcept;
  void write_each_second();
  void close() noexcept;

  // All below need the mutex.
  void name_process(int pool);
  bool name_worker(int pool, std::uint32_t worker);  // false: no such pool
  void append(std::string_view line);
  void pad_page();
  void write_out() noexcept;
  void give_up(const char* call, int error) noexcept;

  const std::string path_;
  const std::uint32_t epoch_;
  const std::uint32_t member_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::thread writer_;
  os::Fd file_;
  bool opened_ = false;
  bool closing_ = false;
  std::vector<char> buffer_;
  std::uint64_t written_ = 0;                 // bytes in the file
  std::vector<std::uint32_t> named_workers_;  // by pool: how many have a name
};

}  // namespace cohort::trace
