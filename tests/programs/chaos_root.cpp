// chaos_root: a family of every kind of process, to be killed with its root. Processes that should
// outlive the root write 'b' when they begin and 'e' when they end, which is once the root is dead;
// 'r' says that all were started.
#include <unistd.h>

#include <cstdlib>
#include <vector>

#include "chaos.hpp"
#include "cohort/process.hpp"

namespace {

using cohort::Process;
using cohort::StartMethod;
using cohort::arena::MemberId;
using cohort::arena::Space;
using test::Cells;

void say(char what) {
  if (::write(1, &what, 1) != 1) std::_Exit(3);
}

void sleep_in_the_family(Cells cells) {
  for (;;) Space::here().sleep_on(cells[0], 0, std::nullopt);
}

void outlive_the_root(Cells cells) {
  say('b');
  Space& space = Space::here();
  MemberId root{space.header().root.load()};
  // A burial wakes every wait.
  while (!space.members().is_dead(root) && !space.members().process_gone(root))
    space.sleep_on(cells[0], 0, std::nullopt);
  say('e');
}

std::vector<Process> start_some(Cells cells, bool with_grandchildren);

void have_children(Cells cells, bool daemon) {
  auto children = start_some(cells, false);
  if (daemon) sleep_in_the_family(cells);
  outlive_the_root(cells);
}

std::vector<Process> start_some(Cells cells, bool with_grandchildren) {
  std::vector<Process> all;
  for (StartMethod method : {StartMethod::forkserver, StartMethod::spawn, StartMethod::fork}) {
    for (bool daemon : {true, false}) {
      cohort::ProcessOptions options{.daemon = daemon, .start_method = method};
      if (with_grandchildren && method != StartMethod::spawn) {
        all.emplace_back(options, have_children, cells, daemon);
      } else {
        all.emplace_back(options, daemon ? sleep_in_the_family : outlive_the_root, cells);
      }
      all.back().start();
    }
  }
  return all;
}

}  // namespace

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  Cells cells(1);
  auto all = start_some(cells, true);
  auto late = Process({.daemon = true}, sleep_in_the_family, cells);
  late.start();
  say('r');
  for (;;) ::pause();
}
