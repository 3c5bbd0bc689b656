// Process beyond the behaviour tables: its object, its end, what it tells, and its relatives.
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cohort/async.hpp>
#include <cohort/finalize.hpp>
#include <cohort/process.hpp>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "os/cpus.hpp"
#include "processes.hpp"

namespace {

using namespace test;

class Processes : public EachMethod {};
INSTANTIATE_TEST_SUITE_P(Methods, Processes, every_method(), method_name);

void wait_for_a_signal() {
  for (;;) ::pause();
}

void say_and_wait(Channel& running) {
  running.send(static_cast<int>(::getpid()));
  wait_for_a_signal();
}

std::string text_of(const Process& process) {
  std::ostringstream text;
  text << process;
  return text.str();
}

// ---- the object

TEST_P(Processes, AMovedProcessIsTheSameProcess) {
  auto gate = Channel::make();
  Process first(
      with({.name = "it"}), [](Channel& g) { g.receive<int>(); }, gate);
  Process second(std::move(first));
  second.start();
  pid_t pid = second.pid();
  Process third(std::move(second));
  EXPECT_EQ(third.pid(), pid);
  EXPECT_TRUE(third.is_alive());
  std::vector<Process> many;
  many.push_back(std::move(third));
  gate.send(1);
  many[0].join();
  EXPECT_EQ(many[0].exitcode(), 0);
  EXPECT_THROW(third.join(), cohort::InvalidStateError);
  EXPECT_THROW((void)third.pid(), cohort::InvalidStateError);
  EXPECT_EQ(text_of(third), "<Process moved>");
}

TEST_P(Processes, AssigningOverARunningProcessJoinsItFirst) {
  auto done = Channel::make();
  Process process(
      with(), [](Channel& d) { d.send(1); }, done);
  process.start();
  process = Process(with({.name = "next"}), [] {});
  EXPECT_FALSE(done.empty());
  EXPECT_EQ(process.name(), "next");
  EXPECT_TRUE(cohort::active_children().empty());
}

TEST_P(Processes, DestructionJoinsAPlainProcess) {
  auto gate = Channel::make();
  auto done = Channel::make();
  {
    Process process(
        with(),
        [](Channel& g, Channel& d) {
          g.receive<int>();
          d.send(1);
        },
        gate, done);
    process.start();
    gate.send(1);
  }
  EXPECT_FALSE(done.empty());
  EXPECT_TRUE(cohort::active_children().empty());
}

TEST_P(Processes, DestructionEndsADaemon) {
  auto running = Channel::make();
  cohort::os::Pidfd process;
  {
    Process daemon(with({.daemon = true}), say_and_wait, running);
    daemon.start();
    process = cohort::os::Pidfd::open(running.receive<int>());
  }
  EXPECT_TRUE(process.ended());
  EXPECT_TRUE(cohort::active_children().empty());
}

TEST_P(Processes, DestructionOfAnUnstartedProcessDoesNothing) {
  Process process(with(), wait_for_a_signal);
}

TEST_P(Processes, TheDaemonFlagCanBeSetUntilTheStart) {
  auto running = Channel::make();
  Process process(with(), say_and_wait, running);
  process.set_daemon(true);
  EXPECT_TRUE(process.daemon());
  process.start();
  EXPECT_THROW(process.set_daemon(false), cohort::InvalidStateError);
  EXPECT_TRUE(process.daemon());
}

TEST_P(Processes, StartingTwiceIsAnErrorAndChangesNothing) {
  auto running = Channel::make();
  Process process(with(), say_and_wait, running);
  process.start();
  pid_t pid = process.pid();
  EXPECT_THROW(process.start(), cohort::InvalidStateError);
  EXPECT_EQ(process.pid(), pid);
  EXPECT_TRUE(process.is_alive());
  process.kill();
  process.join();
  EXPECT_THROW(process.start(), cohort::InvalidStateError);
}

TEST_P(Processes, AnUnstartedProcessCannotBeSignalled) {
  Process process(with(), wait_for_a_signal);
  EXPECT_THROW(process.terminate(), cohort::InvalidStateError);
  EXPECT_THROW(process.kill(), cohort::InvalidStateError);
  EXPECT_THROW(process.interrupt(), cohort::InvalidStateError);
  process.close();
  EXPECT_THROW(process.start(), cohort::InvalidStateError);
}

TEST_P(Processes, ItPrintsItselfInEveryState) {
  auto running = Channel::make();
  std::string me = std::to_string(::getpid());
  Process process(with({.name = "printed", .daemon = true}), say_and_wait, running);
  EXPECT_EQ(text_of(process), "<Process name='printed' parent=" + me + " initial daemon>");
  process.start();
  std::string known =
      "<Process name='printed' pid=" + std::to_string(process.pid()) + " parent=" + me;
  EXPECT_EQ(text_of(process), known + " started daemon>");
  process.terminate();
  process.join();
  EXPECT_EQ(text_of(process), known + " stopped exitcode=-SIGTERM daemon>");
  process.close();
  EXPECT_EQ(text_of(process), "<Process name='printed' closed>");

  Process exits(with({.name = "e"}), [] { std::exit(3); });
  exits.start();
  exits.join();
  EXPECT_NE(text_of(exits).find(" stopped exitcode=3>"), std::string::npos);

  Process real_time(with({.name = "r"}), [] { std::raise(SIGRTMIN + 1); });
  real_time.start();
  real_time.join();
  EXPECT_NE(text_of(real_time).find("exitcode=-SIG35>"), std::string::npos) << text_of(real_time);
}

// ---- the end

TEST_P(Processes, EveryExitCodeArrives) {
  int step = GetParam() == StartMethod::spawn ? 37 : 1;
  for (int first = 0; first < 256; first += 16 * step) {
    std::vector<std::pair<Process, int>> batch;
    for (int code = first; code < std::min(256, first + 16 * step); code += step) {
      batch.emplace_back(Process(
                             with(), [](int c) { std::exit(c); }, code),
                         code);
      batch.back().first.start();
    }
    for (auto& [process, code] : batch) {
      process.join();
      EXPECT_EQ(process.exitcode(), code);
    }
  }
}

TEST_P(Processes, EverySignalThatEndsItIsTold) {
  const std::set<int> harmless{SIGCHLD, SIGCONT, SIGURG, SIGWINCH};
  const std::set<int> stopping{SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU};
  for (int signal = 1; signal <= SIGRTMAX; ++signal) {
    // 32 and 33 are the C library's own.
    if (stopping.contains(signal) || (signal > SIGSYS && signal < SIGRTMIN)) continue;
    Process process(
        with(),
        [](int s) {
          rlimit none{};
          ::setrlimit(RLIMIT_CORE, &none);
          std::raise(s);
        },
        signal);
    process.start();
    process.join();
    EXPECT_EQ(process.exitcode(), harmless.contains(signal) ? 0 : -signal);
  }
}

TEST_P(Processes, AnAbortIsMinusSigabrt) {
  Process process(with(), [] {
    rlimit none{};
    ::setrlimit(RLIMIT_CORE, &none);
    std::abort();
  });
  process.start();
  process.join();
  EXPECT_EQ(process.exitcode(), -SIGABRT);
}

TEST_P(Processes, AChildStartsWithDefaultSignalsAndNothingBlocked) {
  struct Restore {
    sigset_t mask;
    void (*usr1)(int);
    void (*pipe)(int);
    ~Restore() {
      ::pthread_sigmask(SIG_SETMASK, &mask, nullptr);
      std::signal(SIGUSR1, usr1);
      std::signal(SIGPIPE, pipe);
    }
  } restore{};
  sigset_t blocked;
  ::sigemptyset(&blocked);
  ::sigaddset(&blocked, SIGUSR2);
  ::pthread_sigmask(SIG_BLOCK, &blocked, &restore.mask);
  restore.usr1 = std::signal(SIGUSR1, [](int) {});
  restore.pipe = std::signal(SIGPIPE, SIG_IGN);

  using Answer = std::tuple<bool, bool, bool>;
  auto channel = Channel::make();
  Process process(
      with(),
      [](Channel& c) {
        sigset_t mask;
        ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
        c.send(Answer(::sigismember(&mask, SIGUSR2) == 0, std::signal(SIGUSR1, SIG_DFL) == SIG_DFL,
                      std::signal(SIGPIPE, SIG_DFL) == SIG_DFL));
      },
      channel);
  process.start();
  EXPECT_EQ(channel.receive<Answer>(), Answer(true, true, true));
  process.join();
}

TEST_P(Processes, SeveralThreadsMayJoinAndAsk) {
  auto gate = Channel::make();
  Process process(
      with(),
      [](Channel& g) {
        g.receive<int>();
        std::exit(5);
      },
      gate);
  process.start();
  std::vector<std::thread> threads;
  std::vector<int> codes(8, -1);
  for (std::size_t i = 0; i < codes.size(); ++i) {
    threads.emplace_back([&, i] {
      if (i % 2 == 0) {
        process.join();
      } else {
        while (process.is_alive()) process.join_for(1ms);
      }
      codes[i] = *process.exitcode();
    });
  }
  gate.send(1);
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(codes, std::vector(8, 5));
}

TEST_P(Processes, SeveralThreadsMayStartProcesses) {
  constexpr int kThreads = 4;
  constexpr int kEach = 10;
  auto channel = Channel::make();
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        Process process(
            with(), [](Channel& c, int n) { c.send(n); }, channel, t * kEach + i);
        process.start();
        process.join();
        if (process.exitcode() == 0) ++right;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(right, kThreads * kEach);
  std::set<int> numbers;
  for (int i = 0; i < kThreads * kEach; ++i) numbers.insert(channel.receive<int>());
  EXPECT_EQ(numbers.size(), std::size_t{kThreads * kEach});
}

// ---- what a process knows of itself and its relatives

struct Known {
  std::string name;
  bool daemon = false;
  StartMethod method{};
  int parent = 0;
  bool operator==(const Known&) const = default;
};

TEST_P(Processes, TheInfoOfAChildIsWhatItSaysOfItself) {
  auto channel = Channel::make();
  auto gate = Channel::make();
  Process process(
      with({.name = "known", .daemon = true}),
      [](Channel& c, Channel& g) {
        auto self = cohort::current_process();
        c.send(Known{self.name(), self.daemon(), self.start_method(), self.parent_pid()});
        g.receive<int>();
      },
      channel, gate);
  process.start();
  EXPECT_EQ(channel.receive<Known>(), (Known{"known", true, GetParam(), ::getpid()}));
  auto infos = cohort::active_children();
  ASSERT_EQ(infos.size(), 1U);
  auto info = infos[0];
  EXPECT_EQ(info.pid(), process.pid());
  EXPECT_EQ(info.name(), "known");
  EXPECT_TRUE(info.daemon());
  EXPECT_EQ(info.start_method(), GetParam());
  EXPECT_EQ(info.parent_pid(), ::getpid());
  EXPECT_TRUE(info.is_alive());
  EXPECT_FALSE(info.exitcode());
  gate.send(1);
  process.join();
  EXPECT_FALSE(info.is_alive());
}

TEST_P(Processes, AChildSeesItsParentsDeath) {
  auto channel = Channel::make();
  auto gate = Channel::make();
  Process parent(
      with(),
      [](Channel& c, Channel& g, StartMethod method) {
        Process child(
            {.start_method = method},
            [](Channel& d, Channel& h) {
              auto info = *cohort::parent_process();
              d.send(info.is_alive());
              d.send(static_cast<int>(::getpid()));
              h.receive<int>();
              d.send(info.is_alive());
            },
            c, g);
        child.start();
        child.join();
      },
      channel, gate, GetParam());
  parent.start();
  EXPECT_TRUE(channel.receive<bool>());
  pid_t grandchild = channel.receive<int>();
  parent.kill();
  parent.join();
  gate.send(1);
  EXPECT_FALSE(channel.receive<bool>());
  EXPECT_TRUE(disappears(grandchild));
}

// Ends the test's processes of a family whose parent is killed.
TEST_P(Processes, ADaemonDiesWithItsKilledParentAndAPlainChildLivesOn) {
  auto pids = Channel::make();
  auto gate = Channel::make();
  auto done = Channel::make();
  Process parent(
      with(),
      [](Channel& p, Channel& g, Channel& d, StartMethod method) {
        Process daemon({.daemon = true, .start_method = method}, say_and_wait, p);
        daemon.start();
        Process plain(
            {.start_method = method},
            [](Channel& gg, Channel& dd) {
              gg.receive<int>();
              dd.send(static_cast<int>(::getpid()));
            },
            g, d);
        plain.start();
        p.send(0);
        wait_for_a_signal();
      },
      pids, gate, done, GetParam());
  parent.start();
  pid_t daemon = 0;
  for (int i = 0; i < 2; ++i) daemon = std::max(daemon, pids.receive<int>());
  parent.kill();
  parent.join();
  EXPECT_TRUE(disappears(daemon));
  gate.send(1);
  EXPECT_TRUE(disappears(done.receive<int>()));
}

TEST_P(Processes, ADaemonDiesAtTheNormalEndOfItsParent) {
  auto pids = Channel::make();
  Process parent(
      with(),
      [](Channel& p, StartMethod method) {
        auto& daemon = *new Process({.daemon = true, .start_method = method}, say_and_wait,
                                    p);  // not destroyed
        daemon.start();
        while (p.empty()) daemon.join_for(1ms);
      },
      pids, GetParam());
  parent.start();
  parent.join();
  EXPECT_EQ(parent.exitcode(), 0);
  EXPECT_TRUE(disappears(pids.receive<int>()));
}

TEST_P(Processes, ADaemonThatIgnoresSigtermIsKilledAtTheEndOfItsParent) {
  auto pids = Channel::make();
  Process parent(
      with(),
      [](Channel& p, StartMethod method) {
        auto& daemon = *new Process(
            {.daemon = true, .start_method = method},
            [](Channel& q) {
              std::signal(SIGTERM, SIG_IGN);
              say_and_wait(q);
            },
            p);
        daemon.start();
        while (p.empty()) daemon.join_for(1ms);
      },
      pids, GetParam());
  parent.start();
  parent.join();
  EXPECT_EQ(parent.exitcode(), 0);
  EXPECT_TRUE(disappears(pids.receive<int>()));
}

TEST_P(Processes, APlainChildIsJoinedAtTheNormalEndOfItsParent) {
  auto done = Channel::make();
  auto gate = Channel::make();
  Process parent(
      with(),
      [](Channel& g, Channel& d, StartMethod method) {
        auto& plain = *new Process(
            {.start_method = method},
            [](Channel& gg, Channel& dd) {
              gg.receive<int>();
              dd.send(1);
            },
            g, d);
        plain.start();
        g.send(1);
        std::exit(4);
      },
      gate, done, GetParam());
  parent.start();
  parent.join();
  EXPECT_EQ(parent.exitcode(), 4);
  EXPECT_FALSE(done.empty());
}

// ---- nested starts

void nest(Channel& channel, const std::vector<StartMethod>& methods) {
  channel.send(std::pair(cohort::current_process().start_method(), int{::getppid()}));
  if (methods.empty()) return;
  Process child({.start_method = methods.front()}, nest, channel,
                std::vector<StartMethod>(methods.begin() + 1, methods.end()));
  child.start();
  channel.send(std::pair(methods.front(), int{child.pid()}));
  child.join();
  std::exit(*child.exitcode());
}

TEST_P(Processes, StartsNestThreeDeepInEveryCombination) {
  for (auto second : cohort::get_all_start_methods()) {
    for (auto third : cohort::get_all_start_methods()) {
      auto channel = Channel::make();
      Process child(with(), nest, channel, std::vector{second, third});
      child.start();
      child.join();
      EXPECT_EQ(child.exitcode(), 0);
      std::multiset<StartMethod> seen;
      while (!channel.empty()) seen.insert(channel.receive<std::pair<StartMethod, int>>().first);
      // Each level says its own method, and its parent does.
      EXPECT_EQ(seen, (std::multiset{GetParam(), second, second, third, third}));
    }
  }
}

// ---- the copy of an object in a forked child

TEST_F(Processes, AForkedChildsCopyOfAProcessIsNotItsChild) {
  auto running = Channel::make();
  auto answer = Channel::make();
  std::optional<Process> daemon;
  daemon.emplace(cohort::ProcessOptions{.daemon = true}, say_and_wait, running);
  daemon->start();
  running.receive<int>();
  auto child = Process::forked([&] {
    answer.send(daemon->is_alive());
    try {
      daemon->join();
    } catch (const cohort::InvalidStateError& error) {
      answer.send(std::string(error.what()));
    }
    answer.send(cohort::active_children().size());
    daemon.reset();  // kills nobody
  });
  child.start();
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
  EXPECT_FALSE(answer.receive<bool>());
  EXPECT_NE(answer.receive<std::string>().find("another process"), std::string::npos);
  EXPECT_EQ(answer.receive<std::size_t>(), 0U);
  EXPECT_TRUE(daemon->is_alive());
}

// ---- descriptors

TEST_P(Processes, NoDescriptorLeaksIntoAChild) {
  auto listed = [](Channel& c) { c.send(open_descriptors()); };
  auto channel = Channel::make();
  auto look = [&] {
    Process process(with(), listed, channel);
    process.start();
    process.join();
    return channel.receive<std::vector<int>>();
  };
  auto before = look();
  if (GetParam() == StartMethod::spawn) {
    // The standard streams as far as they are open here, the arena, the bank of descriptors with
    // its two ends, and the way to the fork server.
    EXPECT_LE(before.size(), 7U) << testing::PrintToString(before);
  }
  // More children, with the descriptors that belong to them, and some of the program's own.
  auto gate = Channel::make();
  std::vector<Process> others;
  for (int i = 0; i < 5; ++i) {
    others.emplace_back(
        with(), [](Channel& g) { g.receive<int>(); }, gate);
    others.back().start();
  }
  int own[2];
  ASSERT_EQ(::pipe2(own, GetParam() == StartMethod::fork ? O_CLOEXEC : 0), 0);
  auto after = look();
  for (int i = 0; i < 5; ++i) gate.send(i);
  for (auto& other : others) other.join();
  if (GetParam() == StartMethod::fork) {
    EXPECT_GE(after.size(), before.size());  // a copy has what its creator has
  } else {
    EXPECT_EQ(after, before);
  }
  ::close(own[0]);
  ::close(own[1]);
}

TEST_P(Processes, AThousandShortLivesLeaveNoDescriptorAndNoZombie) {
  auto once = [&] {
    Process process(with(), [] {});
    process.start();
    process.join();
  };
  once();
  auto before = open_descriptors();
  int rounds = GetParam() == StartMethod::spawn ? 50 : kSanitized ? 200 : 1000;
  for (int i = 0; i < rounds; ++i) once();
  EXPECT_EQ(open_descriptors(), before);
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string children = content_of(entry.path() / "children");
    std::istringstream pids(children);
    int count = 0;
    for (int pid = 0; pids >> pid;) ++count;
    EXPECT_LE(count, 2) << children;  // the fork server and its standby
  }
}

// ---- CPUs

TEST_P(Processes, TheCpuCountFollowsTheAffinity) {
  auto channel = Channel::make();
  Process process(
      with(),
      [](Channel& c) {
        cpu_set_t mine;
        CPU_ZERO(&mine);
        ::sched_getaffinity(0, sizeof mine, &mine);
        int first = 0;
        while (!CPU_ISSET(first, &mine)) ++first;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(first, &one);
        ::sched_setaffinity(0, sizeof one, &one);
        c.send(cohort::cpu_count());
      },
      channel);
  process.start();
  EXPECT_EQ(channel.receive<std::size_t>(), 1U);
  process.join();
}

class Cgroups {
 public:
  Cgroups() { std::filesystem::create_directories(folder_ / "a/b/c"); }
  void quota(const std::string& group, const std::string& text) {
    std::ofstream(folder_ / group / "cpu.max") << text << "\n";
  }
  std::size_t cpus(const std::string& own) {
    std::ofstream(folder_ / "cgroup") << own;
    return cohort::os::cpus_by_quota(folder_ / "", folder_ / "cgroup");
  }

 private:
  Folder folder_;
};

TEST_F(Processes, TheCpuQuotaOfTheGroupAndThoseAboveItCounts) {
  Cgroups groups;
  EXPECT_EQ(groups.cpus("0::/a/b/c\n"), 0U);
  groups.quota("a", "max 100000");
  EXPECT_EQ(groups.cpus("0::/a/b/c\n"), 0U);
  groups.quota("a", "400000 100000");
  EXPECT_EQ(groups.cpus("0::/a/b/c\n"), 4U);
  groups.quota("a/b/c", "150000 100000");  // one and a half
  EXPECT_EQ(groups.cpus("0::/a/b/c\n"), 2U);
  EXPECT_EQ(groups.cpus("0::/a/b\n"), 4U);
  groups.quota("a/b/c", "1000 100000");
  EXPECT_EQ(groups.cpus("0::/a/b/c\n"), 1U);
  groups.quota("a/b/c", "nonsense");
  EXPECT_EQ(groups.cpus("0::/a/b/c\n"), 4U);
  EXPECT_EQ(groups.cpus("12:cpu:/a/b/c\n0::/a\n"), 4U);
  EXPECT_EQ(groups.cpus(""), 0U);
  EXPECT_EQ(groups.cpus("0::/gone/away\n"), 0U);
}

}  // namespace
