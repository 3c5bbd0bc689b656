// The stack of a worker that a crash ends (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS,
// SIGABRT), on its way to the owner through shared memory.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

namespace cohort::schedule {

// A plain cell in shared memory, zeroed. Written by the worker, read by the owner once the worker
// is dead.
struct CrashReport {
  static constexpr std::size_t kMostFrames = 48;

  // Stored after the rest, and again with each further frame: a worker whose stack cannot be walked
  // to its end leaves what was found. 0: no crash.
  std::atomic<std::uint32_t> frames;
  std::atomic<std::int32_t> signal;
  std::atomic<std::int32_t> code;            // si_code
  std::atomic<std::uint32_t> overflow;       // 1: the stack of the main thread was full
  std::atomic<std::uint64_t> fault_address;  // of SIGSEGV and SIGBUS
  // Where the worker's main program and its dynamic linker lie. Stored by catch_crashes; clear()
  // leaves them.
  std::atomic<std::uint64_t> main_base;
  std::atomic<std::uint64_t> linker_base;
  std::array<std::uint64_t, kMostFrames> addresses;
};

// In the worker, on its main thread, before any limit on its memory: from here on a crash of any of
// its threads fills `report`, which stays mapped as long as the process lives. Then the disposition
// from before acts, with the same siginfo and context; by default the process dies of the signal. A
// signal that is ignored stays so, and what the process forks does not report. A thread's stack
// overflow is caught on the calling thread only. Does nothing in a program under a sanitizer, which
// reports by itself. Called again, the later report counts. Throws std::system_error.
void catch_crashes(CrashReport& report);

// In the owner: "SIGSEGV at address 0x10", then one line per frame, innermost first, as in
// throw_trace(). Empty if there was no crash. The program's own handler may have mended a fault:
// believe the report only if the worker died of report.signal.
std::string describe(const CrashReport& report);

// For the next worker in the same place. No worker uses the report now.
void clear(CrashReport& report);

}  // namespace cohort::schedule
