// The fork server, its standby, askers and children killed at random instants and at every step
// that matters.
#include <gtest/gtest.h>
#include <unistd.h>

#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "chaos.hpp"
#include "cohort/process.hpp"
#include "member.hpp"
#include "os/futex.hpp"
#include "sync/robust_lock.hpp"

namespace {

using namespace std::chrono_literals;
using cohort::Process;
using cohort::StartMethod;
using cohort::arena::Space;
using test::Cells;
using test::Clock;
using test::eventually;
using test::kSanitized;
using test::random_pause;
using test::soon;
using test::standby_pid;

constexpr std::size_t kMostStarts = 100'000;
constexpr int kScale = kSanitized ? 4 : 1;  // sanitized programs are that much slower

StartMethod forkserver_or_spawn(std::size_t index, std::size_t spawned_one_in) {
  return index % spawned_one_in == 0 ? StartMethod::spawn : StartMethod::forkserver;
}

void count(Cells runs, std::size_t index, int code, std::string text) {
  runs[index].fetch_add(1);
  if (text.size() != 3000) code = 77;
  std::exit(code);
}

int code_of(std::size_t index) { return static_cast<int>(index % 100); }

// Starts and joins children until `stop`; answers how many of them did not do what they should.
struct Asker {
  Cells runs;
  Cells control;  // [0]: stop, [1]: the next index, [2]: faults

  template <class Archive>
  void serialize(Archive& archive) {
    archive(runs, control);
  }
  void operator()() const {
    while (control[0].load() == 0 && control[2].load() == 0) {
      std::size_t index = control[1].fetch_add(1);
      if (index >= kMostStarts) return;
      start_and_join(index);
    }
  }
  void start_and_join(std::size_t index) const {
    std::string why;
    try {
      Process child({.start_method = forkserver_or_spawn(index, 16)}, count, runs, index,
                    code_of(index), std::string(3000, 'x'));
      child.start();
      if (!child.join_for(30s))
        why = "was not joined";
      else if (child.exitcode() != code_of(index))
        why = "ended with " + std::to_string(*child.exitcode());
      else if (runs[index].load() != 1)
        why = "ran " + std::to_string(runs[index].load()) + " times";
    } catch (const std::exception& error) {
      why = std::string("was not started: ") + error.what();
    }
    if (why.empty()) return;
    control[2].fetch_add(1);
    std::fprintf(stderr, "child %zu %s\n", index, why.c_str());
  }
};

class LaunchChaos : public test::Watched {
 protected:
  Space& space = Space::here();
  std::mt19937 random{std::random_device{}()};

  void SetUp() override {
    Watched::SetUp();
    ASSERT_TRUE(eventually([] { return standby_pid().has_value(); }));
    blocks_before_ = space.heap().blocks_held();
    slots_before_ = slots();
  }
  void TearDown() override {
    EXPECT_TRUE(eventually([&] { return slots() == slots_before_; }, Clock::now() + 10s))
        << slots() << " member slots are taken, and " << slots_before_ << " were before";
    EXPECT_TRUE(eventually([&] { return space.heap().blocks_held() == blocks_before_; },
                           Clock::now() + 10s))
        << space.heap().blocks_held() << " blocks are held, and " << blocks_before_
        << " were before";
    EXPECT_TRUE(eventually([&] { return zombies() == 0; }, Clock::now() + 10s))
        << zombies() << " zombies are left";
    EXPECT_TRUE(eventually([] { return standby_pid().has_value(); }));
    Watched::TearDown();
  }
  static std::size_t slots() {
    cohort::active_children();  // reaps
    return test::slots_in_use();
  }
  static std::size_t zombies() {
    cohort::active_children();
    auto server = cohort::fork_server_pid();
    return test::zombies_of(::getpid()) + (server ? test::zombies_of(*server) : 0);
  }
  static bool kill_and_wait(pid_t pid) {
    auto process = cohort::os::Pidfd::open(pid);
    return process && process.send(SIGKILL) && cohort::os::wait_readable(process.get(), soon());
  }
  // Kills one of the two while the other lives. Answers false when they do not come to be two.
  static bool kill_one(bool kill_server) {
    std::optional<pid_t> server;
    std::optional<pid_t> standby;
    bool two = eventually([&] {
      server = test::janitor_pid(0);
      standby = standby_pid();
      return server && standby && test::janitor_pid(0) == server;
    });
    return two && kill_and_wait(kill_server ? *server : *standby);
  }
  static bool kill_server() { return kill_one(true); }
  static bool kill_standby() { return kill_one(false); }

  std::size_t blocks_before_ = 0;
  std::size_t slots_before_ = 0;

  // Runs `attack(i)` so many times while threads of this process, and nested askers, start and
  // join.
  template <class Attack>
  void attack_askers(int times, Attack&& attack) {
    Asker asker{Cells(kMostStarts), Cells(3)};
    std::vector<Process> nested;
    for (int i = 0; i < 2; ++i) {
      nested.emplace_back(cohort::ProcessOptions{.start_method = StartMethod::forkserver}, asker);
      nested.back().start();
    }
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) threads.emplace_back(asker);
    int missed = 0;
    for (int i = 0; i < times && missed < 3 && asker.control[2].load() == 0; ++i)
      missed += attack(i) ? 0 : 1;
    asker.control[0].store(1);
    for (auto& thread : threads) thread.join();
    for (auto& process : nested) {
      EXPECT_TRUE(process.join_for(60s));
      EXPECT_EQ(process.exitcode(), 0);
    }
    EXPECT_EQ(asker.control[2].load(), 0U);
    EXPECT_LT(missed, 3);
    std::size_t started = asker.control[1].load();
    EXPECT_GT(started, static_cast<std::size_t>(times) / 4);
    for (std::size_t i = 0; i < started; ++i) ASSERT_EQ(asker.runs[i].load(), 1U) << i;
    RecordProperty("started", static_cast<int>(started));
  }
};

TEST_F(LaunchChaos, AServerKilledAtRandomInstantsNeitherLosesNorDoublesAStart) {
  attack_askers(400 / kScale, [&](int) {
    random_pause(random, 4ms);
    return kill_server();
  });
  // A successor has not inherited what its predecessors had in hand.
  auto server = cohort::fork_server_pid();
  ASSERT_TRUE(server);
  EXPECT_LT(test::descriptors_of(*server), 40U);
}

TEST_F(LaunchChaos, AStandbyKilledAtRandomInstantsIsReplaced) {
  attack_askers(150 / kScale, [&](int) {
    random_pause(random, 4ms);
    return kill_standby();
  });
}

TEST_F(LaunchChaos, ServerAndStandbyMayBeKilledOneAfterTheOther) {
  attack_askers(150 / kScale, [&](int i) {
    if (i % 8 == 0) random_pause(random, 2ms);
    return i % 2 == 0 ? kill_standby() : kill_server();
  });
}

void sleep_in_the_family(Cells cells) {
  for (;;) Space::here().sleep_on(cells[0], 0, std::nullopt);
}

// [0]: never changes, [1]: how many began, [2]: go on, [3]: how many ended.
void begin_and_go_on(Cells cells) {
  cells[1].fetch_add(1);
  while (cells[2].load() == 0) Space::here().sleep_on(cells[2], 0, std::nullopt);
  cells[3].fetch_add(1);
}

void start_for_ever(Cells cells) {
  std::vector<Process> kept;
  for (std::size_t i = 0;; ++i) {
    StartMethod method = i % 8 == 5   ? StartMethod::fork
                         : i % 8 == 3 ? StartMethod::spawn
                                      : StartMethod::forkserver;
    bool daemon = i % 2 == 0;
    if (daemon) {
      kept.emplace_back(cohort::ProcessOptions{.daemon = true, .start_method = method},
                        sleep_in_the_family, cells);
    } else {
      kept.emplace_back(cohort::ProcessOptions{.start_method = method}, begin_and_go_on, cells);
    }
    kept.back().start();
    if (!daemon) cells[4].fetch_add(1);
  }
}

TEST_F(LaunchChaos, AnAskerKilledWhileAskingTakesItsDaemonsAlongAndNobodyElse) {
  for (int i = 0; i < 100 / kScale; ++i) {
    Cells cells(5);
    Process asker({.start_method = StartMethod::forkserver}, start_for_ever, cells);
    asker.start();
    random_pause(random, 15ms);
    if (i % 4 == 0) kill_server();
    asker.kill();
    asker.join();
    ASSERT_EQ(asker.exitcode(), -SIGKILL);
    // Every start that returned has a process that runs to its end.
    std::uint32_t started = cells[4].load();
    ASSERT_TRUE(eventually([&] { return cells[1].load() >= started; }))
        << started << " were started, " << cells[1].load() << " began";
    cells[2].store(1);
    cohort::os::futex_wake_all(cells[2]);
    ASSERT_TRUE(eventually([&] { return slots() == slots_before_; }))
        << "something outlived its killed parent";
    ASSERT_EQ(cells[3].load(), cells[1].load());
  }
}

TEST_F(LaunchChaos, ChildrenKilledRightAfterTheirStartLeaveNothing) {
  const std::size_t each = 600 / kScale;
  Cells runs(3 * each);
  std::atomic<int> killed{0};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 3; ++t) {
    threads.emplace_back([&, t, seed = random()] {
      std::mt19937 mine(static_cast<unsigned>(seed));
      for (std::size_t i = t * each; i < (t + 1) * each; ++i) {
        bool spawned = i % 50 == 0;
        Process child({.start_method = spawned ? StartMethod::spawn : StartMethod::forkserver},
                      count, runs, i, code_of(i), std::string(3000, 'x'));
        child.start();
        if (i % 3 != 0) random_pause(mine, 600us);
        child.kill();
        child.join();
        int code = child.exitcode().value_or(-1);
        ASSERT_TRUE(code == -SIGKILL || code == code_of(i)) << code;
        ASSERT_LE(runs[i].load(), 1U);
        if (code == -SIGKILL) killed.fetch_add(1);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_GT(killed.load(), 100 / kScale);
  RecordProperty("killed", killed.load());
}

TEST_F(LaunchChaos, SignalsToServerAndStandbyAreHarmless) {
  auto server = cohort::fork_server_pid();
  auto standby = standby_pid();
  ASSERT_TRUE(server && standby);
  for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGTTIN, SIGTTOU, SIGQUIT, SIGPIPE, SIGALRM,
                     SIGUSR1, SIGUSR2, SIGCHLD, SIGABRT}) {
    ASSERT_TRUE(test::send(*server, signal));
    ASSERT_TRUE(test::send(*standby, signal));
    Cells runs(1);
    Process child({.start_method = StartMethod::forkserver}, count, runs, std::size_t{0}, 5,
                  std::string(3000, 'x'));
    child.start();
    ASSERT_TRUE(child.join_for(30s));
    ASSERT_EQ(child.exitcode(), 5);
  }
  EXPECT_EQ(cohort::fork_server_pid(), server);
  EXPECT_EQ(standby_pid(), standby);
}

TEST_F(LaunchChaos, AStoppedChildHampersNobody) {
  for (int i = 0; i < 60 / kScale; ++i) {
    Cells cells(1);
    Process stopped({.daemon = true, .start_method = StartMethod::forkserver}, sleep_in_the_family,
                    cells);
    stopped.start();
    if (i % 2 == 0) random_pause(random, 400us);
    ASSERT_TRUE(test::send(stopped.pid(), SIGSTOP));
    Cells runs(1);
    Process other({.start_method = StartMethod::forkserver}, count, runs, std::size_t{0}, 5,
                  std::string(3000, 'x'));
    other.start();
    ASSERT_TRUE(other.join_for(30s));
    ASSERT_EQ(other.exitcode(), 5);
    stopped.kill();
    ASSERT_TRUE(stopped.join_for(30s));
    ASSERT_EQ(stopped.exitcode(), -SIGKILL);
  }
}

void take_and_hold(Cells cells) {
  auto& lock = reinterpret_cast<cohort::sync::RobustLock&>(cells[1]);
  (void)lock.lock(Space::here());
  cells[0].store(1);
  cohort::os::futex_wake_all(cells[0]);
  for (;;) ::pause();
}

TEST_F(LaunchChaos, ALockIsTakenOverWhenItsHolderAndTheServerAreKilledTogether) {
  for (int i = 0; i < 60 / kScale; ++i) {
    Cells cells(2);
    Process holder({.start_method = StartMethod::forkserver}, take_and_hold, cells);
    holder.start();
    while (cells[0].load() == 0) space.sleep_on(cells[0], 0, std::nullopt);
    std::thread waiter([&] {
      auto& lock = reinterpret_cast<cohort::sync::RobustLock&>(cells[1]);
      EXPECT_EQ(lock.lock(space), cohort::sync::RobustLock::Taken::owner_died);
      lock.unlock(space);
    });
    random_pause(random, 300us);
    if (i % 2 == 0) kill_server();
    holder.kill();
    if (i % 2 == 1) kill_server();
    waiter.join();
    holder.join();
    EXPECT_EQ(holder.exitcode(), -SIGKILL);
  }
}

std::string step_name(const testing::TestParamInfo<const char*>& tested) {
  std::string name = tested.param;
  for (char& letter : name) letter = letter == '.' ? '_' : letter;
  return name;
}

// A program of its own, whose server dies at the named step over and over.
class ServerKilledAt : public test::Watched, public testing::WithParamInterface<const char*> {};

TEST_P(ServerKilledAt, TheStepNeitherLosesNorDoublesAStart) {
  test::Program program("chaos_steps", {GetParam(), std::to_string(40 / kScale)});
  EXPECT_TRUE(program.read_to_end(soon()));
  EXPECT_EQ(program.wait(soon()), 0) << program.printed();
}

INSTANTIATE_TEST_SUITE_P(Steps, ServerKilledAt,
                         testing::Values("server.asked", "server.cloned", "server.made",
                                         "server.reaped", "server.made_standby", "space.reclaiming",
                                         "space.reclaimed", "members.farewell", "child.begun",
                                         "child.activated", "child.decoded", "child.ending"),
                         step_name);

// Server and standby gone for good: at the same moment, or the one before the other was replaced.
class BothKilled : public test::Watched, public testing::WithParamInterface<const char*> {};

TEST_P(BothKilled, StartsFailClearlyAndNothingHangs) {
  test::Program program("chaos_both", {GetParam()});
  EXPECT_TRUE(program.read_to_end(soon()));
  EXPECT_EQ(program.wait(soon()), 0) << program.printed();
}

INSTANTIATE_TEST_SUITE_P(Ways, BothKilled,
                         testing::Values("at_once", "standby.woken", "standby.took_over",
                                         "server.making_standby"),
                         step_name);

}  // namespace
