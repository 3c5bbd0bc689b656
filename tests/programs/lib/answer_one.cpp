// One build of a library: see answer_two.cpp.
extern "C" int answer(int x) { return 100 + x; }
