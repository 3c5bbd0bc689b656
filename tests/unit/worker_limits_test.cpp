#include "schedule/worker_limits.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cohort/serialize.hpp>
#include <cstdio>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <vector>

#include "member.hpp"
#include "os/call.hpp"
#include "os/limits.hpp"
#include "os/pidfd.hpp"

namespace {

using namespace cohort::schedule;
using namespace std::chrono_literals;
using cohort::WorkerLimits;
using test::Shared;
using test::soon;

// ---- workers

// The end of a forked child that runs `body`: what that returns, or minus its signal; 99 when it
// threw.
int end_of(const std::function<int()>& body) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    try {
      ::_exit(body());
    } catch (const std::exception& error) {
      std::fprintf(stderr, "in the child: %s\n", error.what());
    }
    ::_exit(99);
  }
  if (pid < 0) cohort::os::fail("fork", errno);
  auto process = cohort::os::Pidfd::open(pid);
  if (!cohort::os::wait_readable(process.get(), soon())) process.send(SIGKILL);
  return process.reap().value_or(98);
}

struct Message {
  char text[512];
};

// Applies limits in a child, which must fail; answers the message.
std::string refusal_of(
    const WorkerLimits& limits, std::uint32_t index = 0,
    const std::function<void()>& first = [] {}) {
  Shared<Message> message;
  const int end = end_of([&] {
    first();
    try {
      apply(limits, index);
    } catch (const std::system_error& error) {
      std::snprintf(message->text, sizeof message->text, "%s", error.what());
      return 7;
    }
    return 8;
  });
  return end == 7 ? message->text : "it was not refused: " + std::to_string(end);
}

void give_up_privileges() {
  // Somebody who is nobody: limits hold for root only from then on.
  if (::getuid() == 0) cohort::os::must("setuid", [] { return ::setuid(65534); });
}

void lower_hard_limit_of_files(rlim_t hard) {
  const rlimit limit{hard, hard};
  cohort::os::must("setrlimit", [&] { return ::setrlimit(RLIMIT_NOFILE, &limit); });
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class WorkerLimitsApplied : public test::Watched {};
class WorkerLimitsChecked : public test::Watched {};

// ---- memory

// What sanitizers reserve is beyond any limit.
class WorkerMemory : public test::Watched {
 protected:
  void SetUp() override {
    Watched::SetUp();
    if (test::kSanitized) GTEST_SKIP() << "the sanitizer's own memory counts as well";
  }
  static std::size_t used() { return cohort::os::private_bytes(); }
};

// Whether so much can be allocated and written.
bool allocates(std::size_t bytes) {
  try {
    std::vector<char> block(bytes, 'x');
    return block[bytes / 2] == 'x';
  } catch (const std::bad_alloc&) {
    return false;
  }
}

TEST_F(WorkerMemory, PastTheLimitAllocationsThrowBadAllocAndTheWorkerGoesOn) {
  using namespace cohort::literals;
  EXPECT_EQ(end_of([] {
              if (!allocates(256_MiB)) return 1;
              apply({.memory = used() + 64_MiB}, 0);
              if (allocates(256_MiB)) return 2;
              return allocates(16_MiB) ? 0 : 3;
            }),
            0);
}

TEST_F(WorkerMemory, SmallAllocationsReachTheLimitToo) {
  using namespace cohort::literals;
  EXPECT_EQ(end_of([] {
              apply({.memory = used() + 32_MiB}, 0);
              std::vector<std::unique_ptr<char[]>> blocks;
              blocks.reserve(100'000);
              try {
                for (int i = 0; i < 100'000; ++i) blocks.push_back(std::make_unique<char[]>(1024));
              } catch (const std::bad_alloc&) {
                return blocks.size() > 1024 ? 0 : 1;
              }
              return 2;
            }),
            0);
}

TEST_F(WorkerMemory, ASharedMappingDoesNotCount) {
  using namespace cohort::literals;
  EXPECT_EQ(end_of([] {
              apply({.memory = used() + 16_MiB}, 0);
              void* place = ::mmap(nullptr, 256_MiB, PROT_READ | PROT_WRITE,
                                   MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
              return place == MAP_FAILED ? 1 : 0;
            }),
            0);
}

TEST_F(WorkerMemory, LessThanTheWorkerStartsWithIsRefusedWithTheWayOut) {
  const std::string text = refusal_of({.memory = 4096});
  EXPECT_TRUE(contains(text, "WorkerLimits::memory = 4096")) << text;
  EXPECT_TRUE(contains(text, "StartMethod::forkserver")) << text;
}

// ---- CPU time

TEST_F(WorkerLimitsApplied, AWorkerPastItsCpuTimeIsKilledBySigxcpu) {
  EXPECT_EQ(end_of([] {
              apply({.cpu_time = 1s}, 0);
              for (volatile unsigned spin = 0;;) spin = spin + 1;
              return 0;
            }),
            -SIGXCPU);
}

TEST_F(WorkerLimitsApplied, ACpuTimeWithoutEndIsAllowed) {
  EXPECT_EQ(end_of([] {
              apply({.cpu_time = std::chrono::seconds::max()}, 0);
              return 0;
            }),
            0);
}

// A second later SIGKILL comes: the hard limit.
TEST_F(WorkerLimitsApplied, AWorkerHasASecondToHandleSigxcpu) {
  EXPECT_EQ(end_of([] {
              apply({.cpu_time = 5s}, 0);
              const auto limit = cohort::os::limit_of(cohort::os::Resource::cpu);
              return limit.soft == 5 && limit.hard == 6 ? 0 : 1;
            }),
            0);
}

// ---- descriptors

TEST_F(WorkerLimitsApplied, PastItsOpenFilesAWorkerOpensNoMore) {
  EXPECT_EQ(end_of([] {
              apply({.open_files = 50}, 0);
              int last = -1;
              for (int i = 0; i < 100; ++i) {
                const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
                if (fd < 0) return errno == EMFILE && last == 49 ? 0 : 1;
                last = fd;
              }
              return 2;
            }),
            0);
}

TEST_F(WorkerLimitsApplied, MoreOpenFilesThanTheHardLimitAreRefusedWithTheWayOut) {
  const std::string text = refusal_of({.open_files = 300}, 0, [] {
    lower_hard_limit_of_files(200);
    give_up_privileges();
  });
  EXPECT_TRUE(contains(text, "WorkerLimits::open_files = 300")) << text;
  EXPECT_TRUE(contains(text, "200")) << text;
  EXPECT_TRUE(contains(text, "ulimit -H")) << text;
}

TEST_F(WorkerLimitsApplied, AsManyOpenFilesAsTheHardLimitAreAllowed) {
  EXPECT_EQ(end_of([] {
              lower_hard_limit_of_files(200);
              give_up_privileges();
              apply({.open_files = 200}, 0);
              return cohort::os::limit_of(cohort::os::Resource::files).soft == 200 ? 0 : 1;
            }),
            0);
}

// ---- niceness

TEST_F(WorkerLimitsApplied, NiceIsAdded) {
  EXPECT_EQ(end_of([] {
              const int before = ::getpriority(PRIO_PROCESS, 0);
              apply({.nice = 3}, 0);
              apply({.nice = 2}, 0);
              return ::getpriority(PRIO_PROCESS, 0) == std::min(before + 5, 19) ? 0 : 1;
            }),
            0);
}

TEST_F(WorkerLimitsApplied, NiceEndsAtTheNicest) {
  EXPECT_EQ(end_of([] {
              apply({.nice = 19}, 0);
              apply({.nice = 19}, 0);
              return ::getpriority(PRIO_PROCESS, 0) == 19 ? 0 : 1;
            }),
            0);
}

TEST_F(WorkerLimitsApplied, ANegativeNiceWithoutThePrivilegeIsRefusedWithTheWayOut) {
  const std::string text = refusal_of({.nice = -5}, 0, [] {
    const rlimit none{0, 0};
    ::setrlimit(RLIMIT_NICE, &none);
    give_up_privileges();
  });
  EXPECT_TRUE(contains(text, "WorkerLimits::nice = -5")) << text;
  EXPECT_TRUE(contains(text, "CAP_SYS_NICE")) << text;
}

// ---- CPUs

std::vector<int> cpus_here() {
  cpu_set_t set;
  ::sched_getaffinity(0, sizeof set, &set);
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(static_cast<std::size_t>(cpu), &set)) cpus.push_back(cpu);
  }
  return cpus;
}

TEST_F(WorkerLimitsApplied, WorkersTakeTheirCpusInTurn) {
  const std::vector<int> all = cohort::os::usable_cpus();
  ASSERT_EQ(all, cpus_here());
  const std::vector<int> cpus = {all.front(), all.back()};
  for (std::uint32_t worker = 0; worker < 4; ++worker) {
    EXPECT_EQ(end_of([&] {
                apply({.cpus = cpus}, worker);
                return cpus_here() == std::vector<int>{cpus[worker % 2]} ? 0 : 1;
              }),
              0)
        << "worker " << worker;
  }
}

TEST_F(WorkerLimitsApplied, ThreadsOfAPinnedWorkerStayOnItsCpu) {
  const int cpu = cohort::os::usable_cpus().back();
  EXPECT_EQ(end_of([&] {
              apply({.cpus = {cpu}}, 5);
              std::vector<int> seen;
              std::thread([&] { seen = cpus_here(); }).join();
              return seen == std::vector<int>{cpu} ? 0 : 1;
            }),
            0);
}

TEST_F(WorkerLimitsApplied, ACpuThatTheMachineLacksIsRefusedByName) {
  const std::string text = refusal_of({.cpus = {0, 60'000}}, 1);
  EXPECT_TRUE(contains(text, "worker 1 cannot run on CPU 60000")) << text;
}

TEST_F(WorkerLimitsApplied, NoLimitsChangeNothing) {
  EXPECT_EQ(end_of([] {
              const auto cpus = cpus_here();
              const int nice = ::getpriority(PRIO_PROCESS, 0);
              const auto files = cohort::os::limit_of(cohort::os::Resource::files);
              const auto data = cohort::os::limit_of(cohort::os::Resource::data);
              apply({}, 3);
              const auto files_after = cohort::os::limit_of(cohort::os::Resource::files);
              const auto data_after = cohort::os::limit_of(cohort::os::Resource::data);
              const bool same = cpus == cpus_here() && nice == ::getpriority(PRIO_PROCESS, 0) &&
                                files.soft == files_after.soft && files.hard == files_after.hard &&
                                data.soft == data_after.soft && data.hard == data_after.hard;
              return same ? 0 : 1;
            }),
            0);
}

// ---- nonsense

TEST_F(WorkerLimitsChecked, SensibleOnesPass) {
  EXPECT_NO_THROW(check({}));
  EXPECT_NO_THROW(check({.memory = 1, .cpu_time = 1s, .open_files = 1, .nice = 0}));
  EXPECT_NO_THROW(check({.nice = -20}));
  EXPECT_NO_THROW(check({.nice = 19, .cpus = cohort::os::usable_cpus()}));
}

TEST_F(WorkerLimitsChecked, NonsenseIsRefused) {
  EXPECT_THROW(check({.memory = 0}), std::invalid_argument);
  EXPECT_THROW(check({.cpu_time = 0s}), std::invalid_argument);
  EXPECT_THROW(check({.cpu_time = -1s}), std::invalid_argument);
  EXPECT_THROW(check({.open_files = 0}), std::invalid_argument);
  EXPECT_THROW(check({.nice = -21}), std::invalid_argument);
  EXPECT_THROW(check({.nice = 20}), std::invalid_argument);
  EXPECT_THROW(check({.cpus = {-1}}), std::invalid_argument);
  EXPECT_THROW(check({.cpus = {1 << 20}}), std::invalid_argument);
}

TEST_F(WorkerLimitsChecked, TheMessageNamesTheField) {
  try {
    check({.nice = 20});
    FAIL() << "it was not refused";
  } catch (const std::invalid_argument& error) {
    EXPECT_TRUE(contains(error.what(), "WorkerLimits::nice")) << error.what();
  }
}

TEST_F(WorkerLimitsChecked, ACpuOutsideTheProcesssOwnIsRefused) {
  const std::vector<int> all = cohort::os::usable_cpus();
  if (all.size() < 2) GTEST_SKIP() << "this machine has one CPU for us";
  EXPECT_EQ(end_of([&] {
              if (cohort::os::run_on(all.front()) != 0) return 1;
              check({.cpus = {all.front()}});
              try {
                check({.cpus = {all.front(), all.back()}});
              } catch (const std::invalid_argument&) {
                return 0;
              }
              return 2;
            }),
            0);
}

// ---- values

TEST_F(WorkerLimitsChecked, TravelToTheWorkers) {
  const WorkerLimits limits = {
      .memory = 1 << 20, .cpu_time = 7s, .open_files = 100, .nice = -1, .cpus = {0, 2, 1}};
  for (const WorkerLimits& sent : {WorkerLimits{}, limits}) {
    cohort::detail::HeapWriter writer;
    cohort::detail::encode(writer, sent);
    cohort::detail::Reader reader(writer.bytes());
    EXPECT_EQ(cohort::detail::decode<WorkerLimits>(reader), sent);
    EXPECT_EQ(reader.remaining(), 0U);
  }
}

namespace by_literals {
using namespace cohort::literals;
static_assert(4_KiB == 4096 && 3_MiB == 3 * 1024 * 1024);
}  // namespace by_literals
namespace by_library {
using namespace cohort;
static_assert(4_GiB == std::size_t{4} << 30);
static_assert(std::is_same_v<decltype(1_KiB), std::size_t>);
}  // namespace by_library

}  // namespace
