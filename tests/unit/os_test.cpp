#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <functional>
#include <system_error>
#include <thread>
#include <vector>

#include "member.hpp"
#include "os/call.hpp"
#include "os/clone.hpp"
#include "os/fd.hpp"
#include "os/futex.hpp"
#include "os/memory.hpp"
#include "os/pidfd.hpp"
#include "os/signals.hpp"
#include "os/socket.hpp"

namespace {

using namespace cohort::os;
using namespace std::chrono_literals;
using test::Shared;
using test::soon;

class Descriptors : public test::Watched {};
class Memory : public test::Watched {};
class Processes : public test::Watched {};
class Sockets : public test::Watched {};
class Futex : public test::Watched {};
class Signals : public test::Watched {};

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) != -1; }

std::array<Fd, 2> make_pipe() {
  int ends[2];
  must("pipe2", [&] { return ::pipe2(ends, O_CLOEXEC); });
  return {Fd(ends[0]), Fd(ends[1])};
}

std::size_t bytes_in_use(int fd) {
  struct stat status {};
  must("fstat", [&] { return ::fstat(fd, &status); });
  return static_cast<std::size_t>(status.st_blocks) * 512;
}

// A child made without glibc's fork, which runs `body` and exits with its result.
Cloned clone_running(const std::function<int()>& body, CloneOptions options = {}) {
  Cloned child = clone_process(options);
  if (child.pid == 0) ::_exit(body());
  if (child.pid < 0) fail("clone3", child.error);
  return child;
}

std::optional<ExitCode> reap_at_end(const Pidfd& process) {
  if (!wait_readable(process.get(), soon())) return std::nullopt;
  return process.reap();
}

TEST_F(Descriptors, AreClosedByTheirLastOwnerOnly) {
  auto [readable, writable] = make_pipe();
  int raw = readable.get();
  Fd moved = std::move(readable);
  EXPECT_FALSE(readable);
  EXPECT_EQ(moved.get(), raw);
  EXPECT_TRUE(is_open(raw));
  moved = Fd();
  EXPECT_FALSE(is_open(raw));
}

TEST_F(Descriptors, SurviveAnAssignmentToThemselves) {
  auto [readable, writable] = make_pipe();
  Fd& same = readable;
  readable = std::move(same);
  EXPECT_TRUE(is_open(readable.get()));
}

TEST_F(Descriptors, GivenAwayAreNotClosed) {
  auto [readable, writable] = make_pipe();
  int raw = Fd(std::move(readable)).release();
  EXPECT_TRUE(is_open(raw));
  Fd owner(raw);
}

TEST_F(Descriptors, DuplicatesAreIndependentAndDoNotCrossExec) {
  auto [readable, writable] = make_pipe();
  Fd copy = writable.duplicate();
  EXPECT_EQ(::fcntl(copy.get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  writable.reset();
  EXPECT_EQ(::write(copy.get(), "x", 1), 1);
  set_close_on_exec(copy.get(), false);
  EXPECT_EQ(::fcntl(copy.get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(Descriptors, ThatCannotBeDuplicatedSayWhy) {
  try {
    Fd().duplicate();
    FAIL() << "duplicated nothing";
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code().value(), EBADF);
    EXPECT_NE(std::strstr(error.what(), "F_DUPFD_CLOEXEC"), nullptr);
  }
}

TEST_F(Descriptors, WaitUntilReadableHungUpOrTooLate) {
  auto [readable, writable] = make_pipe();
  EXPECT_FALSE(wait_readable(readable.get(), Clock::time_point{}));
  auto before = Clock::now();
  EXPECT_FALSE(wait_readable(readable.get(), before + 20ms));
  EXPECT_GE(Clock::now(), before + 20ms);
  EXPECT_EQ(::write(writable.get(), "x", 1), 1);
  EXPECT_TRUE(wait_readable(readable.get(), Clock::time_point{}));
  char byte;
  EXPECT_EQ(::read(readable.get(), &byte, 1), 1);
  writable.reset();
  EXPECT_TRUE(wait_readable(readable.get(), soon()));
}

TEST_F(Descriptors, PollTimeoutsRoundUpAndNeverOverflow) {
  EXPECT_EQ(poll_timeout(std::nullopt), -1);
  EXPECT_EQ(poll_timeout(Clock::time_point{}), 0);
  EXPECT_GE(poll_timeout(Clock::now() + 10ms), 1);
  EXPECT_EQ(poll_timeout(Clock::now() + 10000h), INT_MAX);
}

TEST_F(Memory, IsSharedByAllMappingsOfAFileAndSparse) {
  Fd file = make_memory_file("cohort-test", std::size_t{1} << 30);
  EXPECT_EQ(file_size(file.get()), std::size_t{1} << 30);
  Mapping one(file.get(), std::size_t{1} << 30);
  Mapping two(file.get(), std::size_t{1} << 30);
  one.data()[123456] = std::byte{7};
  EXPECT_EQ(two.data()[123456], std::byte{7});
  EXPECT_LE(bytes_in_use(file.get()), std::size_t{64} << 10);
}

TEST_F(Memory, PunchedGoesBackToTheSystemAndReadsAsZero) {
  constexpr std::size_t kBytes = 8 << 20;
  Fd file = make_memory_file("cohort-test", kBytes);
  Mapping memory(file.get(), kBytes);
  std::memset(memory.data(), 1, kBytes);
  EXPECT_GE(bytes_in_use(file.get()), kBytes);
  memory.punch(1 << 20, 6 << 20);
  EXPECT_LE(bytes_in_use(file.get()), kBytes - (6 << 20) + (64 << 10));
  EXPECT_EQ(memory.data()[(1 << 20) - 1], std::byte{1});
  EXPECT_EQ(memory.data()[1 << 20], std::byte{0});
  EXPECT_EQ(memory.data()[(7 << 20) - 1], std::byte{0});
  EXPECT_EQ(memory.data()[7 << 20], std::byte{1});
}

TEST_F(Memory, PunchSparesPagesThatItCoversInPart) {
  constexpr std::size_t kBytes = 1 << 20;
  auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  Fd file = make_memory_file("cohort-test", kBytes);
  Mapping memory(file.get(), kBytes);
  std::memset(memory.data(), 1, kBytes);
  memory.punch(page / 2, 2 * page);
  EXPECT_EQ(memory.data()[page - 1], std::byte{1});
  EXPECT_EQ(memory.data()[page], std::byte{0});
  EXPECT_EQ(memory.data()[2 * page - 1], std::byte{0});
  EXPECT_EQ(memory.data()[2 * page], std::byte{1});
  memory.punch(page * 8 + 1, page - 1);
  EXPECT_EQ(memory.data()[page * 8 + 1], std::byte{1});
}

TEST_F(Memory, MappingsMoveAndStayOutOfCoreDumps) {
  Fd file = make_memory_file("cohort-test", 1 << 20);
  Mapping one(file.get(), 1 << 20);
  std::byte* place = one.data();
  Mapping two = std::move(one);
  EXPECT_EQ(one.data(), nullptr);
  EXPECT_EQ(two.data(), place);
  std::FILE* maps = std::fopen("/proc/self/smaps", "r");
  ASSERT_NE(maps, nullptr);
  char line[512], start[32];
  std::snprintf(start, sizeof start, "%lx-", reinterpret_cast<unsigned long>(place));
  bool inside = false, not_dumped = false;
  while (std::fgets(line, sizeof line, maps)) {
    if (std::strchr(line, '-') && !std::strstr(line, ": "))
      inside = std::strncmp(line, start, std::strlen(start)) == 0;
    if (inside && std::strncmp(line, "VmFlags:", 8) == 0)
      not_dumped = std::strstr(line, " dd") != nullptr;
  }
  std::fclose(maps);
  EXPECT_TRUE(not_dumped);
}

TEST_F(Processes, MadeByCloneAreReapedWithTheirExitCodes) {
  for (int code : {0, 3, 255}) {
    Cloned child = clone_running([code] { return code; });
    Pidfd process(std::move(child.pidfd));
    EXPECT_EQ(reap_at_end(process), code);
    EXPECT_EQ(process.reap(), std::nullopt);  // once only
  }
}

TEST_F(Processes, MadeByCloneHoldNoneOfTheirCreatorsRobustMutexes) {
  struct Pair {
    pthread_mutex_t first, second;
  };
  test::Shared<Pair> mutexes;
  pthread_mutexattr_t kind;
  pthread_mutexattr_init(&kind);
  pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&mutexes->first, &kind);
  pthread_mutex_init(&mutexes->second, &kind);
  ASSERT_EQ(pthread_mutex_lock(&mutexes->first), 0);
  std::array<std::byte, sizeof(pthread_mutex_t)> before{};
  std::memcpy(before.data(), &mutexes->first, before.size());
  Cloned child = clone_running([&] { return pthread_mutex_lock(&mutexes->second); });
  Pidfd process(std::move(child.pidfd));
  EXPECT_EQ(reap_at_end(process), 0);
  // Linked into the child's own list, it would name the child's other mutex now.
  EXPECT_EQ(std::memcmp(before.data(), &mutexes->first, before.size()), 0);
  EXPECT_EQ(pthread_mutex_lock(&mutexes->second), EOWNERDEAD);
  EXPECT_EQ(pthread_mutex_unlock(&mutexes->second), 0);
  EXPECT_EQ(pthread_mutex_unlock(&mutexes->first), 0);
}

TEST_F(Processes, MadeByCloneAreUnseenByThePlainWaitsOfTheHost) {
  auto [readable, writable] = make_pipe();
  Cloned child = clone_running([&, fd = readable.get()] {
    writable.reset();
    char byte;
    return ::read(fd, &byte, 1) == 0 ? 5 : 6;
  });
  int status = 0;
  EXPECT_EQ(::waitpid(-1, &status, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
  writable.reset();
  Pidfd process(std::move(child.pidfd));
  ASSERT_TRUE(wait_readable(process.get(), soon()));
  EXPECT_EQ(::waitpid(-1, &status, WNOHANG), -1);
  EXPECT_EQ(process.reap(), 5);
}

TEST_F(Processes, KilledBySignalsSayWhich) {
  for (int signal : {SIGKILL, SIGTERM, SIGABRT}) {
    Cloned child = clone_running([] {
      reset_dispositions();
      for (;;) ::pause();
      return 0;
    });
    Pidfd process(std::move(child.pidfd));
    EXPECT_FALSE(process.ended());
    EXPECT_EQ(process.reap(), std::nullopt);
    EXPECT_TRUE(process.send(signal));
    EXPECT_EQ(reap_at_end(process), -signal);
    EXPECT_TRUE(process.ended());
  }
}

TEST_F(Processes, AreReportedWhereTheHostIgnoresItsChildren) {
  auto before = ::signal(SIGCHLD, SIG_IGN);
  Cloned child = clone_running([] { return 9; });
  Pidfd process(std::move(child.pidfd));
  EXPECT_EQ(reap_at_end(process), 9);
  ::signal(SIGCHLD, before);
}

TEST_F(Processes, TellTheirExitCodeAfterSomebodyElseReapedThem) {
  Cloned child = clone_running([] { return 42; });
  Pidfd process(std::move(child.pidfd));
  ASSERT_TRUE(wait_readable(process.get(), soon()));
  int status = 0;
  ASSERT_EQ(::waitpid(child.pid, &status, __WALL), child.pid);
  EXPECT_EQ(process.reap(), std::nullopt);
  auto recorded = process.recorded_exit();
  // Kernels before 6.15 keep no record: then there is no answer rather than a wrong one.
  if (recorded) {
    EXPECT_EQ(*recorded, 42);
  }
}

TEST_F(Processes, ThatAreGoneHaveNoPidfdAndTakeNoSignal) {
  Cloned child = clone_running([] { return 0; });
  Pidfd process(std::move(child.pidfd));
  ASSERT_EQ(reap_at_end(process), 0);
  EXPECT_FALSE(Pidfd::open(child.pid));
  EXPECT_FALSE(process.send(SIGTERM));
  EXPECT_EQ(start_time(child.pid), std::nullopt);
  EXPECT_TRUE(Pidfd::open(::getpid()));
}

TEST_F(Processes, StartTimesLieBetweenTheMomentsAroundTheStart) {
  constexpr std::uint64_t kTick = 10'000'000;
  auto before = boot_time_now();
  Cloned child = clone_running([] {
    for (;;) ::pause();
    return 0;
  });
  auto started = start_time(child.pid);
  auto after = boot_time_now();
  Pidfd process(std::move(child.pidfd));
  process.send(SIGKILL);
  reap_at_end(process);
  ASSERT_TRUE(started);
  EXPECT_GE(*started + kTick, before);
  EXPECT_LE(*started, after);
}

TEST_F(Processes, ClonedStoreTheirPidBeforeTheCallIsSeen) {
  Shared<std::atomic<std::int32_t>> pid;
  Cloned child =
      clone_running([&] { return pid->load() == ::getpid() ? 0 : 1; }, {.pid_out = &*pid});
  EXPECT_EQ(pid->load(), child.pid);
  EXPECT_EQ(reap_at_end(Pidfd(std::move(child.pidfd))), 0);
}

TEST_F(Processes, AskedForAsSiblingsBelongToTheParent) {
  Shared<std::atomic<std::int32_t>> sibling;
  auto [readable, writable] = make_pipe();
  Cloned child = clone_running([&] {
    Cloned made = clone_process({.sibling = true, .pid_out = &*sibling});
    if (made.pid == 0) {
      writable.reset();
      char byte;
      while (::read(readable.get(), &byte, 1) > 0) {
      }
      ::_exit(21);
    }
    return made.pid > 0 ? 0 : 1;
  });
  EXPECT_EQ(reap_at_end(Pidfd(std::move(child.pidfd))), 0);
  Pidfd grandchild = Pidfd::open(sibling->load());
  ASSERT_TRUE(grandchild);
  writable.reset();
  EXPECT_EQ(reap_at_end(grandchild), 21);
}

// glibc caches the thread id that a robust mutex stores, and the kernel walks the list that the
// thread registered: a raw clone that repaired neither, or one of them only, would leave the next
// locker waiting for ever.
TEST_F(Processes, ClonedAndKilledGiveTheirRobustMutexesToTheNextLocker) {
  struct Cell {
    pthread_mutex_t mutex;
    std::atomic<std::uint32_t> locked;
  };
  Shared<Cell> cell;
  pthread_mutexattr_t attributes;
  ::pthread_mutexattr_init(&attributes);
  ::pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  ::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  ::pthread_mutex_init(&cell->mutex, &attributes);
  ::pthread_mutexattr_destroy(&attributes);
  for (int round = 0; round < 20; ++round) {
    cell->locked = 0;
    Cloned child = clone_running([&] {
      if (::pthread_mutex_lock(&cell->mutex) != 0) return 1;
      cell->locked = 1;
      futex_wake_all(cell->locked);
      for (;;) ::pause();
      return 0;
    });
    while (cell->locked == 0) futex_wait(cell->locked, 0, soon());
    Pidfd process(std::move(child.pidfd));
    process.send(SIGKILL);
    ASSERT_EQ(::pthread_mutex_lock(&cell->mutex), EOWNERDEAD);  // a hang is the watchdog's
    EXPECT_EQ(::pthread_mutex_consistent(&cell->mutex), 0);
    EXPECT_EQ(::pthread_mutex_unlock(&cell->mutex), 0);
    EXPECT_EQ(reap_at_end(process), -SIGKILL);
  }
  ::pthread_mutex_destroy(&cell->mutex);
}

TEST_F(Sockets, KeepRecordsWholeAndTellTheEnd) {
  auto [left, right] = socket_pair();
  std::array<std::byte, 64> out{}, in{};
  for (std::size_t length : {1, 64, 17}) {
    out[0] = static_cast<std::byte>(length);
    ASSERT_TRUE(send_record(left.get(), std::span(out).first(length)));
  }
  for (std::size_t length : {1, 64, 17}) {
    auto received = receive_record(right.get(), in);
    ASSERT_TRUE(received);
    EXPECT_EQ(received->bytes, length);
    EXPECT_EQ(in[0], static_cast<std::byte>(length));
  }
  auto idle = receive_record(right.get(), in, false);
  ASSERT_TRUE(idle);
  EXPECT_EQ(idle->bytes, 0U);
  left.reset();
  EXPECT_FALSE(receive_record(right.get(), in));
  EXPECT_FALSE(receive_record(right.get(), in, false));
}

TEST_F(Sockets, AnswerFalseAndRaiseNoSignalWhenThePeerIsGone) {
  ASSERT_EQ(::signal(SIGPIPE, SIG_DFL), SIG_DFL);  // one would end the test
  std::byte data{};
  for (auto make : {socket_pair, datagram_pair}) {
    auto [left, right] = make();
    right.reset();
    EXPECT_FALSE(send_record(left.get(), std::span(&data, 1)));
  }
}

TEST_F(Sockets, PassManyDescriptorsThatWorkAndDoNotCrossExec) {
  auto [left, right] = socket_pair();
  constexpr std::size_t kMany = 16;
  std::vector<std::array<Fd, 2>> pipes;
  std::vector<int> raw;
  for (std::size_t i = 0; i < kMany; ++i) {
    pipes.push_back(make_pipe());
    raw.push_back(pipes.back()[1].get());
  }
  std::byte data{};
  ASSERT_TRUE(send_record(left.get(), std::span(&data, 1), raw));
  auto received = receive_record(right.get(), std::span(&data, 1));
  ASSERT_TRUE(received);
  ASSERT_EQ(received->fds.size(), kMany);
  for (std::size_t i = 0; i < kMany; ++i) {
    EXPECT_EQ(::fcntl(received->fds[i].get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    char byte = static_cast<char>('a' + i);
    EXPECT_EQ(::write(received->fds[i].get(), &byte, 1), 1);
    char seen = 0;
    EXPECT_EQ(::read(pipes[i][0].get(), &seen, 1), 1);
    EXPECT_EQ(seen, byte);
  }
}

TEST_F(Sockets, RefuseMoreDescriptorsThanARecordCarries) {
  auto [left, right] = socket_pair();
  std::vector<int> raw(17, left.get());
  std::byte data{};
  EXPECT_THROW(send_record(left.get(), std::span(&data, 1), raw), std::system_error);
}

TEST_F(Sockets, CloseDescriptorsThatNobodyTakes) {
  auto [readable, writable] = make_pipe();
  {
    auto [left, right] = socket_pair();
    std::byte data{};
    int raw = writable.get();
    ASSERT_TRUE(send_record(left.get(), std::span(&data, 1), std::span(&raw, 1)));
    writable.reset();
    EXPECT_FALSE(wait_readable(readable.get(), Clock::time_point{}));  // alive in the socket
  }
  EXPECT_TRUE(wait_readable(readable.get(), soon()));
}

TEST_F(Sockets, OfDatagramsTakeManyWriters) {
  auto [left, right] = datagram_pair();
  std::vector<Cloned> writers;
  for (int i = 0; i < 8; ++i) {
    writers.push_back(clone_running([&, i] {
      auto number = static_cast<std::byte>(i);
      return send_record(left.get(), std::span(&number, 1)) ? 0 : 1;
    }));
  }
  std::vector<int> seen(8);
  for (int i = 0; i < 8; ++i) {
    std::byte number{};
    auto received = receive_record(right.get(), std::span(&number, 1));
    ASSERT_TRUE(received);
    ++seen.at(static_cast<std::size_t>(number));
  }
  EXPECT_EQ(seen, std::vector<int>(8, 1));
  for (auto& writer : writers) EXPECT_EQ(reap_at_end(Pidfd(std::move(writer.pidfd))), 0);
}

TEST_F(Futex, WaitsEndAtTheirDeadlineAndNotBefore) {
  std::atomic<std::uint32_t> word{1};
  auto until = Clock::now() + 30ms;
  FutexResult result;
  while ((result = futex_wait(word, 1, until)) == FutexResult::interrupted) {
  }
  EXPECT_EQ(result, FutexResult::timed_out);
  EXPECT_GE(Clock::now(), until);
  EXPECT_EQ(futex_wait(word, 1, Clock::time_point{}), FutexResult::timed_out);
  EXPECT_EQ(futex_wait(word, 2, std::nullopt), FutexResult::changed);
}

TEST_F(Futex, WakesSleepersOfOtherProcesses) {
  struct Cell {
    std::atomic<std::uint32_t> word, woken;
  };
  Shared<Cell> cell;
  std::vector<Cloned> sleepers;
  for (int i = 0; i < 4; ++i) {
    sleepers.push_back(clone_running([&] {
      while (cell->word.load() == 0) futex_wait(cell->word, 0, soon());
      cell->woken.fetch_add(1);
      return 0;
    }));
  }
  cell->word.store(1);
  // Whoever does not sleep yet finds the word changed.
  futex_wake_all(cell->word);
  for (auto& sleeper : sleepers) EXPECT_EQ(reap_at_end(Pidfd(std::move(sleeper.pidfd))), 0);
  EXPECT_EQ(cell->woken.load(), 4U);
  EXPECT_EQ(futex_wake(cell->word, 1), 0);
}

TEST_F(Signals, AreDefaultAndUnblockedInAChildThatResetsThem) {
  struct sigaction before {};
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGHUP, &ignore, &before);
  auto handler = [](int) {};
  auto old_term = ::signal(SIGTERM, handler);
  auto old_int = ::signal(SIGINT, SIG_IGN);
  auto old_real_time = ::signal(SIGRTMIN + 3, handler);
  Cloned child;
  {
    SignalsBlocked blocked;
    child = clone_running([] {
      reset_dispositions();
      unblock_all_signals();
      sigset_t mask;
      ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
      for (int number = 1; number < 32; ++number)
        if (::sigismember(&mask, number) == 1) return 1;
      for (int number : {SIGTERM, SIGINT, SIGALRM, SIGRTMIN + 3}) {
        struct sigaction now {};
        ::sigaction(number, nullptr, &now);
        if (now.sa_handler != SIG_DFL) return 2;
      }
      struct sigaction hangup {};
      ::sigaction(SIGHUP, nullptr, &hangup);
      return hangup.sa_handler == SIG_IGN ? 0 : 3;  // as nohup leaves it
    });
  }
  EXPECT_EQ(reap_at_end(Pidfd(std::move(child.pidfd))), 0);
  ::sigaction(SIGHUP, &before, nullptr);
  ::signal(SIGTERM, old_term);
  ::signal(SIGINT, old_int);
  ::signal(SIGRTMIN + 3, old_real_time);
}

TEST_F(Signals, AreBlockedForAScope) {
  sigset_t during, after;
  {
    SignalsBlocked blocked;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &during);
  }
  ::pthread_sigmask(SIG_SETMASK, nullptr, &after);
  EXPECT_EQ(::sigismember(&during, SIGTERM), 1);
  EXPECT_EQ(::sigismember(&after, SIGTERM), 0);
}

TEST_F(Signals, DoNotCutShortACallThatIsRetried) {
  auto [readable, writable] = make_pipe();
  struct sigaction act {};
  struct sigaction before {};
  act.sa_handler = [](int) {};
  ::sigaction(SIGUSR1, &act, &before);  // without SA_RESTART: calls end with EINTR
  pthread_t reader = ::pthread_self();
  std::thread writer([&] {
    for (int i = 0; i < 20; ++i) {
      ::pthread_kill(reader, SIGUSR1);
      std::this_thread::yield();
    }
    ASSERT_EQ(::write(writable.get(), "x", 1), 1);
  });
  char byte = 0;
  EXPECT_EQ(must("read", [&] { return ::read(readable.get(), &byte, 1); }), 1);
  writer.join();
  ::sigaction(SIGUSR1, &before, nullptr);
}

}  // namespace
