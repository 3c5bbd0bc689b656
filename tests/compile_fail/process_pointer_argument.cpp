// expect: this argument cannot cross to another process: its type is not serializable
#include <cohort/process.hpp>

void use(int&);
void use_at(int*);

void start(int* number) {
#ifdef FIXED
  cohort::Process child(use, *number);
#else
  cohort::Process child(use_at, number);
#endif
}
