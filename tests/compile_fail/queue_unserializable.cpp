// expect: this aggregate is not serializable, since one of its fields is not
#include <cohort/queue.hpp>
#include <string>
#include <thread>

struct Message {
  std::string text;
#ifndef FIXED
  std::thread thread;
#endif
};

cohort::JoinableQueue<Message> make() { return cohort::JoinableQueue<Message>(); }
