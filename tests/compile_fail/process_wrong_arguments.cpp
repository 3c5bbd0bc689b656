// expect: this callable cannot be called with these arguments
#include <cohort/process.hpp>
#include <string>

void use(int number, const std::string& text);

void start() {
#ifdef FIXED
  cohort::Process child(use, 1, "text");
#else
  cohort::Process child(use, "text", 1);
#endif
}
