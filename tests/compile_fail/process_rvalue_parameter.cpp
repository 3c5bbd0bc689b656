// expect: it gets copies of them, as lvalues
#include <cohort/process.hpp>
#include <string>

#ifdef FIXED
void use(std::string& text);
#else
void use(std::string&& text);
#endif

void start() { cohort::Process child(use, std::string("text")); }
