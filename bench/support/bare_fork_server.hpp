// The least that a fork server can be, to measure cohort's against: a process forked at the start
// that clones siblings on request, each of which exits at once.
#pragma once

#include <sys/types.h>

namespace bench {

class BareForkServer {
 public:
  BareForkServer();
  ~BareForkServer();
  BareForkServer(const BareForkServer&) = delete;
  BareForkServer& operator=(const BareForkServer&) = delete;

  void start_and_join();

 private:
  [[noreturn]] static void serve(int socket);

  pid_t server_ = -1;
  int socket_ = -1;
};

}  // namespace bench
