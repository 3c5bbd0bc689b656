// A process is killed in the middle of a transfer, with the lock in its hands. The next one is
// told, repairs the accounts, and the bank goes on.
#include <cohort/array.hpp>
#include <cohort/cohort.hpp>
#include <cohort/sync.hpp>
#include <csignal>
#include <iostream>
#include <mutex>
#include <numeric>

struct Bank {
  cohort::Lock lock{{.name = "bank"}};
  cohort::RawArray<long> accounts{100L, 100L};
  cohort::RawArray<long> backup{100L, 100L};  // as they were before the transfer that goes on
};

long sum(const Bank& bank) {
  return std::accumulate(bank.accounts.begin(), bank.accounts.end(), 0L);
}

// Takes the bank's lock; where its owner died, in a state as before that owner's transfer.
std::unique_lock<const cohort::Lock> enter(const Bank& bank) {
  try {
    return std::unique_lock(bank.lock);
  } catch (const cohort::LockOwnerDied& death) {
    std::cout << death.what() << std::endl;
  }
  // Others may have been told as well: recover() answers true to one of them.
  if (bank.lock.recover()) {
    std::cout << "found " << sum(bank) << " where there were 200" << std::endl;
    for (int i = 0; i < 2; ++i) bank.accounts[i] = bank.backup[i];
  }
  return {bank.lock, std::adopt_lock};
}

void transfer(const Bank& bank, long amount, bool is_killed) {
  const auto guard = enter(bank);
  for (int i = 0; i < 2; ++i) bank.backup[i] = bank.accounts[i];
  bank.accounts[0] -= amount;
  if (is_killed) std::raise(SIGKILL);
  bank.accounts[1] += amount;
}

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  const Bank bank;
  for (bool is_killed : {false, true, false}) {
    cohort::Process teller(transfer, bank, 10L, is_killed);
    teller.start();
    teller.join();
  }
  std::scoped_lock guard(bank.lock);
  std::cout << bank.accounts[0] << " + " << bank.accounts[1] << " = " << sum(bank) << std::endl;
}
