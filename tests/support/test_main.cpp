#include <gtest/gtest.h>

#include <cohort/process.hpp>

int main(int argc, char** argv) {
  cohort::init(argc, argv);  // spawned children end in here
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
