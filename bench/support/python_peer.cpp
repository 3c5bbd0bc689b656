#include "python_peer.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <stdexcept>

extern char** environ;

namespace bench {

PythonPeer::PythonPeer(const std::string& script) {
  const std::string path = BENCH_PEERS_DIR "/" + script;
  int to[2];
  int from[2];
  if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0) {
    throw std::runtime_error("no pipes");
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, to[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, from[1], STDOUT_FILENO);
  std::string python = "python3";
  std::string argument = path;
  char* const argv[] = {python.data(), argument.data(), nullptr};
  const int error = posix_spawnp(&pid_, "python3", &actions, nullptr, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  close(to[0]);
  close(from[1]);
  to_ = to[1];
  from_ = from[0];
  if (error != 0) {
    pid_ = -1;
    missing_ = std::string("python3 cannot be started: ") + std::strerror(error);
  } else if (ask("hello") != 1) {
    missing_ = "python3 " + path + " does not answer";
  }
}

PythonPeer::~PythonPeer() {
  close(to_);  // its end of input
  if (pid_ > 0) waitpid(pid_, nullptr, 0);
  close(from_);
}

double PythonPeer::ask(const std::string& line) {
  const std::string request = line + "\n";
  if (write(to_, request.data(), request.size()) != static_cast<ssize_t>(request.size())) return 0;
  return read_number();
}

double PythonPeer::read_number() {
  std::string answer;
  for (char c = 0; read(from_, &c, 1) == 1 && c != '\n';) answer += c;
  return answer.empty() ? 0 : std::stod(answer);
}

}  // namespace bench
