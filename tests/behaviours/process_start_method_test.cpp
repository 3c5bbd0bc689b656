// The behaviours of start methods, of the fork server, and of what children inherit.
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cohort/threading.hpp>
#include <cstdlib>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "processes.hpp"

namespace {

using namespace test;
namespace threading = cohort::threading;

class StartMethods : public EachMethod {};
INSTANTIATE_TEST_SUITE_P(Methods, StartMethods, every_method(), method_name);

std::string name_of(StartMethod method) { return std::string(cohort::to_string(method)); }

// behaviour: StartMethod/context-reports-its-method
TEST_P(StartMethods, AContextReportsItsMethodAndItself) {
  auto context = cohort::get_context(GetParam());
  EXPECT_EQ(context.get_start_method(), GetParam());
  EXPECT_EQ(context.get_context().get_start_method(), GetParam());
}

template <class Context>
concept Settable = requires(Context& context) {
  context.set_start_method(StartMethod::fork);
};

// behaviour: StartMethod/context-is-fixed
TEST_F(StartMethods, AContextHasNoWayToChangeItsMethod) {
  static_assert(!Settable<cohort::Context>);
  auto context = cohort::get_context(StartMethod::spawn);
  auto child = context.process({.start_method = StartMethod::fork}, [] {});
  EXPECT_EQ(child.start_method(), StartMethod::spawn);
}

// behaviour: StartMethod/child-knows-method
TEST_P(StartMethods, AChildKnowsHowItWasStarted) {
  auto channel = Channel::make();
  auto child = cohort::get_context(GetParam())
                   .process(
                       [](Channel& c) {
                         c.send(std::pair(cohort::get_start_method(),
                                          cohort::current_process().start_method()));
                       },
                       channel);
  child.start();
  EXPECT_EQ((channel.receive<std::pair<StartMethod, StartMethod>>()),
            std::pair(GetParam(), GetParam()));
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
}

TEST_P(StartMethods, AMethodThatTheProgramChoseHoldsInItsChildren) {
  cohort::set_start_method(StartMethod::spawn);
  auto channel = Channel::make();
  Process child(
      with(), [](Channel& c) { c.send(cohort::get_start_method()); }, channel);
  child.start();
  EXPECT_EQ(channel.receive<StartMethod>(), StartMethod::spawn);
  child.join();
  cohort::set_start_method(StartMethod::forkserver);
}

// behaviour: StartMethod/context-does-not-leak-to-global, StartMethod/entry-hook-does-not-decide
// behaviour: StartMethod/default-is-first-and-not-fork
TEST_F(StartMethods, TheGlobalMethodIsOpenAfterInitAndAfterContextsAreUsed) {
  auto outcome = run_program("start_method", {});
  EXPECT_EQ(outcome.code, 0) << outcome;
  EXPECT_EQ(outcome.out,
            "before init: fork\n"
            "after init: forkserver\n"
            "after a context's process: forkserver\n"
            "after set_start_method: spawn\n"
            "a process of no method: spawn\n")
      << outcome;
  EXPECT_EQ(cohort::get_all_start_methods().front(), StartMethod::forkserver);
  EXPECT_EQ(cohort::get_all_start_methods().size(), 3U);
}

// behaviour: StartMethod/named-primitives-go-everywhere
TEST_P(StartMethods, AHandleWorksWithChildrenOfEveryMethod) {
  auto channel = Channel::make();
  Process maker(
      with(),
      [](Channel& c) {
        auto made_here = Channel::make();
        for (auto method : cohort::get_all_start_methods()) {
          Process child(
              {.start_method = method}, [](Channel& d, int x) { d.send(x); }, made_here,
              static_cast<int>(method));
          child.start();
          c.send(std::pair(static_cast<int>(method), made_here.receive<int>()));
          child.join();
        }
        c.send(made_here);  // and outlives its maker
        made_here.send(77);
      },
      channel);
  maker.start();
  for (int i = 0; i < 3; ++i) {
    auto [sent, got] = channel.receive<std::pair<int, int>>();
    EXPECT_EQ(got, sent);
  }
  auto received = channel.receive<Channel>();
  maker.join();
  EXPECT_EQ(maker.exitcode(), 0);
  EXPECT_EQ(received.receive<int>(), 77);
}

// behaviour: StartMethod/nested-pass-on
TEST_P(StartMethods, AChildPassesItsArgumentOnToItsOwnChild) {
  auto channel = Channel::make();
  Process child(
      with(),
      [](Channel& c, StartMethod method) {
        Process grandchild(
            {.start_method = method},
            [](Channel& d) { d.send(std::string("from the grandchild")); }, c);
        grandchild.start();
        grandchild.join();
        c.send(std::string("from the child"));
      },
      channel, GetParam());
  child.start();
  EXPECT_EQ(channel.receive<std::string>(), "from the grandchild");
  EXPECT_EQ(channel.receive<std::string>(), "from the child");
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
}

// behaviour: StartMethod/unguarded-is-fine-with-fork
TEST_F(StartMethods, AProgramWithoutInitStartsProcessesByFork) {
  auto outcome = run_program("no_init", {"fork"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.out, "123\n");
  EXPECT_EQ(outcome.err, "");
}

// A socket with a high number, as no library would open it.
class HighSocket {
 public:
  HighSocket() {
    int pair[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    for (int& fd : pair) {
      high_.push_back(::fcntl(fd, F_DUPFD, 500));
      ::close(fd);
    }
  }
  ~HighSocket() {
    for (int fd : high_) ::close(fd);
  }
  int number() const { return high_[0]; }

 private:
  std::vector<int> high_;
};

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) != -1; }

bool open_in_child(StartMethod method, int fd) {
  auto channel = Channel::make();
  Process child(
      {.start_method = method}, [](Channel& c, int f) { c.send(is_open(f)); }, channel, fd);
  child.start();
  bool answer = channel.receive<bool>();
  child.join();
  return answer;
}

// behaviour: StartMethod/unneeded-fds-not-inherited, StartMethod/fork-inherits-fds
TEST_P(StartMethods, OnlyAForkInheritsTheCreatorsDescriptors) {
  HighSocket socket;
  ASSERT_GE(socket.number(), 500);
  EXPECT_EQ(open_in_child(GetParam(), socket.number()), GetParam() == StartMethod::fork);
}

// behaviour: StartMethod/unstarted-thread-usable-in-fork-child
TEST_F(StartMethods, AThreadMadeBeforeAForkCanBeStartedInTheChild) {
  auto channel = Channel::make();
  threading::Thread thread([channel] { channel.send(5); });
  auto child = Process::forked([&] {
    thread.start();
    thread.join();
  });
  child.start();
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
  EXPECT_EQ(channel.receive<int>(), 5);
}

// behaviour: StartMethod/global-semaphore-no-leak-report
TEST_P(StartMethods, AGlobalHandleIsMadeAgainInASpawnedChildWithoutComplaint) {
  auto outcome = run_program("leaves", {"global", name_of(GetParam())});
  EXPECT_EQ(outcome.code, 0) << outcome;
  EXPECT_EQ(outcome.err, "");
}

// ---- the fork server

// behaviour: ForkServer/survives-sigint
TEST_F(StartMethods, TheForkServerSurvivesSigint) {
  auto server = cohort::fork_server_pid();
  ASSERT_TRUE(server);
  ::kill(*server, SIGINT);
  for (int i = 0; i < 3; ++i) {
    Process child(
        {.start_method = StartMethod::forkserver}, [](int c) { std::exit(c); }, i);
    child.start();
    child.join();
    EXPECT_EQ(child.exitcode(), i);
  }
  EXPECT_EQ(cohort::fork_server_pid(), server);
}

// behaviour: ForkServer/preload-honoured, ForkServer/preload-runs-once
// behaviour: ForkServer/flushes-before-fork, ForkServer/argv-known-at-preload
TEST_F(StartMethods, APreloadRunsOnceAndItsOutputComesOutOnce) {
  auto outcome = run_program("preloads", {"an argument"});
  EXPECT_EQ(outcome.code, 0) << outcome;
  EXPECT_EQ(outcome.out,
            "preloaded with an argument\n"
            "child 0: loaded 1 time, an argument\n"
            "child 1: loaded 1 time, an argument\n")
      << outcome;
}

}  // namespace
