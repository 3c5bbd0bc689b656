// chaos_no_init WHAT: fork only, without a fork server, so without a janitor.
//   lock:   a child that holds a lock is killed, and its waiters get it.
//   wait:   a killed child is joined, and those who wait for its word see that it is dead.
//   daemon: prints 'd' once a daemon runs, for the test to kill this process.
#include <unistd.h>

#include <cstring>

#include "chaos.hpp"
#include "cohort/process.hpp"
#include "sync/doorbell.hpp"
#include "sync/robust_lock.hpp"

namespace {

using namespace std::chrono_literals;
using cohort::Process;
using cohort::arena::Space;
using cohort::sync::RobustLock;
using test::Cells;

RobustLock& lock_of(const Cells& cells) { return reinterpret_cast<RobustLock&>(cells[1]); }

void take_and_hold(Cells cells) {
  (void)lock_of(cells).lock(Space::here());
  cells[0].store(1);
  for (;;) ::pause();
}

void wait_for_the_lock(Cells cells) {
  bool died = lock_of(cells).lock(Space::here()) == RobustLock::Taken::owner_died;
  lock_of(cells).unlock(Space::here());
  ::_exit(died ? 7 : 8);
}

void await(const Cells& cells, std::uint32_t value) {
  while (cells[0].load() != value) Space::here().sleep_on(cells[0], cells[0].load(), std::nullopt);
}

int lock() {
  Cells cells(2);
  Process holder(take_and_hold, cells);
  holder.start();
  await(cells, 1);
  Process waiter(wait_for_the_lock, cells);
  waiter.start();
  holder.kill();  // not joined: whoever waits notices by itself
  bool died = waiter.join_for(20s) && waiter.exitcode() == 7;
  holder.join();
  return died && holder.exitcode() == -SIGKILL ? 0 : 1;
}

int wait_for_the_dead() {
  Cells cells(2);
  Process silent(take_and_hold, cells);
  silent.start();
  await(cells, 1);
  Space& space = Space::here();
  cohort::arena::MemberId id;
  for (std::uint32_t i = 0; i < space.members().used(); ++i) {
    if (space.members().slot(i).pid.load() == silent.pid()) id = space.members().at(i);
  }
  silent.kill();
  cohort::sync::Doorbell bell{};
  auto block = cohort::detail::BlockRefs::create(sizeof bell, cohort::arena::BlockKind::plain);
  auto& shared = *reinterpret_cast<cohort::sync::Doorbell*>(block.data());
  bool seen = shared.wait(space, std::chrono::steady_clock::now() + 20s,
                          [&] { return space.members().is_dead(id); });
  silent.join();
  return seen && silent.exitcode() == -SIGKILL ? 0 : 1;
}

void compute_for_ever() {
  if (::write(1, "d", 1) != 1) ::_exit(3);
  for (;;) ::pause();
}

int daemon() {
  Process process({.daemon = true}, compute_for_ever);
  process.start();
  for (;;) ::pause();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  if (std::strcmp(argv[1], "lock") == 0) return lock();
  if (std::strcmp(argv[1], "wait") == 0) return wait_for_the_dead();
  return daemon();
}
