// Breaks its standard streams and starts a child all the same. Exit code 0: the child ran and its
// code was 0.
//
// usage: broken_stdio HOW METHOD
#include <fcntl.h>
#include <unistd.h>

#include <cohort/process.hpp>
#include <cstdio>
#include <iostream>
#include <string>

#include "channel.hpp"

namespace {

void chatter() {
  for (int i = 0; i < 1000; ++i) std::printf("some output that may have nowhere to go %d\n", i);
  std::cout << "and this" << std::endl;
  std::cerr << "and that" << std::endl;
}

void target(test::Channel& channel, int number) {
  chatter();
  channel.send(number + 1);
}

void break_streams(const std::string& how) {
  if (how == "close-stdout" || how == "close-all") ::close(1);
  if (how == "close-stderr" || how == "close-all") ::close(2);
  if (how == "close-all") ::close(0);
  if (how == "fclose-stdout") std::fclose(stdout);
  if (how == "fclose-stderr") std::fclose(stderr);
  if (how == "full") {
    int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
    ::dup2(full, 1);
    ::dup2(full, 2);
    ::close(full);
  }
}

}  // namespace

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  break_streams(argv[1]);
  std::string how = argv[1];
  if (!how.starts_with("fclose")) chatter();
  auto channel = test::Channel::make();
  int code = 0;
  for (int i = 0; i < 3; ++i) {
    test::Process child({.start_method = test::method_of(argv[2])}, target, channel, i);
    child.start();
    child.join();
    if (child.exitcode() != 0) code = 20 + i;
    if (channel.empty() || channel.receive<int>() != i + 1) code = 10 + i;
  }
  return code;
}
