// The fork server as the janitor: it notices a death while everybody else sleeps.
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "chaos.hpp"
#include "cohort/process.hpp"
#include "member.hpp"
#include "os/futex.hpp"
#include "ring/ring.hpp"
#include "sync/doorbell.hpp"
#include "sync/robust_lock.hpp"

namespace {

using namespace std::chrono_literals;
using cohort::Process;
using cohort::StartMethod;
using cohort::arena::MemberId;
using cohort::arena::Phase;
using cohort::arena::Space;
using cohort::ring::Ring;
using cohort::sync::Doorbell;
using cohort::sync::RobustLock;
using test::Cells;
using test::Clock;
using test::eventually;
using test::soon;

MemberId member_of(pid_t pid) {
  auto& members = Space::here().members();
  for (std::uint32_t i = 0; i < members.used(); ++i) {
    if (members.slot(i).pid.load() == pid) return members.at(i);
  }
  return {};
}

void begin(const Cells& cells) {
  cells[0].store(1);
  cohort::os::futex_wake_all(cells[0]);
}
void await_begin(const Cells& cells) {
  while (cells[0].load() == 0) Space::here().sleep_on(cells[0], 0, std::nullopt);
}
[[noreturn]] void pause_for_ever() {
  for (;;) ::pause();
}

class Janitor : public test::Watched, public testing::WithParamInterface<StartMethod> {
 protected:
  Space& space = Space::here();

  void SetUp() override {
    Watched::SetUp();
    ASSERT_TRUE(eventually([] { return test::standby_pid().has_value(); }));
  }
  cohort::ProcessOptions options() const { return {.start_method = GetParam()}; }
};

void hold_the_lock(Cells cells) {
  (void)reinterpret_cast<RobustLock&>(cells[1]).lock(Space::here());
  begin(cells);
  pause_for_ever();
}

TEST_P(Janitor, GivesAKilledHoldersLockToASleeper) {
  Cells cells(2);
  Process holder(options(), hold_the_lock, cells);
  holder.start();
  await_begin(cells);
  std::thread killer([&] {
    MemberId self = space.self();
    // Once this process sleeps on the lock.
    eventually([&] {
      for (auto& wait : space.members().slot(self).waits) {
        if (wait.load() == space.offset_of(&cells[1])) return true;
      }
      return false;
    });
    holder.kill();
  });
  auto& lock = reinterpret_cast<RobustLock&>(cells[1]);
  EXPECT_EQ(lock.lock(space), RobustLock::Taken::owner_died);
  lock.unlock(space);
  killer.join();
  holder.join();
  EXPECT_EQ(holder.exitcode(), -SIGKILL);
}

void never_ring(Cells cells) {
  begin(cells);
  pause_for_ever();
}

TEST_P(Janitor, WakesThoseWhoSleepOnADoorbellWhenAMemberDies) {
  Cells cells(1);
  auto block = cohort::detail::BlockRefs::create(sizeof(Doorbell), cohort::arena::BlockKind::plain);
  auto& bell = *reinterpret_cast<Doorbell*>(block.data());
  std::vector<Clock::duration> delays;
  for (int i = 0; i < 20; ++i) {
    cells[0].store(0);
    Process silent(options(), never_ring, cells);
    silent.start();
    await_begin(cells);
    MemberId id = member_of(silent.pid());
    ASSERT_TRUE(id);
    std::thread killer([&] { silent.kill(); });
    auto start = Clock::now();
    EXPECT_TRUE(bell.wait(space, soon(), [&] { return space.members().is_dead(id); }));
    delays.push_back(Clock::now() - start);
    killer.join();
    silent.join();
  }
  std::ranges::sort(delays);
  RecordProperty("median_us", static_cast<int>(delays[delays.size() / 2] / 1us));
}

void put_and_pause(Ring ring, Cells cells) {
  std::byte one{1};
  ring.put(std::span(&one, 1));
  begin(cells);
  pause_for_ever();
}

TEST_P(Janitor, WakesAConsumerWhoseProducerIsKilled) {
  Cells cells(1);
  Ring ring(4096);
  Process producer(options(), put_and_pause, ring, cells);
  producer.start();
  ASSERT_TRUE(ring.take(soon()));
  await_begin(cells);
  MemberId id = member_of(producer.pid());
  std::thread killer([&] { producer.kill(); });
  EXPECT_FALSE(ring.take_unless([&] { return space.members().is_dead(id); }, soon()));
  EXPECT_TRUE(space.members().is_dead(id));
  killer.join();
  producer.join();
}

// Has blocks that nobody else knows of.
void strand(Cells cells) {
  Space& space = Space::here();
  for (int i = 0; i < 50; ++i) space.allocate(200);
  space.allocate(200'000);
  static auto ring = new Ring(4096);
  (void)ring;
  begin(cells);
  pause_for_ever();
}

// Whether everything that dead members held was given back.
bool all_returned() {
  Space& space = Space::here();
  for (std::uint32_t index = 0; index < space.members().used(); ++index) {
    MemberId id = space.members().at(index);
    if (id && space.members().phase(id) == cohort::arena::Phase::dead) return false;
  }
  return true;
}

TEST_P(Janitor, GivesBackWhatAKilledMemberHeldAlone) {
  Cells cells(1);
  ASSERT_TRUE(eventually(all_returned));
  std::size_t before = space.heap().blocks_held();
  Process process(options(), strand, cells);
  process.start();
  await_begin(cells);
  EXPECT_GT(space.heap().blocks_held(), before + 50);
  process.kill();
  EXPECT_TRUE(eventually([&] { return space.heap().blocks_held() == before; }))
      << space.heap().blocks_held() << " blocks, " << before << " before";
  process.join();
}

void return_at_once() {}

TEST_P(Janitor, KeepsTheSlotUntilTheParentHasSeenTheEndAndNoLonger) {
  Process process(options(), return_at_once);
  process.start();
  MemberId id = member_of(process.pid());
  EXPECT_TRUE(eventually([&] { return space.members().phase(id) == Phase::ended; }));
  process.join();
  EXPECT_EQ(process.exitcode(), 0);
  EXPECT_TRUE(eventually([&] { return space.members().phase(id) == Phase::free; }));
}

// [1]: the daemon's pid.
void have_a_daemon(Cells cells) {
  Process daemon({.daemon = true}, pause_for_ever);
  daemon.start();
  cells[1].store(static_cast<std::uint32_t>(daemon.pid()));
  begin(cells);
  pause_for_ever();
}

TEST_P(Janitor, EndsTheDaemonsOfAKilledParent) {
  Cells cells(2);
  Process parent(options(), have_a_daemon, cells);
  parent.start();
  await_begin(cells);
  auto daemon = cohort::os::Pidfd::open(static_cast<pid_t>(cells[1].load()));
  ASSERT_TRUE(daemon);
  parent.kill();
  EXPECT_TRUE(cohort::os::wait_readable(daemon.get(), soon()));
  parent.join();
}

INSTANTIATE_TEST_SUITE_P(Methods, Janitor,
                         testing::Values(StartMethod::forkserver, StartMethod::spawn,
                                         StartMethod::fork),
                         [](const testing::TestParamInfo<StartMethod>& tested) {
                           return std::string(cohort::to_string(tested.param));
                         });

}  // namespace
