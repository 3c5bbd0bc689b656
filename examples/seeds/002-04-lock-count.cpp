// Two processes count a global up under a lock. Each has an x of its own, as in Python: the lock
// keeps them apart, it shares nothing. (A cohort::Value would.)
#include <cohort/cohort.hpp>
#include <cohort/sync.hpp>
#include <iostream>
#include <mutex>

int x = 0;

void do_this(const cohort::Lock& lock) {
  std::scoped_lock guard(lock);
  while (x < 300) x += 1;
  std::cout << x << std::endl;
}

void do_after(const cohort::Lock& lock) {
  std::scoped_lock guard(lock);
  x = 450;
  while (x < 600) x += 1;
  std::cout << x << std::endl;
}

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  cohort::Lock lock;
  cohort::Process w(do_this, lock);
  cohort::Process nw(do_after, lock);
  w.start();
  nw.start();
  w.join();
  nw.join();
}
