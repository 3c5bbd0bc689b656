// expect: not serializable
#include <cohort/serialize.hpp>
#include <functional>
#include <string>
#include <vector>

#ifdef FIXED
using Job = std::string;
#else
using Job = std::function<void()>;
#endif

void use(cohort::detail::Writer& writer, const std::vector<Job>& jobs) {
  cohort::detail::encode(writer, jobs);
}
