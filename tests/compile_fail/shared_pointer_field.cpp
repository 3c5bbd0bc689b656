// expect: this struct has a pointer, which means nothing in another process
#include <cohort/array.hpp>

struct Entry {
  int number = 0;
#ifdef FIXED
  char name[20] = {};
#else
  const char* name = nullptr;
#endif
};

cohort::RawArray<Entry> make() { return cohort::RawArray<Entry>(10); }
