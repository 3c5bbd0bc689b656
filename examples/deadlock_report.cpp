// Two processes take two locks in opposite orders. With COHORT_LOCK_CHECK=1 the wait that closes
// the circle throws, and says who holds what.
#include <cohort/cohort.hpp>
#include <cohort/sync.hpp>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <string>

struct Locks {
  cohort::Lock first;
  cohort::Lock second;
};

void move_money(const Locks& locks, const cohort::Barrier& both_hold_one,
                const cohort::Semaphore& reports) {
  const std::string me = cohort::current_process().name();
  std::unique_lock guard(locks.first);
  both_hold_one.wait();
  try {
    std::scoped_lock second(locks.second);
    std::cout << me + " has both locks\n" << std::flush;
  } catch (const cohort::DeadlockError& error) {
    reports.release();
    std::cout << me + " is told: " + error.what() + "\n" << std::flush;
  }  // and gives its lock back, so that the other goes on
}

int main(int argc, char** argv) {
  ::setenv("COHORT_LOCK_CHECK", "1", 1);  // or outside, for any program as it is
  cohort::init(argc, argv);
  const cohort::Lock savings({.name = "savings"});
  const cohort::Lock cheques({.name = "cheques"});
  const cohort::Barrier both_hold_one(2);
  const cohort::Semaphore reports(0);

  cohort::Process alice({.name = "alice"}, move_money, Locks{savings, cheques}, both_hold_one,
                        reports);
  cohort::Process bob({.name = "bob"}, move_money, Locks{cheques, savings}, both_hold_one, reports);
  alice.start();
  bob.start();
  alice.join();
  bob.join();
  return reports.value() > 0 ? 0 : 1;
}
