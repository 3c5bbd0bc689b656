// Another build of the library that answer_one.cpp is.
namespace {
int add(int a, int b) { return a + b; }
}  // namespace
extern "C" int something_new() { return 1; }
extern "C" int answer(int x) { return add(x, 200); }
