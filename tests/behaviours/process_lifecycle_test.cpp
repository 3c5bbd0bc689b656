// The behaviours of a process from its construction to its end.
#include <signal.h>
#include <unistd.h>

#include <cohort/pool.hpp>
#include <cohort/threading.hpp>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "processes.hpp"

namespace {

using namespace test;
namespace threading = cohort::threading;

void wait_for_a_signal() {
  for (;;) ::pause();
}

class ProcessLifecycle : public EachMethod {};
INSTANTIATE_TEST_SUITE_P(Methods, ProcessLifecycle, every_method(), method_name);

bool is_active(pid_t pid) {
  for (const auto& child : cohort::active_children()) {
    if (child.pid() == pid) return true;
  }
  return false;
}

struct SelfDescription {
  bool alive = false;
  bool daemon = true;
  int pid = 0;
  int system_pid = 0;
  bool has_exit_code = true;
  std::string name;
  std::string authkey;
};
SelfDescription describe_self() {
  auto self = cohort::current_process();
  return {self.is_alive(), self.daemon(), self.pid(), ::getpid(), self.exitcode().has_value(),
          self.name(),     self.authkey()};
}

// behaviour: Process/current-describes-self
TEST_P(ProcessLifecycle, TheCurrentProcessDescribesItself) {
  auto here = describe_self();
  EXPECT_TRUE(here.alive);
  EXPECT_FALSE(here.daemon);
  EXPECT_EQ(here.pid, ::getpid());
  EXPECT_FALSE(here.has_exit_code);

  auto channel = Channel::make();
  Process child(
      with(), [](Channel& c) { c.send(describe_self()); }, channel);
  child.start();
  auto there = channel.receive<SelfDescription>();
  child.join();
  EXPECT_TRUE(there.alive);
  EXPECT_FALSE(there.daemon);
  EXPECT_EQ(there.pid, there.system_pid);
  EXPECT_EQ(there.pid, child.pid());
  EXPECT_FALSE(there.has_exit_code);
}

// behaviour: Process/current-has-authkey
TEST_F(ProcessLifecycle, TheMainProcessOwnsASecretFromItsStart) {
  EXPECT_GE(cohort::current_process().authkey().size(), 16U);
  EXPECT_EQ(cohort::current_process().authkey(), cohort::current_process().authkey());
}

// behaviour: Process/authkey-inherited
TEST_P(ProcessLifecycle, AChildHasItsCreatorsSecret) {
  auto channel = Channel::make();
  Process child(
      with(), [](Channel& c) { c.send(cohort::current_process().authkey()); }, channel);
  EXPECT_EQ(child.authkey(), cohort::current_process().authkey());
  child.start();
  EXPECT_EQ(channel.receive<std::string>(), cohort::current_process().authkey());
  child.join();
}

TEST_P(ProcessLifecycle, ASecretThatWasSetIsTheChildsToo) {
  std::string before = cohort::current_process().authkey();
  cohort::set_authkey("another secret");
  auto channel = Channel::make();
  Process child(
      with(), [](Channel& c) { c.send(cohort::current_process().authkey()); }, channel);
  child.start();
  EXPECT_EQ(channel.receive<std::string>(), "another secret");
  child.join();
  cohort::set_authkey(before);
}

// behaviour: Process/args-any-container, Process/positional-args-delivered
TEST_P(ProcessLifecycle, ArgumentsArriveInOrderWithTheirValuesAndNesting) {
  using List = std::vector<std::string>;
  using Tuple = std::tuple<int, std::pair<double, List>>;
  using Map = std::map<std::string, List>;
  auto channel = Channel::make();
  const List list{"x", "", "z"};
  const Tuple tuple{-7, {0.25, {"a", "b"}}};
  const Map map{{"one", {"1"}}, {"none", {}}};
  Process child(
      with(),
      [](Channel& c, int number, const std::string& text, const List& l, const Tuple& t,
         const Map& m) { c.send(std::tuple(number, text, l, t, m)); },
      channel, 42, std::string("some text"), list, tuple, map);
  child.start();
  auto got = channel.receive<std::tuple<int, std::string, List, Tuple, Map>>();
  child.join();
  EXPECT_EQ(got, std::tuple(42, std::string("some text"), list, tuple, map));
  EXPECT_EQ(child.exitcode(), 0);
}

// behaviour: Process/daemon-default-from-creator
TEST_P(ProcessLifecycle, TheDaemonFlagIsCopiedFromTheCreator) {
  EXPECT_FALSE(Process(with(), wait_for_a_signal).daemon());
  auto channel = Channel::make();
  for (bool daemon : {true, false}) {
    Process child(
        with({.daemon = daemon}), [](Channel& c) { c.send(Process(wait_for_a_signal).daemon()); },
        channel);
    child.start();
    EXPECT_EQ(channel.receive<bool>(), daemon);
    child.join();
  }
}

// behaviour: Process/daemon-explicit-override
TEST_P(ProcessLifecycle, AnExplicitDaemonFlagWinsOverTheCreators) {
  EXPECT_TRUE(Process(with({.daemon = true}), wait_for_a_signal).daemon());
  auto channel = Channel::make();
  Process child(
      with({.daemon = true}),
      [](Channel& c) {
        c.send(Process({.daemon = false}, wait_for_a_signal).daemon());
        c.send(Process({.daemon = true}, wait_for_a_signal).daemon());
        c.send(cohort::current_process().daemon());
      },
      channel);
  child.start();
  EXPECT_FALSE(channel.receive<bool>());
  EXPECT_TRUE(channel.receive<bool>());
  EXPECT_TRUE(channel.receive<bool>());
  child.join();
}

// Better than the model: the row Process/daemon-may-not-have-children does not apply.
TEST_P(ProcessLifecycle, ADaemonMayHaveChildrenAndTheyDieWithIt) {
  auto channel = Channel::make();
  Process daemon(
      with({.daemon = true}),
      [](Channel& c, StartMethod method) {
        Process grandchild({.start_method = method}, wait_for_a_signal);
        grandchild.start();
        c.send(static_cast<int>(grandchild.pid()));
        wait_for_a_signal();
      },
      channel, GetParam());
  daemon.start();
  pid_t grandchild = channel.receive<int>();
  daemon.kill();
  daemon.join();
  EXPECT_TRUE(disappears(grandchild));
}

// behaviour: Process/before-start-state, Process/after-start-state, Process/after-join-state
TEST_P(ProcessLifecycle, ItsStateFollowsItsLife) {
  auto gate = Channel::make();
  Process child(
      with(), [](Channel& g) { g.receive<int>(); }, gate);
  EXPECT_FALSE(child.is_alive());
  EXPECT_FALSE(child.exitcode());
  EXPECT_EQ(child.pid(), 0);
  auto active = cohort::active_children().size();

  child.start();
  EXPECT_TRUE(child.is_alive());
  EXPECT_FALSE(child.exitcode());
  EXPECT_EQ(cohort::active_children().size(), active + 1);
  EXPECT_TRUE(is_active(child.pid()));

  gate.send(1);
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
  EXPECT_FALSE(child.is_alive());
  EXPECT_FALSE(is_active(child.pid()));
}

// behaviour: Process/name-visible-inside, Process/pid-agrees-both-sides
TEST_P(ProcessLifecycle, NameAndPidAreTheSameOnBothSides) {
  auto channel = Channel::make();
  Process child(
      with({.name = "a worker's name"}), [](Channel& c) { c.send(describe_self()); }, channel);
  child.start();
  auto there = channel.receive<SelfDescription>();
  child.join();
  EXPECT_EQ(there.name, "a worker's name");
  EXPECT_EQ(child.name(), "a worker's name");
  EXPECT_EQ(there.system_pid, child.pid());
}

TEST_P(ProcessLifecycle, ALongNameArrivesWhole) {
  auto channel = Channel::make();
  const std::string name(300, 'n');
  Process child(
      with({.name = name}), [](Channel& c) { c.send(cohort::current_process().name()); }, channel);
  child.start();
  EXPECT_EQ(channel.receive<std::string>(), name);
  child.join();
}

TEST_P(ProcessLifecycle, ProcessesWithoutANameGetDifferentOnes) {
  Process a(with(), wait_for_a_signal);
  Process b(with(), wait_for_a_signal);
  EXPECT_TRUE(a.name().starts_with("Process-"));
  EXPECT_NE(a.name(), b.name());
}

// behaviour: Process/main-thread-id-refreshed
TEST_P(ProcessLifecycle, TheMainThreadsKernelIdIsTheChildsOwn) {
  auto channel = Channel::make();
  pid_t here = threading::get_native_id();
  Process child(
      with(), [](Channel& c) { c.send(static_cast<int>(threading::get_native_id())); }, channel);
  child.start();
  int there = channel.receive<int>();
  child.join();
  EXPECT_NE(there, here);
  EXPECT_EQ(there, child.pid());
}

// behaviour: Process/join-zero-polls, Process/join-negative-polls
TEST_P(ProcessLifecycle, AJoinForNoTimeAsksWithoutWaiting) {
  Process child(with({.daemon = true}), wait_for_a_signal);
  child.start();
  EXPECT_FALSE(child.join_for(0s));
  EXPECT_FALSE(child.join_for(-1s));
  EXPECT_FALSE(child.join_for(std::chrono::hours(-24 * 365)));
  EXPECT_FALSE(child.join_for(1ms));
  EXPECT_TRUE(child.is_alive());
  child.terminate();
  EXPECT_TRUE(child.join_for(kPatience));
}

// behaviour: Process/join-repeatable
TEST_P(ProcessLifecycle, JoiningAgainSucceedsAtOnce) {
  Process child(with(), wait_for_a_signal);
  child.start();
  child.kill();
  child.join();
  child.join();
  EXPECT_TRUE(child.join_for(0s));
  EXPECT_EQ(child.exitcode(), -SIGKILL);
}

// behaviour: Process/join-unstarted-refused
TEST_P(ProcessLifecycle, JoiningAnUnstartedProcessIsAnError) {
  Process child(with(), wait_for_a_signal);
  EXPECT_THROW(child.join(), cohort::InvalidStateError);
  EXPECT_THROW(child.join_for(0s), cohort::InvalidStateError);
}

// behaviour: Process/many-short-children
TEST_P(ProcessLifecycle, AHundredChildrenAtOnceAreAllReaped) {
  const int count = GetParam() == StartMethod::spawn ? 5 : 100;
  auto here = Channel::make();
  auto gate = Channel::make();
  std::vector<Process> children;
  for (int i = 0; i < count; ++i) {
    children.emplace_back(
        with(),
        [](Channel& h, Channel& g) {
          h.send(1);
          g.receive<int>();
        },
        here, gate);
    children.back().start();
  }
  for (int i = 0; i < count; ++i) here.receive<int>();
  EXPECT_EQ(cohort::active_children().size(), static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) gate.send(i);
  for (auto& child : children) child.join();
  for (auto& child : children) EXPECT_EQ(child.exitcode(), 0);
  EXPECT_TRUE(cohort::active_children().empty());
}

// behaviour: Process/many-terminated-at-birth
TEST_P(ProcessLifecycle, ChildrenTerminatedAtBirthAllSaySo) {
  const int count = GetParam() == StartMethod::spawn ? 10 : 100;
  std::vector<Process> children;
  for (int i = 0; i < count; ++i) {
    children.emplace_back(with(), wait_for_a_signal);
    children.back().start();
    if (i % 2 == 0) children.back().join_for(1ms);
    children.back().terminate();
  }
  for (auto& child : children) child.join();
  for (auto& child : children) EXPECT_EQ(child.exitcode(), -SIGTERM) << child;
  EXPECT_TRUE(cohort::active_children().empty());
}

// behaviour: Process/waits-for-plain-threads
TEST_P(ProcessLifecycle, AChildEndsOnlyAfterItsPlainThreads) {
  auto gate = Channel::make();
  auto done = Channel::make();
  Process child(
      with(),
      [](Channel& g, Channel& d) {
        threading::Thread thread([g, d] {
          g.receive<int>();
          d.send(1);
        });
        thread.start();
        d.send(0);
      },
      gate, done);
  child.start();
  EXPECT_EQ(done.receive<int>(), 0);
  EXPECT_FALSE(child.join_for(20ms));
  gate.send(1);
  EXPECT_EQ(done.receive<int>(), 1);
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
}

// behaviour: Process/ignores-daemon-threads
TEST_P(ProcessLifecycle, AChildDoesNotWaitForItsDaemonThreads) {
  auto gate = Channel::make();
  auto done = Channel::make();
  Process child(
      with(),
      [](Channel& g, Channel& d) {
        threading::Thread thread({.daemon = true}, [g, d] {
          g.receive<int>();
          d.send(1);
        });
        thread.start();
      },
      gate, done);
  child.start();
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
  gate.send(1);
  EXPECT_TRUE(done.empty());
}

// behaviour: Process/broken-stdio-in-parent
TEST_P(ProcessLifecycle, AProgramWithBrokenStandardStreamsStillStartsChildren) {
  std::string method(cohort::to_string(GetParam()));
  for (const char* how : {"close-stdout", "close-stderr", "close-all", "fclose-stdout",
                          "fclose-stderr", "full", "none"}) {
    auto outcome = run_program("broken_stdio", {how, method});
    EXPECT_EQ(outcome.code, 0) << how << ": " << outcome;
  }
  for (const std::vector<int>& closed : {std::vector{0}, {1}, {2}, {0, 1, 2}}) {
    auto outcome = run_program("broken_stdio", {"none", method}, {.closed = closed});
    EXPECT_EQ(outcome.code, 0) << closed.size() << " closed from " << closed[0] << ": " << outcome;
  }
}

// behaviour: Process/broken-stdio-in-child
TEST_P(ProcessLifecycle, AChildThatDropsItsStandardStreamsEndsWithZero) {
  auto close_both = [] {
    std::fputs("unwritten", stdout);
    ::close(1);
    ::close(2);
  };
  auto fclose_both = [] {
    std::fclose(stdout);
    std::fclose(stderr);
  };
  auto fill = [] {
    if (!std::freopen("/dev/full", "w", stdout)) std::exit(9);
    std::fputs("nowhere to go", stdout);
  };
  for (int how = 0; how < 3; ++how) {
    Process child = how == 0   ? Process(with(), close_both)
                    : how == 1 ? Process(with(), fclose_both)
                               : Process(with(), fill);
    child.start();
    child.join();
    EXPECT_EQ(child.exitcode(), 0) << how;
  }
}

// behaviour: Process/pool-inside-child
TEST_P(ProcessLifecycle, AChildCanUseAPool) {
  auto channel = Channel::make();
  Process child(
      with(),
      [](Channel& c) {
        cohort::Pool pool(4);
        auto squares = pool.map([](int x) { return x * x; }, std::vector{1, 2, 3, 4, 5});
        pool.close();
        pool.join();
        c.send(squares);
      },
      channel);
  child.start();
  EXPECT_EQ(channel.receive<std::vector<int>>(), (std::vector{1, 4, 9, 16, 25}));
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
}

// behaviour: Process/buffer-not-flushed-twice
TEST_P(ProcessLifecycle, WhatAStreamHeldBeforeTheStartComesOutOnce) {
  Folder folder;
  {
    std::ofstream stream(folder / "stream");
    std::FILE* file = std::fopen((folder / "file").c_str(), "w");
    stream << "stream once\n";
    std::fputs("file once\n", file);
    Process child(with(), [] {});
    child.start();
    child.join();
    EXPECT_EQ(child.exitcode(), 0);
    std::fclose(file);
  }
  EXPECT_EQ(content_of(folder / "stream"), "stream once\n");
  EXPECT_EQ(content_of(folder / "file"), "file once\n");
}

TEST_P(ProcessLifecycle, WhatStdoutHeldBeforeTheStartComesOutOnce) {
  auto outcome = run_program("buffered_output", {std::string(cohort::to_string(GetParam()))});
  EXPECT_EQ(outcome.code, 0);
  std::string before_init = GetParam() == StartMethod::spawn ? "" : "printf before init\n";
  EXPECT_EQ(outcome.out, before_init +
                             "printf before start\ncout before start\nprintf in child\n"
                             "cout in child\nprintf after\n")
      << outcome;
}

class Summer : public Process {
 public:
  Summer(Channel channel, std::vector<int> numbers)
      : channel_(channel), numbers_(std::move(numbers)) {}
  int sum() const { return channel_.receive<int>(); }

 private:
  void run() override {
    int sum = 0;
    for (int number : numbers_) sum += number;
    channel_.send(sum);
  }
  Channel channel_;
  std::vector<int> numbers_;
};

// behaviour: Process/override-run
TEST_F(ProcessLifecycle, ADerivedClassRunsItsOwnBodyAndItsMembersServeBothSides) {
  Summer summer(Channel::make(), {1, 2, 3});
  EXPECT_EQ(summer.start_method(), StartMethod::fork);
  summer.start();
  EXPECT_EQ(summer.sum(), 6);
  summer.join();
  EXPECT_EQ(summer.exitcode(), 0);
}

// behaviour: Process/cpu-count
TEST_F(ProcessLifecycle, TheCpuCountIsAtLeastOne) {
  static_assert(std::is_integral_v<decltype(cohort::cpu_count())>);
  EXPECT_GE(cohort::cpu_count(), 1U);
}

// behaviour: Children/list-type
TEST_P(ProcessLifecycle, TheListOfChildrenIsTheCallersOwn) {
  Process child(with(), wait_for_a_signal);
  child.start();
  auto children = cohort::active_children();
  static_assert(std::is_same_v<decltype(children), std::vector<cohort::ProcessInfo>>);
  ASSERT_EQ(children.size(), 1U);
  EXPECT_EQ(children[0].name(), child.name());
  EXPECT_EQ(children[0].start_method(), GetParam());
  children.clear();
  EXPECT_EQ(cohort::active_children().size(), 1U);
  child.kill();
  child.join();
}

// behaviour: Parent/pid-and-name
TEST_P(ProcessLifecycle, AChildKnowsItsParentsPidAndName) {
  EXPECT_FALSE(cohort::parent_process());
  using Answer = std::tuple<int, std::string, bool, int>;
  auto report = [](Channel& c) {
    auto parent = cohort::parent_process();
    c.send(Answer(parent->pid(), parent->name(), parent->is_alive(),
                  cohort::current_process().parent_pid()));
  };
  auto channel = Channel::make();
  Process child(with(), report, channel);
  child.start();
  EXPECT_EQ(channel.receive<Answer>(), Answer(::getpid(), "MainProcess", true, ::getpid()));
  child.join();

  Process nested(
      with({.name = "the middle"}),
      [](Channel& c, StartMethod method) {
        Process inner(
            {.start_method = method},
            [](Channel& d) {
              auto parent = cohort::parent_process();
              d.send(std::pair(int{parent->pid()}, parent->name()));
            },
            c);
        inner.start();
        inner.join();
      },
      channel, GetParam());
  nested.start();
  EXPECT_EQ((channel.receive<std::pair<int, std::string>>()),
            std::pair(int{nested.pid()}, std::string("the middle")));
  nested.join();
}

// behaviour: Sentinel/before-start-error
TEST_P(ProcessLifecycle, AnUnstartedProcessHasNoSentinel) {
  Process child(with(), wait_for_a_signal);
  EXPECT_THROW((void)child.sentinel(), cohort::InvalidStateError);
}

// behaviour: Sentinel/is-descriptor, Sentinel/ready-after-exit
TEST_P(ProcessLifecycle, TheSentinelIsReadyFromTheEndOn) {
  Process child(with(), wait_for_a_signal);
  child.start();
  int sentinel = child.sentinel();
  pollfd polled{sentinel, POLLIN, 0};
  EXPECT_EQ(::poll(&polled, 1, 0), 0);
  child.terminate();
  EXPECT_EQ(::poll(&polled, 1, 30'000), 1);
  child.join();
  EXPECT_EQ(child.sentinel(), sentinel);
  EXPECT_EQ(::poll(&polled, 1, 0), 1);
}

// behaviour: Close/refused-while-alive, Close/after-exit-disables, Close/idempotent
TEST_P(ProcessLifecycle, CloseIsForEndedProcesses) {
  Process child(with(), wait_for_a_signal);
  child.start();
  EXPECT_THROW(child.close(), cohort::InvalidStateError);
  EXPECT_TRUE(child.is_alive());
  child.terminate();
  child.join();
  child.close();
  EXPECT_THROW((void)child.is_alive(), cohort::InvalidStateError);
  EXPECT_THROW(child.join(), cohort::InvalidStateError);
  EXPECT_THROW(child.terminate(), cohort::InvalidStateError);
  EXPECT_THROW((void)child.exitcode(), cohort::InvalidStateError);
  child.close();
}

// behaviour: Close/frees-object
TEST_P(ProcessLifecycle, AClosedProcessLeavesNoDescriptorBehind) {
  auto once = [] {
    Process child(with(), [] {});
    child.start();
    child.join();
    child.close();
    EXPECT_TRUE(cohort::active_children().empty());
    return open_descriptors();
  };
  auto before = once();  // the connection to the fork server is made by the first start
  EXPECT_EQ(once(), before);
}

}  // namespace
