// expect: this argument cannot cross to another process: its type is not serializable
// expect: template <class Archive> void serialize(Archive& ar)
#include <cohort/process.hpp>
#include <mutex>

struct Held {
#ifdef FIXED
  int number = 0;
#else
  std::mutex mutex;
#endif
};

void use(const Held&);
void start() { cohort::Process child(use, Held()); }
