// Programs with children, signal handling, threads and forks of their own: neither side disturbs
// the other.
#include <algorithm>
#include <ostream>
#include <string>
#include <vector>

#include "processes.hpp"

namespace {

using namespace test;

struct Case {
  std::string scenario;
  StartMethod method;
  bool init = true;
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.scenario << " by " << cohort::to_string(c.method);
}

std::vector<Case> every_case() {
  std::vector<Case> cases;
  for (const char* scenario :
       {"handler", "ignore", "nocldwait", "waits", "threads-plain", "threads-handler",
        "threads-ignore", "threads-wait", "forks", "streams"}) {
    for (auto method : {StartMethod::fork, StartMethod::forkserver, StartMethod::spawn})
      cases.push_back({scenario, method});
    cases.push_back({scenario, StartMethod::fork, false});
  }
  return cases;
}

std::string name_of(const testing::TestParamInfo<Case>& info) {
  std::string name = info.param.scenario + "_" + std::string(cohort::to_string(info.param.method)) +
                     (info.param.init ? "" : "_without_init");
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

class HostProgram : public Watched, public testing::WithParamInterface<Case> {};
INSTANTIATE_TEST_SUITE_P(Hosts, HostProgram, testing::ValuesIn(every_case()), name_of);

TEST_P(HostProgram, NeitherSeesNorLosesAnything) {
  const Case& c = GetParam();
  auto outcome = run_program(
      "host", {c.scenario, std::string(cohort::to_string(c.method)), c.init ? "init" : "noinit"});
  EXPECT_EQ(outcome.code, 0) << outcome;
  EXPECT_EQ(outcome.err, "") << outcome;
}

}  // namespace
