// Never calls cohort::init.
//
// usage: no_init fork|forkserver|spawn|preload|async
#include <cohort/async.hpp>
#include <cohort/process.hpp>
#include <cstdio>
#include <cstring>

#include "channel.hpp"

int main(int, char** argv) {
  try {
    if (std::strcmp(argv[1], "preload") == 0) {
      cohort::preload([] {});
    } else if (std::strcmp(argv[1], "async") == 0) {
      std::printf("%d\n", cohort::async([](int x) { return x * x; }, 12).get());
    } else {
      test::Process child(
          {.start_method = test::method_of(argv[1])},
          [](int number) { std::printf("%d\n", number); }, 123);
      child.start();
      child.join();
      return *child.exitcode();
    }
  } catch (const cohort::NotInitialized& error) {
    std::printf("NotInitialized: %s\n", error.what());
    return 3;
  }
}
