// Ends with a global pool, and with one that is never destroyed, neither closed nor joined.
#include <cohort/pool.hpp>
#include <cstdio>
#include <optional>

// Nobody joins the thread of a pool that is never destroyed.
extern "C" const char* __tsan_default_options();
extern "C" const char* __tsan_default_options() { return "report_thread_leaks=0"; }

namespace {
std::optional<cohort::Pool> global;
int square(int x) { return x * x; }
}  // namespace

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  global.emplace(2);
  static auto* leaked = new cohort::Pool(2);
  std::printf("%d %d\n", global->apply(square, 3), leaked->apply(square, 4));
}
