// A library that starts processes itself, with code of its own.
#include <cohort/async.hpp>
#include <cohort/process.hpp>

namespace {

struct Power {
  int exponent = 1;
  int operator()(int base) const {
    int result = 1;
    for (int i = 0; i < exponent; ++i) result *= base;
    return result;
  }
};

}  // namespace

extern "C" int square_elsewhere(int method, int x) {
  auto before = cohort::get_start_method();
  cohort::set_start_method(static_cast<cohort::StartMethod>(method));
  int result = cohort::async(Power{2}, x).get();
  cohort::set_start_method(before);
  return result;
}
