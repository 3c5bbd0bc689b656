// expect: one of its fields is not
// expect: not serializable
#include <cohort/serialize.hpp>
#include <memory>

struct Record {
  int id;
#ifdef FIXED
  std::unique_ptr<int> value;
#else
  int* value;
#endif
};

void use(cohort::detail::Writer& writer, const Record& record) {
  cohort::detail::encode(writer, record);
}
