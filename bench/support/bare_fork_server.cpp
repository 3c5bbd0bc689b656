#include "bare_fork_server.hpp"

#include <linux/sched.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stdexcept>

namespace bench {

BareForkServer::BareForkServer() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    throw std::runtime_error("no socketpair");
  }
  server_ = fork();
  if (server_ < 0) throw std::runtime_error("no fork");
  if (server_ == 0) {
    close(ends[0]);
    serve(ends[1]);
  }
  close(ends[1]);
  socket_ = ends[0];
}

BareForkServer::~BareForkServer() {
  close(socket_);
  waitpid(server_, nullptr, 0);
}

void BareForkServer::serve(int socket) {
  char request = 0;
  while (read(socket, &request, 1) == 1) {
    clone_args arguments{};
    arguments.flags = CLONE_PARENT;
    const long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
    if (pid == 0) syscall(SYS_exit_group, 0);
    const pid_t answer = static_cast<pid_t>(pid);
    if (write(socket, &answer, sizeof answer) != sizeof answer) break;
  }
  _exit(0);
}

void BareForkServer::start_and_join() {
  pid_t child = -1;
  if (write(socket_, "", 1) != 1 || read(socket_, &child, sizeof child) != sizeof child ||
      child < 0) {
    throw std::runtime_error("the bare fork server failed");
  }
  siginfo_t info{};
  if (waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | __WALL) != 0) {
    throw std::runtime_error("the bare fork server's child cannot be waited for");
  }
}

}  // namespace bench
