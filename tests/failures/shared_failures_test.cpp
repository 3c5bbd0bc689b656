// Shared values when a system refuses, a constructor throws, or whoever made them is gone.
#include <sys/mman.h>

#include <algorithm>
#include <cohort/array.hpp>
#include <cohort/shared_heap.hpp>
#include <mutex>
#include <new>
#include <stdexcept>
#include <vector>

#include "processes.hpp"

namespace {

using namespace test;

class SharedFailures : public Watched {};

// ---- a handle that children of the fork server have by inheritance

void expect_seen(const Outcome& outcome, const std::string& expected) {
  EXPECT_EQ(outcome.out, expected) << outcome;
  EXPECT_EQ(outcome.err, "") << outcome;
}

TEST_F(SharedFailures, AGlobalHandleIsTheChildsOwnWhenTheProgramDropsIts) {
  auto outcome = run_program("handles_before_init", {"dropped"});
  expect_seen(outcome, "the child sees 7\nthe next child sees 7\n");
  EXPECT_EQ(outcome.code, 0);
}

TEST_F(SharedFailures, AGlobalHandleOutlivesTheProgramThatMadeIt) {
  auto outcome = run_program("handles_before_init", {"root_killed"}, {.kill_after = "ready"});
  expect_seen(outcome, "ready\nthe child sees 7\n");
  EXPECT_EQ(outcome.code, -SIGKILL);
}

TEST_F(SharedFailures, APreloadedHandleOutlivesTheForkServerThatMadeIt) {
  auto outcome = run_program("handles_before_init", {"server_gone"});
  expect_seen(outcome, "the child sees 7\nthe next child sees 7\n");
  EXPECT_EQ(outcome.code, 0);
}

// ---- locked memory

constexpr int kNotAllowed = 77;
constexpr std::size_t kLarge = std::size_t{4} << 20;  // its pages go back to the system

int find_leftovers_in_locked_memory() {
  if (::mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0) return kNotAllowed;
  {
    const cohort::Array<char> before(kLarge);
    before.fill('x');
  }
  const cohort::Array<char> array(kLarge);
  return std::ranges::all_of(array, [](char letter) { return letter == 0; }) ? 0 : 1;
}

TEST_F(SharedFailures, AnArrayInLockedMemoryIsZeroed) {
  auto child = Process::forked([] { ::_exit(find_leftovers_in_locked_memory()); });
  child.start();
  ASSERT_TRUE(child.join_for(kPatience));
  if (child.exitcode() == kNotAllowed) GTEST_SKIP() << "mlockall is not allowed here";
  EXPECT_EQ(child.exitcode(), 0);
}

// ---- a constructor that throws

using Numbers = std::vector<int, cohort::SharedAllocator<int>>;

TEST_F(SharedFailures, AResetThatThrowsLeavesTheObjectAsItWas) {
  const cohort::SharedObject<Numbers> numbers({1, 2, 3});
  const auto allocations = numbers.allocations();
  const std::scoped_lock guard(numbers.lock());
  EXPECT_THROW(numbers.reset(std::size_t{1} << 40), cohort::Error);
  ASSERT_EQ(numbers->size(), 3U);
  EXPECT_EQ(*numbers, Numbers({1, 2, 3}, numbers->get_allocator()));
  EXPECT_EQ(numbers.allocations(), allocations);
  numbers->push_back(4);
  EXPECT_EQ(numbers->back(), 4);
  numbers.reset(std::size_t{2}, 8);
  EXPECT_EQ(*numbers, Numbers({8, 8}, numbers->get_allocator()));
}

// Has written all over its place by the time it throws.
struct Picky {
  Picky(int wanted, const cohort::SharedAllocator<int>& allocator)
      : first(wanted), numbers({wanted, wanted}, allocator), last(wanted) {
    if (wanted < 0) throw std::invalid_argument("a negative number");
  }
  int first;
  Numbers numbers;
  int last;
};

TEST_F(SharedFailures, AConstructorThatThrowsInAResetLeavesNothingOfItsOwn) {
  const cohort::SharedObject<Picky> object(5);
  const auto allocations = object.allocations();
  const std::scoped_lock guard(object.lock());
  EXPECT_THROW(object.reset(-1), std::invalid_argument);
  EXPECT_EQ(object->first, 5);
  EXPECT_EQ(object->last, 5);
  EXPECT_EQ(object->numbers, Numbers({5, 5}, object->numbers.get_allocator()));
  EXPECT_EQ(object.allocations(), allocations);
}

}  // namespace
