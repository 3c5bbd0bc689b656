// A family that creates and unlinks blocks all the time, to be killed at it.
//
// usage: shared_memory_chaos random PREFIX WAY    endlessly; says 'r' when the children run
//        shared_memory_chaos STEP PREFIX WAY      kills itself at this step
// WAY: nameless or draft, how blocks are made before they get their names.
#include <unistd.h>

#include <cohort/process.hpp>
#include <cohort/shared_memory.hpp>
#include <cstdlib>
#include <string>
#include <system_error>
#include <vector>

#include "member.hpp"
#include "shared/shared_memory_maker.hpp"

namespace {

using cohort::Process;
using cohort::SharedMemory;
using cohort::StartMethod;

void one_round(const std::string& prefix, int round) {
  std::string kept = prefix + "kept-" + std::to_string(round % 5);
  try {
    SharedMemory::unlink(kept);
  } catch (const std::system_error&) {
    // Not there yet.
  }
  SharedMemory::create(kept, 5000).bytes()[0] = std::byte{1};
  SharedMemory::create(prefix + "gone", 10).unlink();
}

void create_for_ever(const std::string& prefix, bool nameless) {
  cohort::SharedMemoryMaker::nameless_first = nameless;
  for (int round = 0;; ++round) one_round(prefix, round);
}

}  // namespace

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  std::string what = argv[1];
  std::string prefix = argv[2];
  bool nameless = std::string(argv[3]) == "nameless";
  cohort::SharedMemoryMaker::nameless_first = nameless;
  if (what != "random") {
    one_round(prefix, 0);
    test::die_at(what.c_str());
    for (int round = 1; round < 100; ++round) one_round(prefix, round);
    return 9;  // there is no such step
  }
  std::vector<Process> children;
  for (StartMethod method : {StartMethod::forkserver, StartMethod::fork, StartMethod::spawn}) {
    children.emplace_back(cohort::ProcessOptions{.daemon = true, .start_method = method},
                          create_for_ever, prefix + std::string(cohort::to_string(method)) + "-",
                          nameless);
    children.back().start();
  }
  if (::write(1, "r", 1) != 1) return 3;
  create_for_ever(prefix + "root-", nameless);
}
