// expect: a type in shared memory must be trivially copyable
// expect: use cohort::SharedObject
#include <array>
#include <cohort/value.hpp>
#include <string>

#ifdef FIXED
using Name = std::array<char, 20>;
#else
using Name = std::string;
#endif

cohort::Value<Name> make() { return cohort::Value<Name>(); }
