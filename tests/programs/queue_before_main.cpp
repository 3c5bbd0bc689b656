// Queues that are made, filled and read while the program is still loading. Says what went wrong;
// exit code 0: nothing.
//
// usage: queue_before_main METHOD
#include <cohort/queue.hpp>
#include <cstdio>
#include <string>

#include "channel.hpp"

namespace {

using cohort::Queue;
using test::Process;

int failures = 0;

void expect(bool right, const char* what) {
  if (right) return;
  std::fprintf(stderr, "not so: %s\n", what);
  ++failures;
}

Queue<std::string> made() {
  Queue<std::string> queue;
  queue.put("one");
  queue.put("two");
  queue.put(std::string(50'000, 'x'));
  return queue;
}

const Queue<std::string> early = made();
const std::string read_early = early.get();

void child(const Queue<std::string>& queue) {
  expect(queue.get() == "two", "the child finds what was left");
  queue.put("three");
  std::exit(failures);
}

}  // namespace

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  expect(read_early == "one", "it was read before main");
  Process process({.start_method = test::method_of(argv[1])}, child, early);
  process.start();
  process.join();
  expect(process.exitcode() == 0, "the child is content");
  expect(early.get() == std::string(50'000, 'x'), "the large one is there");
  expect(early.get() == "three", "the child's came");
  expect(early.empty(), "no others");
  return failures ? 1 : 0;
}
