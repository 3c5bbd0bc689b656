// Submits to an executor while the program ends.
#include <cohort/error.hpp>
#include <cohort/finalize.hpp>
#include <cohort/process_executor.hpp>
#include <cstdio>
#include <optional>

namespace {
std::optional<cohort::futures::ProcessPoolExecutor> executor;
int square(int x) { return x * x; }
}  // namespace

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  executor.emplace(2);
  std::printf("%d\n", executor->submit(square, 7).get());
  cohort::at_exit([] {
    try {
      executor->submit(square, 8);
      std::puts("taken");
    } catch (const cohort::InvalidStateError&) {
      std::puts("refused");
    }
  });
}
