// Names in /dev/shm go when the last process that may use them is gone, whoever made them.
#include "processes.hpp"
#include "shared_names.hpp"

namespace {

using namespace test;

class SharedMemoryFailures : public EachMethod {
 protected:
  SharedNames name;

  void expect_gone() {
    EXPECT_TRUE(eventually([&] { return name.all().empty(); }))
        << testing::PrintToString(name.all());
  }
};
INSTANTIATE_TEST_SUITE_P(Methods, SharedMemoryFailures, every_method(), method_name);

TEST_F(SharedMemoryFailures, AnEndOfTheProgramTakesNamesThatWereMadeByAPreload) {
  auto outcome = run_program("names_of_others", {"preloaded", name("preloaded")});
  EXPECT_EQ(outcome.code, 0) << outcome;
  EXPECT_EQ(outcome.out, "there\n");
  EXPECT_EQ(outcome.err, "");
  expect_gone();
}

TEST_P(SharedMemoryFailures, ANameOfAKilledRootStaysUntilTheLastChildHasEnded) {
  const std::string method(cohort::to_string(GetParam()));
  auto outcome = run_program("names_of_others", {"orphaned", name("orphaned"), method},
                             {.kill_after = "ready"});
  EXPECT_EQ(outcome.code, -SIGKILL) << outcome;
  EXPECT_EQ(outcome.out, "ready\nthere\n");
  EXPECT_EQ(outcome.err, "");
  expect_gone();
}

}  // namespace
