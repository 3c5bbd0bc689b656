// Loads something in the fork server, whose output stays in the buffer there.
#include <cohort/process.hpp>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

#include "channel.hpp"

namespace {

int loaded = 0;

std::string last_argument() {
  std::ifstream file("/proc/self/cmdline");
  std::string line{std::istreambuf_iterator<char>(file), {}};
  line.pop_back();
  return line.substr(line.rfind('\0') + 1);
}

void load() {
  ++loaded;
  std::printf("preloaded with %s\n", last_argument().c_str());
}

}  // namespace

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  cohort::preload(load);
  for (int i = 0; i < 2; ++i) {
    test::Process child(
        [](int number) {
          std::printf("child %d: loaded %d time, %s\n", number, loaded, last_argument().c_str());
        },
        i);
    child.start();
    child.join();
    if (child.exitcode() != 0) return 1;
  }
  return loaded;
}
